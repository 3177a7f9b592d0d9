/**
 * @file Examples as chats in a checkpoint's own form. Sizes and tokens are known without the model; features of images are
 * made once by the frozen vision tower, or their patches kept where the tower is trained.
 */
import { type Example, exampleParts, type Part, type RgbImage } from '@trimpi/datasets';
import { type BatchImage, type ChatMessage, type EncodedChat, type GridThw, preprocessImage, type Processor, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { Task, TaskItem, TaskScore } from '../task.ts';
import { isPretraining, type SupervisedKind } from '../train/supervised.ts';

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

interface Chat extends EncodedChat {
  readonly images: readonly RgbImage[];
}

/** Patches encoded at once. */
const PATCHES = 4096;

export class ChatTask {
  readonly #o: ChatTaskOptions;
  readonly #train: readonly ChatExample[];
  readonly #test: readonly ChatExample[];

  constructor(options: ChatTaskOptions) {
    // Getters are read once here: pictures are known by their identity, and decoded when they are first asked for.
    const of = (split: Example['split'], most = Infinity): ChatExample[] => options.examples.filter(({ example }) => example.split === split).slice(0, most).map((e) => ({ example: { ...e.example }, score: (completion) => e.score(completion) }));
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

  /** The longest prompt and the longest training row, in tokens, with the policy; and the largest image in patches. */
  sizes(): { readonly prompt: number; readonly row: number; readonly image: readonly [rows: number, columns: number] | undefined } {
    let [prompt, row] = [0, 0];
    let image: readonly [number, number] | undefined;
    for (const { example } of [...this.#train, ...this.#test]) {
      const own = this.#chat(example, true, undefined);
      prompt = Math.max(prompt, own.inputIds.length);
      row = Math.max(row, this.#chat(example, true, example.response).inputIds.length);
      for (const picture of own.images) {
        const [, rows, columns] = this.#o.processor.gridOf(picture);
        if (image === undefined || rows * columns > image[0] * image[1]) image = [rows, columns];
      }
    }
    return { prompt, row, image };
  }

  /** @param trainsVision whether what is trained changes features: every batch then runs the tower. */
  async make(model: VisionLanguageModel, trainsVision: boolean, onProgress: (done: number, of: number) => void): Promise<Task> {
    const pictures = [...new Set([...this.#train, ...this.#test].flatMap(({ example }) => picturesOf(exampleParts(example, { policy: true, response: false }))))];
    const batchImages = new Map<RgbImage, BatchImage>();
    let waiting: { readonly picture: RgbImage; readonly gridThw: GridThw; readonly pixelValues: Float32Array }[] = [];
    const flush = async () => {
      const images: readonly BatchImage[] = trainsVision ? waiting.map(({ gridThw, pixelValues }) => ({ gridThw, pixelValues })) : await model.encodeImages(waiting);
      waiting.forEach(({ picture }, i) => batchImages.set(picture, images[i]!));
      waiting = [];
      onProgress(batchImages.size, pictures.length);
    };
    for (const picture of pictures) {
      waiting.push({ picture, ...preprocessImage({ width: picture.width, height: picture.height, data: picture.rgb }, this.#o.processor.preprocessor) });
      if (waiting.reduce((n, { gridThw: [t, h, w] }) => n + t * h * w, 0) >= PATCHES) await flush();
    }
    if (waiting.length > 0) await flush();

    const sequence = ({ inputIds, positionIds, images }: Chat): TokenSequence => ({ inputIds, positionIds, images: images.map((picture) => batchImages.get(picture)!) });
    const item = ({ example, score }: ChatExample): TaskItem => ({
      id: example.id,
      prompt: (policyInPrompt) => sequence(this.#chat(example, policyInPrompt, undefined)),
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

function picturesOf(parts: readonly Part[]): RgbImage[] {
  return parts.flatMap((part) => (part.type === 'image' ? [part.image] : []));
}

function responseOf(example: Example, kind: SupervisedKind): string {
  return kind === 'direct-sft' ? `\\boxed{${example.answer}}` : example.response;
}
