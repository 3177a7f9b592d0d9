import { grpo, gspo, poro } from '@trimpi/rollout';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { algorithmName, ALGORITHMS, memoryStorage, resolveConfig, run, stageTitle } from '../src/index.ts';
import { objectiveOf } from '../src/train/reinforce.ts';
import { randomBase } from './random-base.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
const base = await randomBase(engine);
afterAll(() => device.dispose());

describe('objectives of a run', () => {
  it('are the paper\'s and those of other papers, each with and without PolicyRollout, under their names', () => {
    expect(ALGORITHMS).toHaveLength(14);
    expect(new Set(ALGORITHMS.map(algorithmName)).size).toBe(14);
    expect(['gspo', 'poro-gspo', 'reinforce-plus-plus', 'poro-dr-grpo'].map((a) => algorithmName(a as 'gspo'))).toEqual(['GSPO', 'PolicyRollout on GSPO', 'REINFORCE++', 'PolicyRollout on Dr. GRPO']);
    expect([stageTitle('rloo'), stageTitle('poro-rloo'), stageTitle('vm-cpt')]).toEqual(['RLOO, no policy in the rollouts', 'PolicyRollout on RLOO', 'VM-CPT']);
  });

  it('are those of @trimpi/rollout, with the rewards weighted as in the paper', () => {
    for (const name of ALGORITHMS) expect(objectiveOf(name).parts.rewardWeights, name).toEqual({ accuracy: 0.9, format: 0.1 });
    // The same loss of the same rows; another one than GRPO's.
    const rows = { logps: [-1, -2, -0.5, -1.5], oldLogps: [-1.5, -1.9, -0.6, -1.1], advantages: [1, -0.3], mask: [1, 1, 1, 1], shape: [2, 2] as [number, number] };
    const loss = (o: { loss: ReturnType<typeof gspo>['loss'] }) => o.loss(rows).loss;
    expect(loss(objectiveOf('gspo'))).toBe(loss(poro(gspo())));
    expect(loss(objectiveOf('gspo'))).not.toBe(loss(poro(grpo())));
  });

  it('all run, at the same number of rollouts', async () => {
    const arms = ALGORITHMS.filter((a) => !/(grpo|dapo)$/.test(a) || a.includes('dr-'));
    expect(arms).toHaveLength(10);
    const report = await run({
      engine, base, adapterName: 'test', storage: memoryStorage(),
      config: resolveConfig({ seed: 2, policies: 2, trainPerPolicy: 4, reasonedPerPolicy: 2, testSize: 2, saveSteps: 1, vmCpt: { steps: 0 }, sft: { steps: 1, batchSize: 2 }, rl: { steps: 1, promptsPerStep: 2, rollouts: 4, maxNewTokens: 6 }, arms }),
    });
    expect(report.stages.slice(3).map((s) => s.title)).toEqual(arms.map(stageTitle));
    for (const stage of report.stages.slice(3)) expect(stage.rl).toMatchObject({ rollouts: 8 });
  });
});
