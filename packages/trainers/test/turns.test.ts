/** Rollouts of a step sampled in turns, on the reference engine: float64, where rows do not depend on their neighbours. */
import * as modelPackage from '@trimpi/model';
import { poroGrpo } from '@trimpi/rollout';
import { ReferenceEngine } from '@trimpi/runtime';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type RlOptions, RlTrainer, type Rollout } from '../src/index.ts';
import { lowTokens, pairs, smallModel } from './small.ts';

vi.mock('@trimpi/model', async (original) => {
  const real = await original<typeof modelPackage>();
  return { ...real, generate: vi.fn(real.generate) };
});
const generate = vi.mocked(modelPackage.generate);

async function step(options: Partial<RlOptions>): Promise<readonly Rollout[]> {
  const model = smallModel(new ReferenceEngine());
  model.setTrainable('text');
  let seen: readonly Rollout[] = [];
  const trainer = new RlTrainer(model, {
    examples: pairs(3), reward: lowTokens, objective: poroGrpo({ beta: 0 }), promptsPerStep: 3, policyFree: 2, policyAware: 2, maxNewTokens: 4, stopIds: [59], learningRate: 1e-3, steps: 4, seed: 5,
    onRollouts: (_, rollouts) => (seen = rollouts), ...options,
  });
  await trainer.next();
  model.dispose();
  return seen;
}

const said = (rollouts: readonly Rollout[]) => rollouts.map(({ example, origin, completion }) => ({ id: example.id, origin, tokens: [...completion.tokens] }));

describe('rollouts of a step', () => {
  beforeEach(() => void generate.mockClear());

  it('in turns are what they are all at once', async () => {
    const whole = await step({});
    expect(generate.mock.calls.map(([, , { promptOf }]) => promptOf!.length)).toEqual([12]);
    // Twelve completions of six prompts: alone, two prompts each time, three prompts (what does not fill a turn goes into the next).
    for (const [maxRollouts, turns] of [[1, [2, 2, 2, 2, 2, 2]], [4, [4, 4, 4]], [7, [6, 6]], [12, [12]]] as const) {
      generate.mockClear();
      expect(said(await step({ maxRollouts }))).toEqual(said(whole));
      expect(generate.mock.calls.map(([, , { promptOf }]) => promptOf!.length)).toEqual(turns);
      // A prompt is laid down once, with all of its completions behind it.
      expect(generate.mock.calls.map(([, prompts]) => prompts.length)).toEqual(turns.map((n) => n / 2));
    }
    expect(new Set(said(whole).map((r) => r.tokens.join())).size).toBeGreaterThan(6);
  });

  it('refuses a number that is none', async () => {
    await expect(step({ maxRollouts: 0 })).rejects.toMatchObject({ code: 'invalid-option', argument: 'maxRollouts' });
  });
});
