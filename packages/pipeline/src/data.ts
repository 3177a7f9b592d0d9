/** @file ClevrPolicy-T in compact words as rows and prompts of the tiny base. */
import { branchingError, clevrPolicy, type ClevrPolicyDataset, type ClevrPolicyExample, scoreClevrPolicy, type Split } from '@trimpi/datasets';
import { type BatchImage, defaultPreprocessorConfig, patchify, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { SupervisedRow } from '@trimpi/trainers';
import { TINY_BASE_SCENES } from './base/scenes.ts';
import { RowBuilder, type WordCodec } from './base/words.ts';
import type { DataConfig } from './config.ts';
import type { Task, TaskItem } from './task.ts';

export interface RunItem<E extends ClevrPolicyExample = ClevrPolicyExample> {
  readonly example: E;
  readonly image: BatchImage;
}

/** Everything a run trains and is tested on, with images encoded by the frozen vision tower. */
export interface RunData {
  readonly dataset: ClevrPolicyDataset;
  readonly train: readonly RunItem[];
  readonly reasoned: readonly RunItem[];
  readonly test: readonly RunItem[];
}

export function runDataset(config: DataConfig): ClevrPolicyDataset {
  return clevrPolicy({
    ...TINY_BASE_SCENES,
    seed: `run ${config.seed}`,
    n: config.n,
    policies: config.policies,
    style: 'compact',
    variant: 't',
    sampling: 'balanced',
    train: config.trainPerPolicy * config.policies,
    test: config.testSize,
    reasoned: config.reasonedPerPolicy * config.policies,
  });
}

export async function makeRunData(model: VisionLanguageModel, config: DataConfig, onProgress?: (done: number, of: number) => void): Promise<RunData> {
  const dataset = runDataset(config);
  const [trainSize, testSize] = [dataset.size('train'), dataset.size('test')];
  const of = (split: Split, size: number, before: number) => encodeExamples(model, size, (i) => dataset.example(split, i), (done) => onProgress?.(before + done, trainSize + testSize));
  const train = await of('train', trainSize, 0);
  return { dataset, train, reasoned: train.filter((t) => t.example.reasoned), test: await of('test', testSize, trainSize) };
}

/** Draws `count` examples and lets the frozen vision tower encode their images. */
export async function encodeExamples<E extends ClevrPolicyExample>(model: VisionLanguageModel, count: number, example: (index: number) => E, onProgress?: (done: number) => void): Promise<RunItem<E>[]> {
  const preprocessor = defaultPreprocessorConfig(model.config);
  const items: RunItem<E>[] = [];
  for (let i = 0; i < count; i += 32) {
    const examples = Array.from({ length: Math.min(32, count - i) }, (_, k) => example(i + k));
    const images = await model.encodeImages(examples.map(({ images: [image] }) => patchify(image!.rgb, image!.width, image!.height, preprocessor)));
    examples.forEach((e, k) => items.push({ example: e, image: images[k]! }));
    onProgress?.(items.length);
    await new Promise((r) => setTimeout(r));
  }
  return items;
}

/** Writes prompts and rows in the tiny base's words. */
export class PromptWriter {
  readonly #model: VisionLanguageModel;
  readonly #codec: WordCodec;

  constructor(model: VisionLanguageModel, codec: WordCodec) {
    this.#model = model;
    this.#codec = codec;
  }

  /** Image and query, with the policy before them when it is wanted. */
  prompt({ example, image }: RunItem, policyInPrompt: boolean): TokenSequence {
    return this.#prompt(example, image, policyInPrompt).sequence();
  }

  /** An image and a question, behind any policy text. */
  ask(image: BatchImage, query: string, policyText?: string): TokenSequence {
    const row = new RowBuilder(this.#model.config, this.#codec);
    if (policyText !== undefined) row.text(policyText);
    return row.image(image).text(query).sequence();
  }

  /** Token ids of words. */
  ids(text: string): number[] {
    return this.#codec.encode(text);
  }

  /** Policy, image, query, reasoning and answer, every token a target: the ablation of eq. 2's mask. */
  cptRow({ example, image }: RunItem): SupervisedRow {
    const row = this.#prompt(example, image, true).text(example.response, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.ids.map(() => 1) };
  }

  /** Eq. 2: policy, image, query, reasoning and answer; every token but the visual ones is a target. */
  vmCptRow({ example, image }: RunItem): SupervisedRow {
    const row = this.#prompt(example, image, true).text(example.response, 1).end(1);
    const { visionStartTokenId, visionEndTokenId, imageTokenId } = this.#model.config;
    const visual = new Set([visionStartTokenId, visionEndTokenId, imageTokenId]);
    return { sequence: row.sequence(), lossMask: row.ids.map((id) => (visual.has(id) ? 0 : 1)) };
  }

  /** Eq. 6: no policy; reasoning and answer are the targets. */
  sftRow({ example, image }: RunItem): SupervisedRow {
    const row = this.#prompt(example, image, false).text(example.response, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.weights };
  }

  /** Direct SFT: no policy and no reasoning; the answer is the target. */
  directRow({ example, image }: RunItem): SupervisedRow {
    const row = this.#prompt(example, image, false).text(`\\boxed{ ${example.answer} }`, 1).end(1);
    return { sequence: row.sequence(), lossMask: row.weights };
  }

  /** Everything a run needs of these examples. */
  task({ train, reasoned, test }: RunData): Task {
    const items = (of: readonly RunItem[]) => of.map((item): TaskItem => ({
      id: item.example.id,
      prompt: (policyInPrompt) => this.prompt(item, policyInPrompt),
      row: (kind) => ({ 'vm-cpt': this.vmCptRow, cpt: this.cptRow, 'cot-sft': this.sftRow, 'direct-sft': this.directRow })[kind].call(this, item),
      score: (completion) => scoreItem(item, completion),
    }));
    return {
      train: items(train), reasoned: items(reasoned), test: items(test),
      stopIds: [this.#model.config.eosTokenId!],
      text: (tokens) => this.text(tokens),
      branchingError: (completions) => branchingError(completions, test.map((item) => item.example.response)).averageAbsoluteDifference,
    };
  }

  text(tokens: ArrayLike<number>): string {
    return this.#codec.decode(tokens);
  }

  #prompt(example: ClevrPolicyExample, image: BatchImage, policyInPrompt: boolean): RowBuilder {
    const row = new RowBuilder(this.#model.config, this.#codec);
    if (policyInPrompt) row.text(example.policyText);
    return row.image(image).text(example.query);
  }
}

/** Accuracy and format of a completion, as the rewards of RL and the measure of evaluation. */
export function scoreItem(item: RunItem, completion: string): { readonly accuracy: number; readonly format: number } {
  return scoreClevrPolicy(completion, item.example.answer);
}
