/** @file Examples as chats in a checkpoint's own form. Sizes and tokens are known without the model. */
import { type Example, exampleParts, type Part, type RgbImage } from '@trimpi/datasets';
import type { ChatMessage, EncodedChat, Processor, TokenSequence } from '@trimpi/model';
import { sha256 } from '../fingerprint.ts';
import type { Task, TaskItem, TaskScore } from '../task.ts';
import { isPretraining, type SupervisedKind } from '../train/supervised.ts';
import { Pictures } from './pictures.ts';

/** An example and the rewards of its completions. */
export interface ChatExample {
  readonly example: Example;
  score(completion: string): TaskScore;
}

export interface ChatTaskOptions {
  readonly processor: Processor;
  readonly examples: readonly ChatExample[];
  /** The system message of every prompt; empty for none. */
  readonly system: string;
  readonly stopIds: readonly number[];
  /** Test questions; 0: all. */
  readonly testSize: number;
}

/** Of the longest prompt and the longest training row in tokens, both with the policy; of the largest image in patches; and the patches for each token of the prompt that has most. */
export interface ChatSizes {
  readonly prompt: number;
  readonly row: number;
  readonly image: readonly [rows: number, columns: number] | undefined;
  readonly patchesPerToken: number;
}

interface Chat extends EncodedChat {
  readonly images: readonly RgbImage[];
}

const KEPT_PROMPTS = 256;

export class ChatTask {
  readonly #o: ChatTaskOptions;
  readonly #train: readonly ChatExample[];
  readonly #test: readonly ChatExample[];
  readonly #prompts = new Map<string, EncodedChat>();

  constructor(options: ChatTaskOptions) {
    const of = (split: Example['split'], most = Infinity): ChatExample[] => options.examples.filter(({ example }) => example.split === split).slice(0, most).map((e) => ({ example: readOnce(e.example), score: (completion) => e.score(completion) }));
    this.#o = options;
    this.#train = of('train');
    this.#test = of('test', options.testSize === 0 ? Infinity : options.testSize);
  }

  get train(): readonly ChatExample[] {
    return this.#train;
  }

  get test(): readonly ChatExample[] {
    return this.#test;
  }

  async sizes(check: () => void = () => undefined): Promise<ChatSizes> {
    let [prompt, row, patchesPerToken] = [0, 0, 0];
    let image: readonly [number, number] | undefined;
    for (const [i, { example }] of [...this.#train, ...this.#test].entries()) {
      if (i % 64 === 63) await breath(check);
      const own = this.#prompt(example, true);
      prompt = Math.max(prompt, own.inputIds.length);
      // Rows with the policy are those that have reasoning.
      if (example.split === 'train' && example.reasoning !== '') row = Math.max(row, this.#chat(example, true, example.response).inputIds.length);
      for (const picture of own.images) {
        const [, rows, columns] = this.#o.processor.gridOf(picture);
        if (image === undefined || rows * columns > image[0] * image[1]) image = [rows, columns];
      }
      for (const { images, inputIds } of [own, this.#prompt(example, false)]) {
        const patches = images.reduce((n, picture) => n + this.#o.processor.gridOf(picture).reduce((x, y) => x * y), 0);
        patchesPerToken = Math.max(patchesPerToken, patches / inputIds.length);
      }
    }
    return { prompt, row, image, patchesPerToken };
  }

  /** A digest of all that is asked and trained: ids, splits, texts, answers, and the sizes of pictures (not what they show). */
  async digest(): Promise<string> {
    // A policy is told once, however many examples it has.
    const texts = new Map<string, number>();
    const told = [...this.#train, ...this.#test].map(({ example }) => [
      example.id, example.split, example.answer, example.response,
      exampleParts(example, { policy: true, response: false }).map((part) => {
        if (part.type !== 'text') return [part.image.width, part.image.height];
        const at = texts.get(part.text) ?? texts.size;
        texts.set(part.text, at);
        return at;
      }),
    ]);
    return sha256(new TextEncoder().encode(JSON.stringify([told, [...texts.keys()]])));
  }

  /** Every picture of prompts and rows, each once. */
  pictures(): RgbImage[] {
    return [...new Set([...this.#train, ...this.#test].flatMap(({ example }) => picturesOf(exampleParts(example, { policy: true, response: false }))))];
  }

  /** @param pictures those of `pictures()`, ready for the model. */
  make(pictures: Pictures): Task {
    const sequence = ({ inputIds, positionIds, images }: Chat): TokenSequence => ({ inputIds, positionIds, images: images.map((picture) => pictures.image(picture)) });
    const item = ({ example, score }: ChatExample): TaskItem => ({
      id: example.id,
      prompt: (policyInPrompt) => sequence(this.#prompt(example, policyInPrompt)),
      row: (kind) => {
        const pretraining = isPretraining(kind);
        const chat = this.#chat(example, pretraining, responseOf(example, kind), pretraining ? 'all' : ['assistant']);
        return { sequence: sequence(chat), lossMask: kind === 'cpt' ? chat.lossMask.map(() => 1) : chat.lossMask };
      },
      score,
    });
    const train = this.#train.map(item);
    const { stopIds, processor } = this.#o;
    return {
      train, test: this.#test.map(item), stopIds,
      reasoned: train.filter((_, i) => this.#train[i]!.example.reasoning !== ''),
      text: (tokens) => processor.tokenizer.decode(Array.from(tokens), { skipSpecialTokens: true }),
    };
  }

  /** Thousands of questions ask the same of the same policy, of images of one size: they are cut into tokens once. */
  #prompt(example: Example, policy: boolean): Chat {
    const parts = exampleParts(example, { policy, response: false });
    const images = picturesOf(parts);
    const key = JSON.stringify(parts.map((part) => (part.type === 'text' ? part.text : this.#o.processor.gridOf(part.image))));
    const known = this.#prompts.get(key);
    if (known !== undefined) return { ...known, images };
    const made = this.#chat(example, policy, undefined);
    if (this.#prompts.size >= KEPT_PROMPTS) this.#prompts.clear();
    this.#prompts.set(key, made);
    return made;
  }

  #chat(example: Example, policy: boolean, response: string | undefined, loss: 'all' | readonly string[] = ['assistant']): Chat {
    const { processor, system } = this.#o;
    const parts = exampleParts(example, { policy, response: false });
    const images = picturesOf(parts);
    const messages: ChatMessage[] = [
      ...(system === '' ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: parts.map((part) => (part.type === 'text' ? part : { type: 'image' as const })) },
      ...(response === undefined ? [] : [{ role: 'assistant', content: response }]),
    ];
    return { ...processor.encode({ messages, imageGridThw: images.map((image) => processor.gridOf(image)), addGenerationPrompt: response === undefined, loss }), images };
  }
}

/** The example, each property read when it is first asked for and then kept: pictures are known by their identity, and a getter may decode them. */
function readOnce(example: Example): Example {
  const kept = new Map<string | symbol, unknown>();
  return new Proxy(example, {
    get(target, name) {
      if (!kept.has(name)) kept.set(name, Reflect.get(target, name));
      return kept.get(name);
    },
  });
}

/** Lets events through, such as a request to stop. */
export async function breath(check: () => void): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  check();
}

function picturesOf(parts: readonly Part[]): RgbImage[] {
  return parts.flatMap((part) => (part.type === 'image' ? [part.image] : []));
}

function responseOf(example: Example, kind: SupervisedKind): string {
  return kind === 'direct-sft' ? `\\boxed{${example.answer}}` : example.response;
}
