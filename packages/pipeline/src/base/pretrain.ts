/**
 * @file The tiny base from nothing, as one run that can be stopped and gone on with: the vision tower learns to see, the
 * decoder to bind and to look up, the merger is turned towards the words, and the mix teaches the rest
 * (docs/results/tiny-base.md). The checkpoint holds everything, so a resumed run ends with the same bits.
 */
import { bytesSource, floatTensor, fromFloat32, memoryFiles, openCheckpoint, publishedKey, SafetensorsFile, serializeSafetensors, type TensorData, VisionLanguageModel, WEIGHTS_FILE } from '@trimpi/model';
import type { Engine, ParameterStore } from '@trimpi/runtime';
import { PipelineError } from '../errors.ts';
import { checkedStorage, type RunStorage } from '../storage.ts';
import { alignMerger } from './align.ts';
import type { TextBatchSource } from './batches.ts';
import { encodePool } from './layout.ts';
import { measureRecipe } from './measure.ts';
import { type PretrainRecipe, recipeSizes, recipeWords, textBatchMaker, TINY_BASE_RECIPE } from './recipes.ts';
import { type KnownImages, knownImages } from './rows.ts';
import { CropPool, drawScenes, type SceneDrawer, ScenePool } from './scenes.ts';
import { type ImageFeatures, TextPretrainer, type TextState } from './text.ts';
import { makeTiny } from './tiny.ts';
import { VisionPretrainer, type VisionScore } from './vision.ts';
import { WordCodec } from './words.ts';

export type PretrainEvent =
  | { readonly kind: 'drawn'; readonly scenes: number; readonly of: number }
  | { readonly kind: 'step'; readonly stage: 'vision' | 'repeat' | 'drill' | 'mix'; readonly step: number; /** Share of the stage's budget that is used. */ readonly done: number; readonly losses: Readonly<Record<string, number>> }
  | { readonly kind: 'vision'; readonly score: VisionScore }
  /** Share of the variance of the word sums that the turned merger explains. */
  | { readonly kind: 'aligned'; readonly explained: number }
  | { readonly kind: 'measured'; readonly scores: Readonly<Record<string, number>> };

/** What a processor does for pre-training; `pretrainProcesses` of `@trimpi/pipeline/node` uses every core. */
export interface PretrainWorkers {
  readonly draw: SceneDrawer;
  batches(recipe: PretrainRecipe, known: KnownImages): TextBatchSource;
}

const IN_THIS_THREAD: PretrainWorkers = {
  draw: drawScenes,
  batches(recipe, known) {
    const maker = textBatchMaker(recipe, known);
    return async (phase, index) => maker.batch(phase, index);
  },
};

export interface PretrainOptions {
  readonly engine: Engine;
  readonly storage: RunStorage;
  readonly recipe?: PretrainRecipe;
  /** Where scenes are drawn and batches of text made. Default: in this thread. */
  readonly workers?: PretrainWorkers;
  /** Stops after the step that runs, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Steps between checkpoints. Default 100. */
  readonly checkpointEvery?: number;
  /** Bytes that plans of batches' shapes may hold (`ModelOptions`). Batches come in some dozen shapes, and a plan of the small base takes most of a gigabyte. */
  readonly planBytes?: number;
  readonly onEvent?: (event: PretrainEvent) => void;
}

/** What the finished base reaches, and where its files are (`model.safetensors`, `config.json`, tokenizer, in the storage). */
export interface PretrainResult {
  readonly vision: VisionScore;
  /** Existence questions and policies in context, see `measureBase`; by the weights as they are written. */
  readonly scores: Readonly<Record<string, number>>;
}

const CHECKPOINT = 'pretrain.safetensors';
const RESULT = 'pretrain.json';

/** What a checkpoint says besides its tensors. */
interface Header {
  readonly format: 1;
  readonly recipe: PretrainRecipe;
  readonly stage: 'vision' | 'text';
  readonly visionStep: number;
  readonly vision?: VisionScore;
  readonly text?: TextState;
  readonly aligned: boolean;
}

/**
 * Trains the base, going on from the checkpoint of the storage when there is one. Undefined when it was stopped.
 * @throws PipelineError `invalid-checkpoint` for one of another recipe, `storage`; RuntimeError of the device.
 */
