/** @file The files that a finished run leaves: its report, and the model with the policy inside. */
import { findings, type ReportExample, type RunReport, type SampledCompletion } from '@trimpi/eval';
import { type ModelFiles, publishedKey, requireText, serializeSafetensors, type VisionLanguageModel } from '@trimpi/model';
import type { RunState } from './run-state.ts';
import type { RunStorage } from './storage.ts';
import { completionsFile } from './train/reinforce.ts';

/** Sampled completions of a stage that the page shows. */
const SHOWN_SAMPLES = 96;

/** What a report says besides what the stages measured. */
export type ReportFacts = Pick<RunReport, 'title' | 'adapter' | 'chance' | 'majority' | 'shortcuts' | 'canonical'>;

/** @param examples the test questions in their order; the page shows the first. */
export async function writeReport(storage: RunStorage, { config, finished, inContext, seconds }: RunState<{ readonly seed: number }>, facts: ReportFacts, examples: readonly Omit<ReportExample, 'completions'>[]): Promise<RunReport> {
  const partial = { ...facts, seed: config.seed, seconds, inContext: inContext!, stages: finished.map((f) => f.report), settings: settingsOf(config) };
  const report: RunReport = { ...partial, findings: findings(partial) };
  const shown: ReportExample[] = finished[0]!.shown.map((_, i) => ({ ...examples[i]!, completions: finished.map((f) => ({ stage: f.report.title, ...f.shown[i]! })) }));
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
  await storage.write('report.html', renderReport(report, finished.flatMap((f) => f.curves), shown, samples));
  return report;
}

/** As they were given; of GTAPolicy without what it takes no notice of. */
function settingsOf(config: object): Record<string, unknown> {
  const settings: Record<string, unknown> = { ...config };
  if (settings['benchmark'] === 'gta') for (const name of ['n', 'variant', 'policies']) delete settings[name];
  return settings;
}

/** The model with the policy inside, as a checkpoint that transformers loads. */
export async function exportModel(storage: RunStorage, base: ModelFiles, model: VisionLanguageModel): Promise<void> {
  const tensors = new Map([...(await model.tensors())].map(([name, t]) => [publishedKey(name, model.config.modelType), t] as const));
  await storage.write('model/model.safetensors', serializeSafetensors(tensors));
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) await storage.write(`model/${file}`, await requireText(base, file));
}
