import { expect, it } from 'vitest';
import { memoryStorage, resolveConfig } from '../src/index.ts';
import { openRunState, saveRunState } from '../src/run-state.ts';

const from = { base: 'b' };

it('a run is gone on with whatever the order of its settings in the file; another value or order of arms is another run', async () => {
  const storage = memoryStorage();
  const first = resolveConfig({ rl: { beta: 0.1, weightDecay: 0.2 }, arms: ['grpo', 'poro-grpo'] });
  await saveRunState(storage, await openRunState(storage, first, from));
  const turned = resolveConfig({ arms: ['grpo', 'poro-grpo'], rl: { weightDecay: 0.2, beta: 0.1 } });
  expect(JSON.stringify(turned)).not.toBe(JSON.stringify(first));
  expect((await openRunState(storage, turned, from)).config).toEqual(first);
  for (const other of [{ rl: { beta: 0.1 } }, { rl: { beta: 0.1, weightDecay: 0.3 } }, { rl: { beta: 0.1, weightDecay: 0.2 }, arms: ['poro-grpo', 'grpo'] as const }]) {
    await expect(openRunState(storage, resolveConfig(other), from)).rejects.toMatchObject({ code: 'invalid-option', message: expect.stringContaining('other settings') });
  }
});