export async function pretrain({ engine, storage: given, recipe = TINY_BASE_RECIPE, workers = IN_THIS_THREAD, signal, checkpointEvery = 100, planBytes, onEvent }: PretrainOptions): Promise<PretrainResult | undefined> {
  const storage = checkedStorage(given);
  const stopped = () => signal?.aborted === true;
  const finished = await readResult(storage, recipe);
  if (finished !== undefined) return finished;
  const words = recipeWords(recipe);
  const tiny = makeTiny(recipeSizes(recipe), words);
  const model = new VisionLanguageModel(engine, tiny.config, planBytes === undefined ? {} : { planBytes });
  try {
    const d = tiny.config.hiddenSize;
    // Embeddings wide, projections at unit gain, and those into the residual stream small: from the default, binding is not learnt.
    model.initialise(recipe.seed, (name, shape) =>
      name.startsWith('model.visual.') ? 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)) : name.includes('embed_tokens') ? 0.3 : /(o_proj|down_proj)/.test(name) ? 0.02 : 1 / Math.sqrt(shape[1] ?? d),
    );
    const saved = await readCheckpoint(storage, recipe);
    let header: Header = saved?.header ?? { format: 1, recipe, stage: 'vision', visionStep: 0, aligned: false };
    const save = async (stores: readonly ParameterStore[]) => storage.write(CHECKPOINT, await packCheckpoint(header, model, stores));
    const draw = async (first: number, count: number) => {
      const drawn = await workers.draw({ seed: recipe.seed, first, count }, (n) => (n % 500 === 0 || n === count) && onEvent?.({ kind: 'drawn', scenes: n, of: count }), signal);
      return new ScenePool(tiny.config, drawn);
    };
    const held = await draw(1_000_000, recipe.measure.scenes);
    // One drawing is enough for both stages: each takes the scenes from the first on.
    const pool = await draw(0, Math.max(header.stage === 'vision' ? recipe.vision.scenes : 0, recipe.text.scenes));
    if (stopped()) return undefined;
    const { cropPool = 0 } = recipe.vision;
    const crops = cropPool > 0 ? new CropPool(recipe.seed, cropPool) : undefined;
    for (const store of [model.text, model.vision]) restore(saved?.tensors, store, 'values');

    if (header.stage === 'vision') {
      const trainer = new VisionPretrainer(model, pool.first(recipe.vision.scenes), { ...recipe.vision, seed: recipe.seed }, crops);
      try {
        trainer.step = header.visionStep;
        for (const store of trainer.stores) for (const part of ['values', 'm', 'v'] as const) restore(saved?.tensors, store, part);
        while (!trainer.finished) {
          const losses = await trainer.next();
          onEvent?.({ kind: 'step', stage: 'vision', step: trainer.step, done: trainer.step / recipe.vision.steps, losses });
          header = { ...header, visionStep: trainer.step };
          if (stopped() || trainer.step % checkpointEvery === 0) await save(trainer.stores);
          if (stopped()) return undefined;
        }
        const score = await trainer.measure(held);
        onEvent?.({ kind: 'vision', score });
        header = { ...header, stage: 'text', vision: score };
      } finally {
        trainer.dispose();
      }
      await save([]);
    }

    const textPool = pool.first(recipe.text.scenes);
    const known = knownImages(textPool, crops);
    const featuresOf = async (): Promise<ImageFeatures> => ({ scenes: await encodePool(model, textPool, 64, signal), crops: crops === undefined ? [] : await encodePool(model, crops, 64, signal) });
    const features = await featuresOf();
    if (stopped()) return undefined;
    const trainer = new TextPretrainer(model, workers.batches(recipe, known), features, { ...recipe.text, seed: recipe.seed });
    for (const part of ['m', 'v'] as const) restore(header.text === undefined ? undefined : saved?.tensors, model.text, part);
    if (header.text !== undefined) trainer.state = header.text;
    const codec = new WordCodec(tiny.tokenizer);
    for (let phase = trainer.phase; phase !== 'done'; phase = trainer.phase) {
      if (phase === 'mix' && !header.aligned) {
        onEvent?.({ kind: 'aligned', explained: await alignMerger(model, codec, known.scenes.slice(0, 1500), trainer.features.scenes) });
        trainer.features = await featuresOf();
        // The checkpoint before this is of a merger not yet turned: it is turned again then.
        if (stopped()) return undefined;
        header = { ...header, aligned: true };
      }
      const { phase: stage, ...info } = await trainer.next();
      header = { ...header, text: trainer.state };
      onEvent?.({ kind: 'step', stage, ...info });
      if (stopped() || info.step % checkpointEvery === 0) await save([model.text]);
      if (stopped()) return undefined;
    }
    await save([model.text]);
    model.setTrainable();

    // What is measured is what is written: half the bits.
    const weights = await packBase(model);
    await model.load(await openCheckpoint(memoryFiles({ [WEIGHTS_FILE]: weights })));
    const scores = await measureRecipe(model, codec, recipe, held, signal);
    if (scores === undefined) return undefined;
    onEvent?.({ kind: 'measured', scores });
    const result: PretrainResult = { vision: header.vision!, scores };
    for (const [name, content] of Object.entries(tiny.files)) await storage.write(name, `${content}\n`);
    await storage.write(WEIGHTS_FILE, weights);
    await storage.write(RESULT, `${JSON.stringify({ recipe, ...result }, null, 2)}\n`);
    return result;
  } finally {
    model.dispose();
  }
}

