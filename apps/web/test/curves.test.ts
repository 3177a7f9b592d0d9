import { memoryStorage } from '@trimpi/pipeline';
import { expect, it } from 'vitest';
import { savedCurves } from '../src/worker/curves.ts';

it('reads curves of stages that are done and of the one under way', async () => {
  const storage = memoryStorage();
  await storage.write('metrics-vm-cpt.jsonl', '{"step":1,"loss":2.5}\n{"step":2,"loss":2}\n');
  await storage.write('metrics-grpo.jsonl', '{"step":1,"loss":0.1,"reward":0.5,"reward/free":0.5,"sampled_rewards/accuracy/free":0.25}\n{"step":2,"lo');
  // In the second step no group was kept: there is nothing to learn from, but something was sampled.
  await storage.write('metrics-poro-dapo.jsonl', '{"step":1,"reward":0.5,"reward/free":0.25,"reward/policy":0.75,"sampled_rewards/accuracy/free":0,"sampled_rewards/accuracy/policy":1}\n{"step":2,"reward":0,"sampled_rewards/accuracy/free":1,"sampled_rewards/accuracy/policy":1}\n');
  expect(await savedCurves(storage, ['base', 'vm-cpt', 'cot-sft', 'grpo', 'poro-dapo'])).toEqual([
    { stage: 'vm-cpt', chart: 'loss', rows: [[1, 2.5], [2, 2]] },
    { stage: 'grpo', chart: 'reward', rows: [[1, 0.5]] },
    { stage: 'grpo', chart: 'accuracy', rows: [[1, 0.25]] },
    { stage: 'poro-dapo', chart: 'reward by origin', rows: [[1, 0.5, 0.25, 0.75], [2, 0, null, null]] },
    { stage: 'poro-dapo', chart: 'accuracy by origin', rows: [[1, 0, 1], [2, 1, 1]] },
  ]);
});
