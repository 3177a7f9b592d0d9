/** @file The files that a finished run leaves: its report, and the model with the policy inside. */
import type { Example } from '@trimpi/datasets';
import { findings, type ReportExample, type RunReport, type SampledCompletion } from '@trimpi/eval';
import { type ModelFiles, publishedKey, readText, requireText, serializeSafetensors, type VisionLanguageModel } from '@trimpi/model';
import type { RunState } from './run-state.ts';
import type { RunStorage } from './storage.ts';
import { completionsFile } from './train/reinforce.ts';

/** Steps of a stage whose sampled completions the page shows. */
const SHOWN_STEPS = 6;
const SHOWN_OF_STEP = 16;

/** What a report says besides what the stages measured. */
export type ReportFacts = Pick<RunReport, 'title' | 'adapter' | 'chance' | 'majority' | 'shortcuts' | 'canonical'>;

/** @param examples the test questions in their order; the page shows the first. */
export async function writeReport(storage: RunStorage, { config, finished, inContext, seconds }: RunState<{ readonly seed: number }>, facts: ReportFacts, examples: readonly Pick<Example, 'images' | 'query' | 'answer'>[]): Promise<RunReport> {
  const partial = { ...facts, seed: config.seed, seconds, inContext: inContext!, stages: finished.map((f) => f.report), settings: settingsOf(config) };
  const report: RunReport = { ...partial, findings: findings(partial) };
  const shown: ReportExample[] = finished[0]!.shown.map((_, i) => ({ ...pictured(examples[i]!), completions: finished.map((f) => ({ stage: f.report.title, ...f.shown[i]! })) }));
  const samples: { stage: string; lines: SampledCompletion[] }[] = [];
  for (const { report: stage } of finished) {
    const bytes = await storage.read(completionsFile(stage.name));
    if (bytes === null) continue;
    const lines = new TextDecoder().decode(bytes).split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as SampledCompletion);
    samples.push({ stage: stage.title, lines: spread(lines) });
  }
  await storage.write('report.json', `${JSON.stringify(report, null, 2)}\n`);
  // Charts are half of a page's script: they come when the report is written.
  const { renderReport } = await import('@trimpi/eval/html');
  await storage.write('report.html', renderReport(report, finished.flatMap((f) => f.curves), shown, samples));
  return report;
}

/** The groups of some steps, from the first to the last. */
function spread(lines: readonly SampledCompletion[]): SampledCompletion[] {
  const steps = [...new Set(lines.map((l) => l.step))];
  const shown = new Set(Array.from({ length: SHOWN_STEPS }, (_, i) => steps[Math.round((i * (steps.length - 1)) / (SHOWN_STEPS - 1))]));
  return steps.filter((step) => shown.has(step)).flatMap((step) => lines.filter((l) => l.step === step).slice(0, SHOWN_OF_STEP));
}

function pictured({ images: [image, ...further], query, answer }: Pick<Example, 'images' | 'query' | 'answer'>): Omit<ReportExample, 'completions'> {
  return { ...(image === undefined ? {} : { image }), ...(further.length === 0 ? {} : { further }), query, answer };
}

/** As they were given; of GTAPolicy without what it takes no notice of. */
function settingsOf(config: object): Record<string, unknown> {
  const settings: Record<string, unknown> = { ...config };
  if (settings['benchmark'] === 'gta') for (const name of ['n', 'variant', 'policies']) delete settings[name];
  return settings;
}

/** What a checkpoint may have beside weights, configuration and tokenizer: its tokenizer's settings and vocabulary, chat template, preprocessor, stop tokens, licence. */
const COMPANIONS = [
  'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt', 'chat_template.jinja', 'chat_template.json',
  'preprocessor_config.json', 'processor_config.json', 'video_preprocessor_config.json', 'generation_config.json', 'LICENSE',
];

/** The model with the policy inside, as a checkpoint that transformers loads: with the companions that the base has. @throws ModelError `not-found` without config or tokenizer. */
export async function exportModel(storage: RunStorage, base: ModelFiles, model: VisionLanguageModel): Promise<void> {
  const tensors = new Map([...(await model.tensors())].map(([name, t]) => [publishedKey(name, model.config.modelType), t] as const));
  await storage.write('model/model.safetensors', serializeSafetensors(tensors));
  for (const file of ['config.json', 'tokenizer.json']) await storage.write(`model/${file}`, await requireText(base, file));
  for (const file of COMPANIONS) {
    const source = await base.open(file);
    if (source !== null) await storage.write(`model/${file}`, await readText(source));
  }
}
