/** @file onnxruntime-node on the CPU: what the processor can do in a matrix product (its kernels are MLAS). */
import { uniform } from '../cases.mjs';
import { peers } from './dawn.mjs';

/** A field of a protobuf message: a number as a varint, bytes and strings by length. */
function field(number, value) {
  const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))]);
  if (typeof value === 'number') return [...varint(number * 8), ...varint(value)];
  const bytes = typeof value === 'string' ? [...Buffer.from(value)] : value;
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
}

/** An ONNX model of one MatMul (numbers of the fields from onnx.proto). */
function model(m, k, n) {
  const tensor = (name, shape) => {
    const dimensions = shape.flatMap((x) => field(1, field(1, x)));
    return [...field(1, name), ...field(2, field(1, [...field(1, 1), ...field(2, dimensions)]))];
  };
  const node = [...field(1, 'a'), ...field(1, 'b'), ...field(2, 'out'), ...field(4, 'MatMul')];
  const graph = [...field(1, node), ...field(2, 'g'), ...field(11, tensor('a', [m, k])), ...field(11, tensor('b', [k, n])), ...field(12, tensor('out', [m, n]))];
  return Uint8Array.from([...field(1, 8), ...field(7, graph), ...field(8, [...field(1, ''), ...field(2, 17)])]);
}

export async function open() {
  const ort = peers('onnxruntime-node');
  return {
    adapter: 'cpu',
    async prepare(c) {
      if (c.kind !== 'matmul') return undefined;
      const session = await ort.InferenceSession.create(model(c.m, c.k, c.n));
      const feeds = { a: new ort.Tensor('float32', uniform(c.m * c.k, 1), [c.m, c.k]), b: new ort.Tensor('float32', uniform(c.k * c.n, 2), [c.k, c.n]) };
      let out;
      return { run: async () => (out = (await session.run(feeds)).out), sync: async () => {}, result: async () => out.data, dispose: () => session.release() };
    },
    dispose() {},
  };
}
