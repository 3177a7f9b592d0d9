import { memoryStorage } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import { savedCurves } from '../src/worker/curves.ts';

it('reads curves of stages that are done and of the one under way', async () => {
  const storage = memoryStorage();
  await storage.write('metrics-vm-cpt.jsonl', '{"step":1,"loss":2.5}\n{"step":2,"loss":2}\n');
  await storage.write('metrics-grpo.jsonl', '{"step":1,"loss":0.1,"reward":0.5,"sampled_rewards/accuracy/free":0.25}\n{"step":2,"lo');
  expect(await savedCurves(storage, ['base', 'vm-cpt', 'cot-sft', 'grpo'])).toEqual([
    { stage: 'vm-cpt', name: 'loss', points: [[1, 2.5], [2, 2]] },
    { stage: 'grpo', name: 'reward', points: [[1, 0.5]] },
    { stage: 'grpo', name: 'accuracy without policy', points: [[1, 0.25]] },
  ]);
});
