/** @file ClevrPolicy and GTAPolicy in compact words as rows and prompts of a base. */
import type { CallScores } from '@trimpi/eval';
import { branchingError, clevrPolicy, type ClevrPolicyDataset, type ClevrPolicyExample, type CompactGtaDataset, type CompactGtaExample, type Example, type GtaScore, type RgbImage, scoreClevrPolicy, scoreCompactGta, type Split } from '@trimpi/datasets';
import { type BatchImage, defaultPreprocessorConfig, patchify, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { SupervisedRow } from '@trimpi/trainers';
import { TINY_BASE_SCENES } from './base/scenes.ts';
import { RowBuilder, type WordCodec } from './base/words.ts';
import type { DataConfig } from './config.ts';
import { gtaDataset } from './gta-dataset.ts';
import type { Task, TaskItem } from './task.ts';

/** An example with its images encoded by the frozen vision tower. */
export interface RunItem<E extends Example = ClevrPolicyExample> {
  readonly example: E;
  readonly images: readonly BatchImage[];
  /** Those that the policy shows. */
  readonly policyImages: readonly BatchImage[];
}

interface Splits<E extends Example> {
  readonly train: readonly RunItem<E>[];
  readonly reasoned: readonly RunItem<E>[];
  readonly test: readonly RunItem<E>[];
}

/** Everything a run trains and is tested on. */
export interface RunData extends Splits<ClevrPolicyExample> {
  readonly dataset: ClevrPolicyDataset;
}

export interface GtaRunData extends Splits<CompactGtaExample> {
  readonly dataset: CompactGtaDataset;
}

export function runDataset(config: DataConfig): ClevrPolicyDataset {
  return clevrPolicy({
    ...TINY_BASE_SCENES,
    seed: `run ${config.seed}`,
    n: config.n,
    policies: config.policies,
    style: 'compact',
    variant: config.variant ?? 't',
    sampling: 'balanced',
    train: config.trainPerPolicy * config.policies,
    test: config.testSize,
    reasoned: config.reasonedPerPolicy * config.policies,
  });
}

export async function makeRunData(model: VisionLanguageModel, config: DataConfig, onProgress?: (done: number, of: number) => void): Promise<RunData> {
  const dataset = runDataset(config);
  return { dataset, ...(await encodeSplits(model, dataset, onProgress)) };
}

export async function makeGtaRunData(model: VisionLanguageModel, config: Omit<DataConfig, 'n' | 'variant'>, onProgress?: (done: number, of: number) => void): Promise<GtaRunData> {
  const dataset = gtaDataset(config);
  return { dataset, ...(await encodeSplits(model, dataset, onProgress)) };
}

async function encodeSplits<E extends Example & { readonly reasoned: boolean }>(model: VisionLanguageModel, dataset: { size(split: Split): number; example(split: Split, index: number): E }, onProgress?: (done: number, of: number) => void): Promise<Splits<E>> {
  const [trainSize, testSize] = [dataset.size('train'), dataset.size('test')];
  const of = (split: Split, size: number, before: number) => encodeExamples(model, size, (i) => dataset.example(split, i), (done) => onProgress?.(before + done, trainSize + testSize));
  const train = await of('train', trainSize, 0);
  return { train, reasoned: train.filter((t) => t.example.reasoned), test: await of('test', testSize, trainSize) };
}

/** Draws `count` examples and lets the frozen vision tower encode their images; those of a policy once. */
export async function encodeExamples<E extends Example>(model: VisionLanguageModel, count: number, example: (index: number) => E, onProgress?: (done: number) => void): Promise<RunItem<E>[]> {
  const encoded = new Map<RgbImage, BatchImage>();
  const items: RunItem<E>[] = [];
  for (let i = 0; i < count; i += 32) {
    const examples = Array.from({ length: Math.min(32, count - i) }, (_, k) => example(i + k));
    const images = await encodeImages(model, examples.flatMap((e) => e.images));
    const shown = [...new Set(examples.flatMap(policyPictures))].filter((image) => !encoded.has(image));
    (await encodeImages(model, shown)).forEach((image, k) => encoded.set(shown[k]!, image));
    let at = 0;
    for (const e of examples) {
      items.push({ example: e, images: images.slice(at, at + e.images.length), policyImages: policyPictures(e).map((image) => encoded.get(image)!) });
      at += e.images.length;
    }
    onProgress?.(items.length);
    await new Promise((r) => setTimeout(r));
  }
  return items;
}

/** An example with its images encoded. */
export async function encodeExample<E extends Example>(model: VisionLanguageModel, example: E): Promise<RunItem<E>> {
  return (await encodeExamples(model, 1, () => example))[0]!;
}

function policyPictures(example: Example): RgbImage[] {
  return example.policyParts.flatMap((part) => (part.type === 'image' ? [part.image] : []));
}

async function encodeImages(model: VisionLanguageModel, images: readonly RgbImage[]): Promise<BatchImage[]> {
  const preprocessor = defaultPreprocessorConfig(model.config);
  return model.encodeImages(images.map((image) => patchify(image.rgb, image.width, image.height, preprocessor)));
}

type Written = Pick<RunItem<Example>, 'images' | 'policyImages'> & { readonly example: Pick<Example, 'query' | 'policyText' | 'response' | 'answer'> };

/** Writes prompts and rows in a base's words. */
export class PromptWriter {
  readonly #model: VisionLanguageModel;
  readonly #codec: WordCodec;

  constructor(model: VisionLanguageModel, codec: WordCodec) {
    this.#model = model;
    this.#codec = codec;
  }

  /** Images and query, with the policy before them when it is wanted. */
  prompt(item: Written, policyInPrompt: boolean): TokenSequence {
    return this.#prompt(item, policyInPrompt).sequence();
  }

  /** Images and a question, behind any policy text. */
  ask(images: readonly BatchImage[], query: string, policy?: { readonly text: string; readonly images: readonly BatchImage[] }): TokenSequence {
    return this.#ask(images, query, policy).sequence();
  }

  /** Token ids of words. */
  ids(text: string): number[] {
    return this.#codec.encode(text);
  }

  /** Policy, images, query, reasoning and answer, every token a target: the ablation of eq. 2's mask. */
  cptRow(item: Written): SupervisedRow {
    const row = this.#prompt(item, true).text(item.example.response, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.ids.map(() => 1) };
  }

  /** Eq. 2: policy, images, query, reasoning and answer; every token but the visual ones is a target. */
  vmCptRow(item: Written): SupervisedRow {
    const row = this.#prompt(item, true).text(item.example.response, 1).end(1);
    const { visionStartTokenId, visionEndTokenId, imageTokenId } = this.#model.config;
    const visual = new Set([visionStartTokenId, visionEndTokenId, imageTokenId]);
    return { sequence: row.sequence(), lossMask: row.ids.map((id) => (visual.has(id) ? 0 : 1)) };
  }

  /** Eq. 6: no policy; reasoning and answer are the targets. */
  sftRow(item: Written): SupervisedRow {
    const row = this.#prompt(item, false).text(item.example.response, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.weights };
  }

  /** Direct SFT: no policy and no reasoning; the answer is the target. */
  directRow(item: Written): SupervisedRow {
    const row = this.#prompt(item, false).text(`\\boxed{ ${item.example.answer} }`, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.weights };
  }

  /** Everything a run needs of ClevrPolicy's examples. */
  task(data: RunData): Task {
    return {
      ...this.#splits(data, scoreItem),
      branchingError: (completions) => branchingError(completions, data.test.map((item) => item.example.response)).averageAbsoluteDifference,
    };
  }

  /** The same of GTAPolicy's: a call is right when tool, version and all arguments are. */
  gtaTask(data: GtaRunData): Task {
    return { ...this.#splits(data, scoreGtaItem), calls: (completions) => callScores(data.test, completions) };
  }

  #splits<E extends Example>({ train, reasoned, test }: Splits<E>, score: (item: RunItem<E>, completion: string) => { readonly accuracy: number; readonly format: number }): Task {
    const items = (of: readonly RunItem<E>[]) => of.map((item): TaskItem => ({
      id: item.example.id,
      prompt: (policyInPrompt) => this.prompt(item, policyInPrompt),
      row: (kind) => ({ 'vm-cpt': this.vmCptRow, cpt: this.cptRow, 'cot-sft': this.sftRow, 'direct-sft': this.directRow })[kind].call(this, item),
      score: (completion) => score(item, completion),
    }));
    return {
      train: items(train), reasoned: items(reasoned), test: items(test),
      stopIds: [this.#model.config.eosTokenId!],
      text: (tokens) => this.text(tokens),
    };
  }

  text(tokens: ArrayLike<number>): string {
    return this.#codec.decode(tokens);
  }

  #prompt({ example, images, policyImages }: Written, policyInPrompt: boolean): RowBuilder {
    return this.#ask(images, example.query, policyInPrompt ? { text: example.policyText, images: policyImages } : undefined);
  }

  #ask(images: readonly BatchImage[], query: string, policy?: { readonly text: string; readonly images: readonly BatchImage[] }): RowBuilder {
    const row = new RowBuilder(this.#model.config, this.#codec);
    if (policy !== undefined) row.interleaved(policy.text, policy.images);
    for (const image of images) row.image(image);
    return row.text(query);
  }
}

/** Accuracy and format of a completion, as the rewards of RL and the measure of evaluation. */
export function scoreItem(item: { readonly example: Pick<Example, 'answer'> }, completion: string): { readonly accuracy: number; readonly format: number } {
  return scoreClevrPolicy(completion, item.example.answer);
}

export function scoreGtaItem(item: { readonly example: Pick<CompactGtaExample, 'gold'> }, completion: string): GtaScore {
  return scoreCompactGta(completion, item.example.gold);
}

/** Means of the paper's scores over completions of items. */
export function callScores(items: readonly { readonly example: Pick<CompactGtaExample, 'gold'> }[], completions: readonly string[]): CallScores {
  const scores = completions.map((completion, i) => scoreGtaItem(items[i]!, completion));
  const mean = (of: (score: GtaScore) => number) => scores.reduce((sum, score) => sum + of(score), 0) / scores.length;
  return { tool: mean((x) => x.tool), arguments: mean((x) => x.arguments), overall: mean((x) => x.accuracy) };
}
