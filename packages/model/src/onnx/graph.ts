/**
 * @file An ONNX graph being put together, and the file it becomes (onnx.proto of ONNX 1.16: IR version 10).
 * Values are strings, as in ONNX; every operator returns the names of its results.
 */
import { type LazyBytes, Message, type Piece, sizeOfPiece } from './proto.ts';

/** TensorProto.DataType. */
export const DATA_TYPE = { float32: 1, uint8: 2, int32: 6, int64: 7, float16: 10 } as const;
export type OnnxDataType = keyof typeof DATA_TYPE;

/** Name of a value in the graph. */
export type Value = string;
/** An extent, or the name of one that is known only at run time. */
export type Dimension = number | string;
export type Attribute = number | { readonly float: number } | readonly number[] | string;

/** Tensors of at least so many bytes go to the data file when there is one. */
const EXTERNAL_BYTES = 1024;
/** Where tensors begin in the data file. */
const ALIGNMENT = 64;
const IR_VERSION = 10;
const OPSET = 20;

/** A file to be written: its pieces in order. */
export interface PlannedFile {
  readonly name: string;
  readonly size: number;
  readonly pieces: readonly Piece[];
}

interface Initializer {
  readonly name: string;
  readonly type: OnnxDataType;
  readonly dims: readonly number[];
  readonly data: Piece;
}

export class OnnxGraph {
  readonly #name: string;
  readonly #nodes: Message[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inputs: Message[] = [];
  readonly #outputs: Message[] = [];
  #microsoft = false;
  #next = 0;

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: OnnxDataType, dims: readonly Dimension[]): Value {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  output(value: Value, name: string, type: OnnxDataType, dims: readonly Dimension[]): void {
    this.op('Identity', [value], {}, { outputs: [name] });
    this.#outputs.push(valueInfo(name, type, dims));
  }

  /** A tensor that comes with the file; the same name again is the same tensor. */
  initializer(name: string, type: OnnxDataType, dims: readonly number[], data: Piece): Value {
    if (!this.#initializers.has(name)) this.#initializers.set(name, { name, type, dims, data });
    return name;
  }

  /** Integers: shapes, axes, indices. */
  integers(...values: number[]): Value {
    return this.initializer(`int64[${values.join(',')}]`, 'int64', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  integer(value: number): Value {
    return this.initializer(`int64(${value})`, 'int64', [], new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
  }

  scalar(value: number): Value {
    return this.initializer(`float32(${value})`, 'float32', [], new Uint8Array(Float32Array.of(value).buffer));
  }

  floats(name: string, values: Float32Array, dims: readonly number[]): Value {
    return this.initializer(name, 'float32', dims, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  /** An operator with one result. An empty name is an input left out. */
  op(type: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}, options: { readonly domain?: 'com.microsoft'; readonly outputs?: readonly string[] } = {}): Value {
    return this.ops(type, inputs, 1, attributes, options)[0]!;
  }

  /** An operator with several results. */
  ops(type: string, inputs: readonly Value[], count: number, attributes: Readonly<Record<string, Attribute>> = {}, options: { readonly domain?: 'com.microsoft'; readonly outputs?: readonly string[] } = {}): Value[] {
    const id = `${type}.${this.#next++}`;
    const outputs = options.outputs ?? Array.from({ length: count }, (_, i) => (count === 1 ? id : `${id}.${i}`));
    const node = new Message();
    for (const name of inputs) node.string(1, name);
    for (const name of outputs) node.string(2, name);
    node.string(3, id).string(4, type);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attributeOf(name, value));
    if (options.domain !== undefined) {
      node.string(7, options.domain);
      this.#microsoft = true;
    }
    this.#nodes.push(node);
    return [...outputs];
  }

  /** Bytes of all tensors. */
  get weightBytes(): number {
    return [...this.#initializers.values()].reduce((sum, { data }) => sum + sizeOfPiece(data), 0);
  }

  /** The model, with its large tensors in a second file when they take more than `maxInlineBytes` together. */
  files(fileName: string, maxInlineBytes: number): PlannedFile[] {
    const dataName = `${fileName}_data`;
    const external = this.weightBytes > maxInlineBytes ? { pieces: [] as Piece[], size: 0 } : undefined;
    const graph = new Message();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, this.#name);
    for (const { name, type, dims, data } of this.#initializers.values()) {
      const tensor = new Message();
      for (const n of dims) tensor.integer(1, n);
      tensor.integer(2, DATA_TYPE[type]).string(8, name);
      const bytes = sizeOfPiece(data);
      if (external !== undefined && bytes >= EXTERNAL_BYTES) {
        const gap = (ALIGNMENT - (external.size % ALIGNMENT)) % ALIGNMENT;
        for (const [key, value] of [['location', dataName], ['offset', external.size + gap], ['length', bytes]] as const) tensor.message(13, new Message().string(1, key).string(2, String(value)));
        tensor.integer(14, 1);
        external.pieces.push(new Uint8Array(gap), data);
        external.size += gap + bytes;
      } else tensor.bytes(9, data);
      graph.message(5, tensor);
    }
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    const model = new Message().integer(1, IR_VERSION).string(2, 'trimpi').message(7, graph).message(8, new Message().string(1, '').integer(2, OPSET));
    if (this.#microsoft) model.message(8, new Message().string(1, 'com.microsoft').integer(2, 1));
    return [{ name: fileName, size: model.size, pieces: model.pieces }, ...(external === undefined ? [] : [{ name: dataName, size: external.size, pieces: external.pieces }])];
  }
}

/** A tensor made when it is written. */
export function lazy(size: number, read: LazyBytes['read']): LazyBytes {
  return { size, read };
}

function valueInfo(name: string, type: OnnxDataType, dims: readonly Dimension[]): Message {
  const shape = new Message();
  for (const d of dims) shape.message(1, typeof d === 'number' ? new Message().integer(1, d) : new Message().string(2, d));
  return new Message().string(1, name).message(2, new Message().message(1, new Message().integer(1, DATA_TYPE[type]).message(2, shape)));
}

/** Whole numbers are INT, `{ float }` FLOAT, arrays INTS, texts STRING. */
function attributeOf(name: string, value: Attribute): Message {
  const message = new Message().string(1, name);
  if (typeof value === 'number') return message.integer(3, value).integer(20, 2);
  if (typeof value === 'string') return message.string(4, value).integer(20, 3);
  if ('float' in value) return message.float(2, value.float).integer(20, 1);
  for (const n of value) message.integer(8, n);
  return message.integer(20, 7);
}
