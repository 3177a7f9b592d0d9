/**
 * @file One's own policy into a checkpoint of one's own: the base with and without the policy in its prompt, VM-CPT, CoT SFT
 * and RL with PolicyRollout, each evaluated without it, as one resumable run.
 */
import { majorityAccuracy, type RunReport } from '@trimpi/eval';
import { adapterFiles, type DeviceLimits, type ModelFiles, Processor, stopTokenIds } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { PipelineError } from '../errors.ts';
import { baseFingerprint } from '../fingerprint.ts';
import { exportModel, writeReport } from '../run-report.ts';
import { openRunState } from '../run-state.ts';
import { runStages, type StageOptions } from '../stages.ts';
import { checkedStorage } from '../storage.ts';
import { interrupt } from '../train/context.ts';
import { loadWeights } from '../weights.ts';
import { type ChatExample, type ChatSizes, ChatTask } from './chats.ts';
import type { InternaliseConfig } from './config.ts';
import { checkSizes, openLearner, planLearner } from './learner.ts';
import { Pictures } from './pictures.ts';

export interface InternaliseOptions extends StageOptions {
  readonly config: InternaliseConfig;
  /** What the policy is called. */
  readonly title: string;
  /** At least one of each split. */
  readonly examples: readonly ChatExample[];
  readonly engine: Engine;
  /** Of the device: what does not fit is refused before anything is loaded. */
  readonly limits?: DeviceLimits;
  /** What the report calls the adapter. */
  readonly adapterName: string;
  /** The checkpoint that is trained: config, tokenizer with chat template, weights. */
  readonly base: ModelFiles;
}

/**
 * Runs all stages, or those that a stopped run lacks. Leaves the report, and `adapter/` in PEFT's form (`adapters/ARM/` for each
 * of several arms), or `model/` after full training.
 * @throws PipelineError `invalid-option` for examples that cannot be used and for the folder of another run, `invalid-checkpoint`, and
 * ModelError `does-not-fit`, all before anything is loaded; `interrupted`.
 */
export async function internalise({ config, title, examples, engine, limits, adapterName, base, ...options }: InternaliseOptions): Promise<RunReport> {
  const began = performance.now();
  const storage = checkedStorage(options.storage);
  const processor = await Processor.load(base);
  const chats = new ChatTask({ processor, examples, system: config.system, stopIds: await stopTokenIds(base, processor), testSize: config.testSize });
  const check = () => options.signal?.aborted === true && interrupt('preparing pictures', storage);
  const sizes = await checkExamples(chats, config, processor.config.maxPositionEmbeddings, check);

  const pictures = chats.pictures();
  const learning = { engine, limits, base, processor, config, sizes, pictures };
  const plan = await planLearner(learning);
  const before = await openRunState(storage, config, { base: await baseFingerprint(base), data: await chats.digest() });
  options.onEvent?.({ type: 'note', text: `Loading ${base.name}` });
  const learner = await openLearner(learning, plan);
  const { model, adapter } = learner;
  try {
    const task = chats.make(await Pictures.make(model, processor, pictures, { trainsVision: learner.trainsVision, onProgress: (done, of) => options.onEvent?.({ type: 'progress', what: 'images', done, of }), check }));
    const save = async (folder: string) => {
      for (const [name, bytes] of Object.entries(adapterFiles(await model.adapter(adapter!).toAdapter(), base.name))) await storage.write(`${folder}/${name}`, bytes);
    };
    const state = await runStages({
      ...options, storage, model, task, maxTokens: config.maxTokens, maxRollouts: config.maxRollouts,
      state: { ...before, seconds: before.seconds + (performance.now() - began) / 1000 },
      ...(adapter === undefined ? {} : { adapter }),
    });
    const answers = (items: readonly ChatExample[]) => items.map(({ example }) => example);
    // The report first: what was measured is there even when the weights cannot be written.
    const report = await writeReport(
      storage, state,
      { title: `TriMPI: ${title} into ${base.name}`, adapter: adapterName, majority: majorityAccuracy(answers(chats.train), answers(chats.test)) },
      answers(chats.test),
    );
    if (adapter === undefined) await exportModel(storage, base, model);
    else await save('adapter');
    for (const arm of adapter !== undefined && config.arms.length > 1 ? config.arms : []) {
      await loadWeights(storage, `${arm}.safetensors`, model, adapter);
      await save(`adapters/${arm}`);
    }
    return report;
  } finally {
    model.dispose();
  }
}

/** @throws PipelineError `invalid-option` naming what is missing or too long. */
async function checkExamples(chats: ChatTask, { maxTokens, rl, vmCpt, sft }: InternaliseConfig, maxPositions: number, check: () => void): Promise<ChatSizes> {
  const bad = (argument: string, message: string, remedy: string): never => {
    throw new PipelineError('invalid-option', argument, message, remedy);
  };
  if (chats.train.length === 0) bad('examples', 'has no training example.', 'Give some with "split": "train".');
  if (chats.test.length === 0) bad('examples', 'has no test example.', 'Give some with "split": "test"; they are never trained on.');
  if (vmCpt.steps + sft.steps > 0 && chats.train.every(({ example }) => example.reasoning === '')) bad('examples', 'has no training example with reasoning, which VM-CPT and CoT SFT learn from.', 'Add reasoning to some, or set the steps of vmCpt and sft to 0.');
  const sizes = await chats.sizes(check);
  checkSizes(sizes, { maxTokens, rl }, maxPositions);
  return sizes;
}
