/** @file Weights on their way from a checkpoint into an ONNX graph: one tensor in memory at a time, in the precision asked for. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { type Nbits4, quantiseNbits4 } from '../quant/nbits4.ts';
import { type Dtype, elementCount, fromFloat32, toFloat32 } from '../safetensors/dtype.ts';
import { type Checkpoint } from '../safetensors/checkpoint.ts';
import type { TensorData } from '../safetensors/writer.ts';
import { checkTiedHead } from '../vl/tied-head.ts';
import { lazy, type OnnxGraph, type Value } from './graph.ts';

/** Bits of a stored weight: float32, float16 (computed in float32), or 4 bits in blocks (`MatMulNBits`). */
export type OnnxBits = 32 | 16 | 4;

/** A tensor at hand, or one that is fetched when it is written (as `saveCheckpoint` takes them). */
export type SourceTensor = TensorData | { readonly dtype: Dtype; readonly shape: readonly number[]; read(): Promise<Uint8Array> | Uint8Array };

/** A checkpoint, or tensors by in-memory name (such as `await model.tensors({ merge })`). */
export type OnnxSource = Pick<Checkpoint, 'has' | 'info' | 'readBytes' | 'readFloat32'> | ReadonlyMap<string, SourceTensor>;

/** Values along the inputs that share a scale in 4 bits; that of the files transformers.js loads. */
export const BLOCK_SIZE = 32;

/** Checks shapes before anything is written, and adds the weights of one graph. */
export class OnnxWeights {
  readonly #source: OnnxSource;
  /** The matrix quantised last: its values and its scales are written one behind the other. */
  #quantised: { readonly name: string; readonly matrix: Promise<Nbits4> } | undefined;

  constructor(source: OnnxSource) {
    this.#source = source;
  }

  /** @throws ModelError `not-found`, `tensor-mismatch`. */
  check(name: string, shape: readonly number[]): void {
    if (!this.#source.has(name)) throw new ModelError('not-found', { argument: name, value: null, message: 'is missing from the weights', remedy: 'Export a complete checkpoint of this architecture.' });
    const own = 'info' in this.#source ? this.#source.info(name).shape : this.#source.get(name)!.shape;
    if (own.join() !== shape.join()) throw new ModelError('tensor-mismatch', { argument: name, value: [...own], message: `should have the shape [${shape.join(', ')}]`, remedy: 'Use the config.json that belongs to these weights.' });
  }

  /** @throws ModelError `tensor-mismatch` for a tied model whose head is another matrix. */
  checkTiedHead(config: ModelConfig): Promise<void> {
    const source = this.#source;
    if ('info' in source) return checkTiedHead(config, source);
    return checkTiedHead(config, {
      has: (name) => source.has(name),
      info: (name) => ({ name, begin: 0, end: 0, ...source.get(name)! }),
      readBytes: async (name, offset = 0, length) => (await bytesOf(source.get(name)!)).subarray(offset, length === undefined ? undefined : offset + length),
    });
  }

  async #read(name: string): Promise<Float32Array> {
    if ('info' in this.#source) return this.#source.readFloat32(name);
    const tensor = this.#source.get(name)!;
    const bytes = await bytesOf(tensor);
    const values = toFloat32(bytes, tensor.dtype);
    if (values.length !== elementCount(tensor.shape, name)) throw new ModelError('tensor-mismatch', { argument: name, value: values.length, message: `should hold [${tensor.shape.join(', ')}] values`, remedy: 'Give the data of the whole tensor.' });
    return values;
  }

  /** A tensor in float32, as it is. */
  plain(g: OnnxGraph, name: string, shape: readonly number[]): Value {
    return g.initializer(name, 'float32', shape, lazy(4 * elementCount(shape, name), async () => fromFloat32(await this.#read(name), 'F32')));
  }

  /** A table as it is stored, for looking rows up; `widen` makes what comes of float16 float32. */
  table(g: OnnxGraph, name: string, shape: readonly [number, number], bits: 32 | 16): Value {
    if (bits === 32) return this.plain(g, name, shape);
    return g.initializer(name, 'float16', shape, lazy(2 * elementCount(shape, name), async () => fromFloat32(await this.#read(name), 'F16')));
  }

  widen(g: OnnxGraph, value: Value, bits: 32 | 16): Value {
    return bits === 32 ? value : g.op('Cast', [value], { to: 1 });
  }

  /** x W^T (+ b), W [outputs, inputs] in the checkpoint. */
  linear(g: OnnxGraph, x: Value, name: string, [outputs, inputs]: readonly [number, number], bits: OnnxBits, bias?: string): Value {
    const y = bits === 4 ? this.#matmul4(g, x, name, outputs, inputs) : g.op('MatMul', [x, this.#transposed(g, name, outputs, inputs, bits)]);
    return bias === undefined ? y : g.op('Add', [y, this.plain(g, bias, [outputs])]);
  }

  #transposed(g: OnnxGraph, name: string, outputs: number, inputs: number, bits: 32 | 16): Value {
    const dtype = bits === 32 ? 'F32' : 'F16';
    const data = lazy((bits / 8) * outputs * inputs, async () => fromFloat32(transpose(await this.#read(name), outputs, inputs), dtype));
    const weight = g.initializer(name, bits === 32 ? 'float32' : 'float16', [inputs, outputs], data);
    return this.widen(g, weight, bits);
  }

  /** com.microsoft.MatMulNBits: symmetric, one float32 scale for a block. */
  #matmul4(g: OnnxGraph, x: Value, name: string, outputs: number, inputs: number): Value {
    const blocks = Math.ceil(inputs / BLOCK_SIZE);
    const matrix = () => {
      if (this.#quantised?.name !== name) this.#quantised = { name, matrix: this.#read(name).then((values) => quantiseNbits4(values, outputs, inputs, { blockSize: BLOCK_SIZE, symmetric: true })) };
      return this.#quantised.matrix;
    };
    const data = g.initializer(`${name}_q4`, 'uint8', [outputs, blocks, BLOCK_SIZE / 2], lazy((outputs * blocks * BLOCK_SIZE) / 2, async () => (await matrix()).data));
    const scales = g.initializer(`${name}_scales`, 'float32', [outputs * blocks], lazy(4 * outputs * blocks, async () => fromFloat32((await matrix()).scales, 'F32')));
    return g.op('MatMulNBits', [x, data, scales], { K: inputs, N: outputs, bits: 4, block_size: BLOCK_SIZE }, { domain: 'com.microsoft' });
  }
}

async function bytesOf(tensor: SourceTensor): Promise<Uint8Array> {
  return 'data' in tensor ? tensor.data : tensor.read();
}

/** [rows, columns] to [columns, rows], in tiles that stay in the cache. */
function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  const tile = 32;
  for (let r0 = 0; r0 < rows; r0 += tile) {
    for (let c0 = 0; c0 < columns; c0 += tile) {
      for (let r = r0; r < Math.min(r0 + tile, rows); r++) for (let c = c0; c < Math.min(c0 + tile, columns); c++) out[c * rows + r] = values[r * columns + c]!;
    }
  }
  return out;
}
