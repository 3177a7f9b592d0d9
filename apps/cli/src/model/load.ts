/** @file A checkpoint folder, opened and on the GPU. */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { type Adapter, type DeviceLimits, estimate, openCheckpoint, Processor, type RawImage, readAdapter, requireFit, stopTokenIds, VisionLanguageModel } from '@trimpi/model';
import { decodeImage, folderFiles } from '@trimpi/model/node';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { UsageError } from '../errors.ts';

export interface OpenedModel {
  readonly model: VisionLanguageModel;
  readonly processor: Processor;
  /** Names of the adapters on `model`. */
  readonly adapters: readonly string[];
  /** Tokens that end an answer. */
  readonly stopIds: readonly number[];
  /** Positions that a prompt and its answer can have. */
  readonly positions: number;
  dispose(): void;
}

/** What room is planned for beside the weights. */
export interface SamplingSizes {
  /** Completions at once. */
  readonly rows: number;
  /** Tokens of their prompts and themselves. */
  readonly tokens: number;
  /** Tokens of prompts that are read together. */
  readonly readTokens: number;
  /** Positions that a prompt and its answer can have. Default: the checkpoint's, or 8192 where it has more. */
  readonly positions?: number | undefined;
}

/** What is planned, or how it follows from prompts in the model's form. */
export type Sampling = SamplingSizes | ((processor: Processor) => SamplingSizes | Promise<SamplingSizes>);

/** The rotary table is as long as this: a checkpoint may have hundreds of thousands of positions, and few prompts need them. */
export const DEFAULT_POSITIONS = 8192;

/** Room for one answer to a prompt of ordinary length. */
export const ONE_ANSWER: SamplingSizes = { rows: 1, tokens: 768, readTokens: 512 };

/** Bits of the weights on the device; full precision when not given. */
export type Bits = 4 | 8 | 16;

export interface LoadedModel extends OpenedModel {
  /** The adapter's name in `model`, when there is one. */
  readonly adapter: string | undefined;
}

export function requireFolder(option: string, dir: string): void {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) throw new UsageError(`${option} ${dir} is not a folder. Give the folder that holds ${option === '--adapter' ? 'adapter_config.json' : 'config.json and the weights'}.`);
}

/** A model with one adapter or none. */
export async function loadModel(dir: string, adapterDir: string | undefined, bits?: Bits, sampling?: Sampling): Promise<LoadedModel> {
  const opened = await openModel(dir, adapterDir === undefined ? {} : { adapter: adapterDir }, bits, sampling);
  return { ...opened, adapter: opened.adapters[0] };
}

/**
 * Says what does not fit before anything is loaded.
 * @param adapters folders by the name that the adapter gets.
 * @throws UsageError, ModelError, RuntimeError; what was opened is closed then.
 */
export async function openModel(dir: string, adapters: Readonly<Record<string, string>>, bits?: Bits, sampling: Sampling = ONE_ANSWER): Promise<OpenedModel> {
  requireFolder('--model', dir);
  for (const folder of Object.values(adapters)) requireFolder('--adapter', folder);
  const files = folderFiles(dir);
  const processor = await Processor.load(files);
  const checkpoint = await openCheckpoint(files);
  const read: [string, Adapter][] = [];
  for (const [name, folder] of Object.entries(adapters)) read.push([name, await readAdapter(folderFiles(folder), processor.config)]);
  const stopIds = await stopTokenIds(files, processor);
  const sizes = typeof sampling === 'function' ? await sampling(processor) : sampling;
  const { rows, tokens, readTokens } = sizes;
  const most = processor.config.maxPositionEmbeddings;
  const positions = sizes.positions ?? Math.min(most, DEFAULT_POSITIONS);
  if (positions > most) throw new UsageError(`--max-positions ${positions} is more than the ${most} positions of ${dir} (max_position_embeddings in its config.json). Give ${most} or fewer.`);
  const engine = new WebGpuEngine(await openDevice());
  try {
    requireFit(await estimate(processor.config, {
      lora: false, tokens: 32, targets: 1, rollouts: { prompts: 1, perPrompt: rows, promptTokens: readTokens, maxNewTokens: Math.ceil((tokens - readTokens) / rows) },
      ...(bits === undefined ? {} : { quantisation: { bits } }),
      limits: deviceLimits(engine),
    }));
    const model = new VisionLanguageModel(engine, processor.config, { maxPositions: positions, ...(bits === undefined ? {} : { quantise: { bits } }) });
    await model.load(checkpoint);
    for (const [name, adapter] of read) model.loadAdapter(name, adapter);
    return {
      model, processor, stopIds, positions,
      adapters: read.map(([name]) => name),
      dispose: () => {
        model.dispose();
        engine.dispose();
      },
    };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

/** For the memory planner. WebGPU does not say how much memory a graphics card has; a software adapter has the machine's. */
export function deviceLimits({ device }: WebGpuEngine): DeviceLimits & { readonly memory: number } {
  const { maxBufferSize, maxStorageBufferBindingSize, software } = device.adapter;
  return { maxBufferSize, maxStorageBufferBindingSize, memory: software ? totalmem() : Infinity };
}

/** @throws UsageError naming the file, ModelError `invalid-image`. */
export async function loadImage(file: string): Promise<RawImage> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new UsageError(`--image ${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Give a PNG, JPEG or WebP file.`);
  }
  return decodeImage(bytes);
}
