/** @file The files that a finished run leaves: its report, and the model with the policy inside. */
import { findings, majorityAccuracy, type ReportExample, type RunReport, type SampledCompletion } from '@trimpi/eval';
import { shortcutBaselines } from '@trimpi/datasets';
import { type ModelFiles, publishedKey, requireText, serializeSafetensors, Tokenizer, type VisionLanguageModel } from '@trimpi/model';
import type { RunData, RunItem } from './data.ts';
import { measureCanonical } from './evaluation/canonical.ts';
import type { RunState } from './run-state.ts';
import type { RunStorage } from './storage.ts';
import { completionsFile } from './train/reinforce.ts';

/** Sampled completions of a stage that the page shows. */
const SHOWN_SAMPLES = 96;

export async function writeReport(storage: RunStorage, base: ModelFiles, model: VisionLanguageModel, data: RunData, state: RunState, adapter: string): Promise<RunReport> {
  const { config, finished, inContext } = state;
  const policies = data.dataset.policies;
  const answers = (items: readonly RunItem[]) => items.map(({ example }) => ({ policyId: example.policyId, answer: example.answer }));
  const { objectCount, histogram } = shortcutBaselines(policies, data.train.map((t) => t.example), data.test.map((t) => t.example));
  const partial = {
    title: `TriMPI: ${policies.length} policies of ${policies[0]!.tree.leaves.length} cases into the weights (ClevrPolicy-T, N=${config.n})`,
    seed: config.seed,
    adapter,
    seconds: state.seconds,
    chance: 1 / policies[0]!.tree.leaves.length,
    majority: majorityAccuracy(answers(data.train), answers(data.test)),
    inContext: inContext!,
    shortcuts: { objectCount, histogram },
    canonical: await measureCanonical(model, await Tokenizer.load(base), data.dataset, data.test[0]!.image),
    stages: finished.map((f) => f.report),
    settings: { ...config },
  };
  const report: RunReport = { ...partial, findings: findings(partial) };
  const examples: ReportExample[] = finished[0]!.shown.map((_, i) => {
    const { example } = data.test[i]!;
    return { image: example.images[0]!, query: example.query, answer: example.answer, completions: finished.map((f) => ({ stage: f.report.title, ...f.shown[i]! })) };
  });
  const samples: { stage: string; lines: SampledCompletion[] }[] = [];
  for (const { report: stage } of finished) {
    const bytes = await storage.read(completionsFile(stage.name));
    if (bytes === null) continue;
    const lines = new TextDecoder().decode(bytes).split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as SampledCompletion);
    samples.push({ stage: stage.title, lines: lines.slice(-SHOWN_SAMPLES) });
  }
  await storage.write('report.json', `${JSON.stringify(report, null, 2)}\n`);
  // Charts are half of a page's script: they come when the report is written.
  const { renderReport } = await import('@trimpi/eval/html');
  await storage.write('report.html', renderReport(report, finished.flatMap((f) => f.curves), examples, samples));
  return report;
}

/** The model with the policy inside, as a checkpoint that transformers loads. */
export async function exportModel(storage: RunStorage, base: ModelFiles, model: VisionLanguageModel): Promise<void> {
  const tensors = new Map([...(await model.tensors())].map(([name, t]) => [publishedKey(name, model.config.modelType), t] as const));
  await storage.write('model/model.safetensors', serializeSafetensors(tensors));
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) await storage.write(`model/${file}`, await requireText(base, file));
}