/** The base as it is shipped: float16 in the published key layout. */
export async function packBase(model: VisionLanguageModel): Promise<Uint8Array> {
  const tensors = new Map<string, TensorData>();
  for (const [name, { shape, data }] of await model.tensors()) {
    tensors.set(publishedKey(name, model.config.modelType), { dtype: 'F16', shape, data: fromFloat32(new Float32Array(data.slice().buffer), 'F16') });
  }
  return serializeSafetensors(tensors);
}

async function packCheckpoint(header: Header, model: VisionLanguageModel, training: readonly ParameterStore[]): Promise<Uint8Array> {
  const tensors = new Map<string, TensorData>();
  const add = async (store: ParameterStore, part: 'values' | 'm' | 'v') => {
    const values = Float32Array.from(await store.storage(part).read());
    tensors.set(`${store.values.name}/${part}`, floatTensor(values, [values.length]));
  };
  for (const store of new Set([model.text, model.vision, ...training])) await add(store, 'values');
  for (const store of training) for (const part of ['m', 'v'] as const) await add(store, part);
  return serializeSafetensors(tensors, { format: 'pt', state: JSON.stringify(header) });
}

async function readCheckpoint(storage: RunStorage, recipe: PretrainRecipe): Promise<{ header: Header; tensors: Map<string, Float32Array> } | undefined> {
  const bytes = await storage.read(CHECKPOINT);
  if (bytes === null) return undefined;
  const file = `${storage.name}/${CHECKPOINT}`;
  try {
    const safetensors = await SafetensorsFile.open(bytesSource(bytes, file));
    const header = JSON.parse(safetensors.metadata['state'] ?? 'null') as Header | null;
    if (header?.format !== 1) throw new Error('it is none of a pretraining');
    if (JSON.stringify(header.recipe) !== JSON.stringify(recipe)) throw new Error('it was made with another recipe');
    const tensors = new Map<string, Float32Array>();
    for (const name of safetensors.tensors.keys()) tensors.set(name, await safetensors.readFloat32(name));
    return { header, tensors };
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', file, `cannot be gone on with (${cause instanceof Error ? cause.message : String(cause)}).`, 'Use the recipe it was made with, or another folder.', { cause });
  }
}

/** What a pre-training that was done said. */
async function readResult(storage: RunStorage, recipe: PretrainRecipe): Promise<PretrainResult | undefined> {
  const bytes = await storage.read(RESULT);
  if (bytes === null) return undefined;
  const file = `${storage.name}/${RESULT}`;
  const refuse = (what: string, cause?: unknown): never => {
    throw new PipelineError('invalid-checkpoint', file, what, 'Give another folder, or delete the file to train again.', { cause });
  };
  let saved: PretrainResult & { readonly recipe: PretrainRecipe };
  try {
    saved = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    return refuse('cannot be read.', cause);
  }
  const { recipe: own, ...result } = saved;
  return JSON.stringify(own) === JSON.stringify(recipe) ? result : refuse('is of a base made with another recipe.');
}

/** Puts back one part of a store; without a checkpoint it stays as it is. */
function restore(tensors: ReadonlyMap<string, Float32Array> | undefined, store: ParameterStore, part: 'values' | 'm' | 'v'): void {
  const values = tensors?.get(`${store.values.name}/${part}`);
  if (values !== undefined) store.storage(part).write(values);
}
