/** @file `embed_tokens.onnx` and `decoder_model_merged.onnx` at work: one sequence with its cache of keys and values. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { cellsOf, type TokenSequence } from '../vl/batch.ts';
import { floatsOf, type OnnxModelBytes, type OnnxSessionOptions, openSession, type OrtModule, type OrtSession, type OrtTensor, runSession, toTensor } from './runtime.ts';

/** What a sequence leaves behind for its next token. */
export interface OnnxCache {
  readonly length: number;
  readonly tensors: Readonly<Record<string, OrtTensor>>;
}

export interface OnnxDecoderOptions extends OnnxSessionOptions {
  /** That of the export. Default as there: the smaller of the config's positions and 8192. */
  readonly maxPositions?: number;
}

export class OnnxDecoder {
  readonly config: ModelConfig;
  readonly #maxPositions: number;
  readonly #ort: OrtModule;
  readonly #embed: OrtSession;
  readonly #decoder: OrtSession;

  private constructor(ort: OrtModule, embed: OrtSession, decoder: OrtSession, config: ModelConfig, maxPositions: number) {
    this.#ort = ort;
    this.#embed = embed;
    this.#decoder = decoder;
    this.config = config;
    this.#maxPositions = maxPositions;
  }

  /** @throws ModelError `io` when ONNX Runtime cannot open a file. */
  static async create(ort: OrtModule, files: { readonly embedTokens: OnnxModelBytes; readonly decoder: OnnxModelBytes }, config: ModelConfig, options: OnnxDecoderOptions = {}): Promise<OnnxDecoder> {
    const presents = Array.from({ length: config.numHiddenLayers }, (_, i) => [`present.${i}.key`, `present.${i}.value`]).flat();
    // Rows of a table go to the host, where features join them: no work for a device, and one without float16 cannot do it.
    const host = options.device === undefined || options.executionProviders !== undefined ? options : {};
    const embed = await openSession(ort, files.embedTokens, host, () => false, ['inputs_embeds']);
    const decoder = await openSession(ort, files.decoder, options, (name) => name !== 'logits', ['logits', ...presents]);
    return new OnnxDecoder(ort, embed, decoder, config, options.maxPositions ?? Math.min(config.maxPositionEmbeddings, 8192));
  }

  /** [n, hidden] of tokens. */
  async embed(ids: ArrayLike<number>): Promise<Float32Array> {
    const out = await runSession(this.#embed, { input_ids: toTensor(this.#ort, { data: int64(ids), dims: [1, ids.length] }) });
    return floatsOf(out['inputs_embeds']!);
  }

  /**
   * Reads a prompt. Logits [n, vocab] of its last `logitsToKeep` tokens (0: all), and the cache.
   * @throws ModelError `invalid-input` for images that are not encoded or do not fit the image tokens.
   */
  async prefill(prompt: TokenSequence, logitsToKeep = 1): Promise<{ readonly logits: Float32Array; readonly cache: OnnxCache }> {
    const { inputIds, positionIds } = prompt;
    const n = inputIds.length;
    const { hiddenSize: width, imageTokenId, videoTokenId } = this.config;
    const depth = this.config.vision.deepstackVisualIndexes.length;
    const embeds = Float32Array.from(await this.embed(inputIds));
    const deep = new Float32Array(depth * n * width);
    const places = Array.from({ length: n }, (_, i) => i).filter((i) => inputIds[i] === imageTokenId || inputIds[i] === videoTokenId);
    let at = 0;
    for (const image of prompt.images) {
      const cells = cellsOf(this.config, image.gridThw);
      if (!('features' in image) || !(image.features instanceof Float32Array) || image.features.length !== cells * width * (1 + depth)) throw new ModelError('invalid-input', { argument: 'prompt.images', value: !('features' in image) ? 'pixelValues' : image.features instanceof Float32Array ? image.features.length : 'storage', message: `should hold features of ${cells} cells`, remedy: 'Encode the images first: encodeImages.' });
      for (let c = 0; c < cells; c++) {
        const place = places[at++] ?? -1;
        if (place < 0) break;
        for (let level = 0; level <= depth; level++) (level === 0 ? embeds : deep).set(image.features.subarray((level * cells + c) * width, (level * cells + c + 1) * width), (Math.max(0, level - 1) * n + place) * width);
      }
    }
    const wanted = prompt.images.reduce((sum, { gridThw }) => sum + cellsOf(this.config, gridThw), 0);
    if (n === 0 || positionIds.length !== 3 * n || wanted !== places.length) throw new ModelError('invalid-input', { argument: 'prompt', value: places.length, message: `has that many image tokens for ${wanted} cells, or no positions [3, ${n}]`, remedy: 'Encode prompt and images with one processor.' });
    const { numKeyValueHeads, headDim } = this.config;
    const empty = Object.fromEntries(this.#decoder.inputNames.filter((name) => name.startsWith('past_key_values.')).map((name) => [name, toTensor(this.#ort, { data: new Float32Array(0), dims: [1, numKeyValueHeads, 0, headDim] })]));
    return this.#run(embeds, positionIds, deep, { length: 0, tensors: empty }, logitsToKeep);
  }

  /** Reads one more token at a position (all axes alike). Logits [vocab]; the cache given is used up. */
  async step(token: number, position: number, cache: OnnxCache): Promise<{ readonly logits: Float32Array; readonly cache: OnnxCache }> {
    const deep = new Float32Array(this.config.vision.deepstackVisualIndexes.length * this.config.hiddenSize);
    return this.#run(await this.embed([token]), [position, position, position], deep, cache, 1);
  }

  async #run(embeds: Float32Array, positions: ArrayLike<number>, deep: Float32Array, past: OnnxCache, keep: number): Promise<{ logits: Float32Array; cache: OnnxCache }> {
    const width = this.config.hiddenSize;
    const n = embeds.length / width;
    // A GPU reads the last row of the rotary table for positions beyond it, and says nothing.
    const wrong = Array.from(positions).find((p) => !(p >= 0 && p < this.#maxPositions));
    if (wrong !== undefined) throw new ModelError('invalid-input', { argument: 'positions', value: wrong, message: `must be below the ${this.#maxPositions} positions of the export`, remedy: 'Export with a larger maxPositions, and give it here too.' });
    const tensor = (data: Float32Array | BigInt64Array, dims: readonly number[]) => toTensor(this.#ort, { data, dims });
    const length = past.length + n;
    const depth = this.config.vision.deepstackVisualIndexes.length;
    const out = await runSession(this.#decoder, {
      inputs_embeds: tensor(embeds, [1, n, width]),
      attention_mask: tensor(new BigInt64Array(length).fill(1n), [1, length]),
      position_ids: tensor(int64(positions), [3, 1, n]),
      num_logits_to_keep: tensor(BigInt64Array.of(BigInt(keep)), []),
      ...(depth === 0 ? {} : { deepstack_embeds: tensor(deep, [depth, 1, n, width]) }),
      ...past.tensors,
    });
    this.release(past);
    const tensors = Object.fromEntries(Object.entries(out).filter(([name]) => name !== 'logits').map(([name, value]) => [name.replace('present.', 'past_key_values.'), value]));
    return { logits: await floatsOf(out['logits']!), cache: { length, tensors } };
  }

  /** Frees a cache that no step will take. */
  release(cache: OnnxCache): void {
    for (const tensor of Object.values(cache.tensors)) tensor.dispose();
  }

  async dispose(): Promise<void> {
    await this.#embed.release();
    await this.#decoder.release();
  }
}

function int64(values: ArrayLike<number>): BigInt64Array {
  return BigInt64Array.from(values, BigInt);
}
