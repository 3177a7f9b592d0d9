/**
 * @file All stages of the paper on ClevrPolicy or GTAPolicy and one engine: base, VM-CPT, CoT SFT with LoRA, and RL from there (GRPO or
 * DAPO, and PolicyRollout on either, all with as many rollouts). What `npm run demo` does.
 */
import type { RunReport } from '@trimpi/eval';
import { adapterFiles, type ModelFiles, openCheckpoint, parseConfig, requireText, Tokenizer, VisionLanguageModel } from '@trimpi/model';
import type { Engine } from '@trimpi/runtime';
import { openBenchmark } from './benchmark.ts';
import type { RunConfig } from './config.ts';
import { baseFingerprint } from './fingerprint.ts';
import { exportModel, writeReport } from './run-report.ts';
import { openRunState } from './run-state.ts';
import { runStages, type StageOptions } from './stages.ts';
import { checkedStorage } from './storage.ts';

export interface RunOptions extends StageOptions {
  readonly config: RunConfig;
  readonly engine: Engine;
  /** What the report calls the adapter. */
  readonly adapterName: string;
  /** Files of the base model: config, tokenizer, weights. */
  readonly base: ModelFiles;
}

/** Runs all stages, or those that a stopped run lacks, and writes report and model. Throws PipelineError. */
export async function run({ config, engine, adapterName, base, ...options }: RunOptions): Promise<RunReport> {
  const began = performance.now();
  const storage = checkedStorage(options.storage);
  const before = await openRunState(storage, config, { base: await baseFingerprint(base) });
  const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(base, 'config.json'))));
  try {
    await model.load(await openCheckpoint(base));
    const benchmark = await openBenchmark(model, await Tokenizer.load(base), base.name, config, (done, of) => options.onEvent?.({ type: 'progress', what: 'images', done, of }));
    const { longest } = benchmark;
    if (config.rl.steps > 0 && config.rl.maxNewTokens < longest) options.onEvent?.({ type: 'note', text: `rl.maxNewTokens is ${config.rl.maxNewTokens}, and the longest right answer takes ${longest} tokens: such answers are cut off` });
    const drawing = (performance.now() - began) / 1000;
    const state = await runStages({
      ...options, storage, model,
      state: { ...before, seconds: before.seconds + drawing },
      task: benchmark.task,
      onAdapter: async (adapter) => {
        for (const [name, bytes] of Object.entries(adapterFiles(adapter, `${lastPart(base.name)} + vm-cpt`))) await storage.write(`adapter/${name}`, bytes);
      },
    });
    const report = await writeReport(storage, state, { ...(await benchmark.facts()), adapter: adapterName }, benchmark.test);
    await exportModel(storage, base, model);
    return report;
  } finally {
    model.dispose();
  }
}

/** Of a path or an address: where files lie on one machine says nothing on another. */
function lastPart(name: string): string {
  return name.split(/[\\/]/).findLast((part) => part !== '') ?? name;
}
