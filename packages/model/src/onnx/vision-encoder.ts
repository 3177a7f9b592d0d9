/** @file A frozen vision encoder in ONNX in the place of our tower. */
import type { Storage, StorageRange } from '@trimpi/runtime';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { type BatchImage, cellsOf, featureLength, packFeatures, type PixelImage, storedImages, type StoredFeatures } from '../vl/batch.ts';
import { floatsOf, type OnnxModelBytes, type OnnxSessionOptions, openSession, type OrtModule, type OrtSession, type OrtTensor, runSession, toTensor } from './runtime.ts';
import { onnxVisionInputs } from './vision-inputs.ts';

/** Features on the device: [cells, text width] of all images, in raster order of cells. */
export interface DeviceFeatures {
  readonly buffer: GPUBuffer;
  readonly cells: number;
  /** Gives the buffer back to ONNX Runtime. */
  dispose(): void;
}

export interface OnnxVisionEncoderOptions extends OnnxSessionOptions {
  /** That of the export. Default 512, as there. */
  readonly maxPatchRows?: number;
}

const OUTPUTS = ['image_features', 'deepstack_features'] as const;

/** `vision_encoder.onnx` behind the interface of `VisionLanguageModel.encodeImages`. */
export class OnnxVisionEncoder {
  readonly config: ModelConfig;
  readonly #ort: OrtModule;
  readonly #session: OrtSession;
  readonly #device: GPUDevice | undefined;
  readonly #maxPatchRows: number;

  private constructor(ort: OrtModule, session: OrtSession, config: ModelConfig, { device, maxPatchRows = 512 }: OnnxVisionEncoderOptions) {
    this.#ort = ort;
    this.#session = session;
    this.config = config;
    this.#device = device;
    this.#maxPatchRows = maxPatchRows;
  }

  /** @throws ModelError `io` when ONNX Runtime cannot open the file. */
  static async create(ort: OrtModule, file: OnnxModelBytes, config: ModelConfig, options: OnnxVisionEncoderOptions = {}): Promise<OnnxVisionEncoder> {
    const outputs = config.vision.deepstackVisualIndexes.length > 0 ? OUTPUTS : OUTPUTS.slice(0, 1);
    return new OnnxVisionEncoder(ort, await openSession(ort, file, options, () => true, outputs), config, options);
  }

  /** For each image its features [cells, text width], those of DeepStack behind them: images of a batch, as our tower encodes them. */
  async encodeImages(images: readonly PixelImage[]): Promise<(BatchImage & { readonly features: Float32Array })[]> {
    if (images.length === 0) return [];
    const outputs = await this.#run(images);
    const levels: Float32Array[] = [];
    for (const name of OUTPUTS) {
      const output = outputs[name];
      if (output === undefined) continue;
      levels.push((await floatsOf(output)).slice());
      output.dispose();
    }
    const width = this.config.vision.outHiddenSize;
    const cells = levels[0]!.length / width;
    let at = 0;
    return images.map(({ gridThw }) => {
      const n = cellsOf(this.config, gridThw) * width;
      const parts = [levels[0]!.subarray(at, at + n), ...this.config.vision.deepstackVisualIndexes.map((_, k) => levels[1]!.subarray(k * cells * width + at, k * cells * width + at + n))];
      at += n;
      const features = new Float32Array(n * parts.length);
      parts.forEach((part, k) => features.set(part, k * n));
      return { gridThw, features };
    });
  }

  /** Features that never leave the device given to `create`. @throws ModelError `unsupported` without one, or with DeepStack. */
  async encodeOnDevice(images: readonly PixelImage[]): Promise<DeviceFeatures> {
    if (this.#device === undefined) throw new ModelError('unsupported', { argument: 'device', value: undefined, message: 'was not given, so features are on the host', remedy: 'Create the encoder with a device, or use encodeImages.' });
    if (this.config.vision.deepstackVisualIndexes.length > 0) throw new ModelError('unsupported', { argument: 'config', value: this.config.modelType, message: 'has features of several levels', remedy: 'Use encodeImages.' });
    const output = (await this.#run(images))['image_features']!;
    return { buffer: output.gpuBuffer as GPUBuffer, cells: output.dims[0]!, dispose: () => output.dispose() };
  }

  /**
   * Encodes into storage of an engine on the same device (`featureLength` elements from `offset` on): the copy runs on the
   * device, before whatever is submitted next. The images returned are those of a batch or a prompt, as long as the storage is there.
   * @throws ModelError `unsupported` for storage of another kind of engine, or without a device; `invalid-input` when the features do not fit.
   */
  async encodeInto(storage: Storage, images: readonly PixelImage[], offset = 0): Promise<(BatchImage & { readonly features: StoredFeatures })[]> {
    const target = (storage as Storage & { readonly buffer?: GPUBuffer }).buffer;
    if (target === undefined || this.#device === undefined) throw new ModelError('unsupported', { argument: 'storage', value: storage.name, message: 'is not on the device of this encoder', remedy: 'Create the encoder with the device of the engine, or use encodeImages.' });
    const grids = images.map((i) => i.gridThw);
    const length = featureLength(this.config, grids);
    if (!(Number.isInteger(offset) && offset >= 0) || offset + length > storage.length) throw new ModelError('invalid-input', { argument: 'storage', value: storage.length, message: `has no room for ${length} elements at ${offset}`, remedy: 'Create storage of featureLength elements.' });
    const stored = storedImages(this.config, grids, storage, offset);
    if (images.length === 0) return stored;
    const outputs = await this.#run(images);
    const encoder = this.#device.createCommandEncoder();
    // [cells, width] of the embedding, [levels, cells, width] of DeepStack.
    const copy = (name: (typeof OUTPUTS)[number], level: number, ranges: readonly StorageRange[]): void => {
      let from = level * ranges.reduce((n, r) => n + r.length, 0);
      for (const range of ranges) {
        encoder.copyBufferToBuffer(outputs[name]!.gpuBuffer as GPUBuffer, from * 4, target, range.offset * 4, range.length * 4);
        from += range.length;
      }
    };
    (packFeatures(this.config, stored) as StorageRange[][]).forEach((ranges, k) => copy(k === 0 ? 'image_features' : 'deepstack_features', Math.max(0, k - 1), ranges));
    this.#device.queue.submit([encoder.finish()]);
    for (const name of OUTPUTS) outputs[name]?.dispose();
    return stored;
  }

  async #run(images: readonly PixelImage[]): Promise<Readonly<Record<string, OrtTensor>>> {
    const large = images.find(({ gridThw: [, h, w] }) => Math.max(h, w) > this.#maxPatchRows);
    if (large !== undefined) throw new ModelError('invalid-input', { argument: 'images', value: [...large.gridThw], message: `has more than the ${this.#maxPatchRows} rows or columns of patches of the export`, remedy: 'Export with a larger maxPatchRows, and give it here too.' });
    const arrays = onnxVisionInputs(this.config, images);
    return runSession(this.#session, Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, toTensor(this.#ort, array)])));
  }

  async dispose(): Promise<void> {
    await this.#session.release();
  }
}
