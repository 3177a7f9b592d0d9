/** @file The benchmark of a run, in compact words for a base that knows them: what it trains on, is asked, and what a report says of the questions. */
import { compactGtaVocabulary, compactVocabulary, type Example } from '@trimpi/datasets';
import { type Tokenizer, type VisionLanguageModel } from '@trimpi/model';
import { requireWords, WordCodec } from './base/words.ts';
import type { DataConfig } from './config.ts';
import { makeGtaRunData, makeRunData, PromptWriter } from './data.ts';
import { clevrFacts, gtaFacts } from './evaluation/facts.ts';
import type { ReportFacts } from './run-report.ts';
import type { Task } from './task.ts';

export interface OpenedBenchmark {
  readonly task: Task;
  readonly test: readonly Example[];
  /** Most tokens of a right answer, with the one that ends it. */
  readonly longest: number;
  facts(): Promise<Omit<ReportFacts, 'adapter'>>;
}

/**
 * @param base what errors call the base.
 * @throws PipelineError `invalid-option` for a base that lacks a word of the benchmark.
 */
export async function openBenchmark(model: VisionLanguageModel, tokenizer: Tokenizer, base: string, config: DataConfig, onProgress: (done: number, of: number) => void): Promise<OpenedBenchmark> {
  const codec = new WordCodec(tokenizer);
  const writer = new PromptWriter(model, codec);
  const longest = (items: readonly { readonly example: Example }[]) => Math.max(...items.map(({ example }) => codec.encode(example.response).length + 1));
  if (config.benchmark === 'gta') {
    requireWords(codec, [...compactVocabulary(), ...compactGtaVocabulary()], base, 'GTAPolicy');
    const data = await makeGtaRunData(model, config, onProgress);
    return { task: writer.gtaTask(data), test: data.test.map((t) => t.example), longest: longest([...data.train, ...data.test]), facts: () => gtaFacts(model, tokenizer, data) };
  }
  requireWords(codec, compactVocabulary({ depth: config.n, demonstrations: config.variant === 'm' }), base, `policies of depth ${config.n}`);
  const data = await makeRunData(model, config, onProgress);
  return { task: writer.task(data), test: data.test.map((t) => t.example), longest: longest([...data.train, ...data.test]), facts: () => clevrFacts(model, tokenizer, data, config.n) };
}
