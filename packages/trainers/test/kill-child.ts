/** @file A training process for `kill.test.ts`: goes on in its folder, says each step, and leaves its final weights. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { poroGrpo } from '@trimpi/rollout';
import { openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { Checkpoints, readTrainingState, RlTrainer, SupervisedTrainer, train, type Trainer } from '../src/index.ts';
import { checkpointFolder, jsonlFile } from '../src/node.ts';
import { lowTokens, pairs, smallModel, supervisedRows } from './small.ts';

const [folder, steps, saveSteps, kind] = process.argv.slice(2) as [string, string, string, 'sft' | 'rl'];
const model = smallModel(kind === 'sft' ? new ReferenceEngine() : new WebGpuEngine(await openDevice()));
model.setTrainable('text');
const common = { learningRate: 3e-3, steps: Number(steps), seed: 3 };
const trainer: Trainer = kind === 'sft'
  ? new SupervisedTrainer(model, { rows: supervisedRows(5), batchSize: 2, lossMean: 'token', ...common })
  : new RlTrainer(model, { examples: pairs(4), reward: lowTokens, objective: poroGrpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 4, maxNewTokens: 6, stopIds: [59], ...common });
await train({
  model, trainer, steps: Number(steps), saveSteps: Number(saveSteps),
  checkpoints: new Checkpoints(checkpointFolder(folder), { onDamaged: (file) => process.send!({ damaged: file }) }),
  metrics: [jsonlFile(join(folder, 'metrics.jsonl'))],
  onBegin: (step) => process.send!({ began: step }),
  // Said one step later, when the checkpoint of the step before must be there.
  extra: { save: () => (process.send!({ saving: trainer.step }), null), restore: () => undefined },
});
const final = [...(await readTrainingState(model))].map(([, values]) => Buffer.from(values.buffer));
writeFileSync(join(folder, 'final.bin'), Buffer.concat(final));
process.send!({ done: true }, () => process.exit(0));
