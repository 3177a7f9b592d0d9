/** @file Layers that several operators of ONNX make up together. */
import type { VisionActivation } from '../config.ts';
import type { OnnxGraph, Value } from './graph.ts';

/** `standard`: operators of ONNX alone; `fused`: those that ONNX Runtime has for these layers besides. */
export type OnnxOps = 'standard' | 'fused';

/** x / sqrt(mean(x^2) + eps) * w over the last axis. */
export function rmsNorm(g: OnnxGraph, x: Value, weight: Value, eps: number, ops: OnnxOps): Value {
  // An operator of ONNX Runtime in ONNX's own domain: onnx.checker does not know it.
  if (ops === 'fused') return g.op('SimplifiedLayerNormalization', [x, weight], { axis: -1, epsilon: { float: eps }, stash_type: 1 });
  const mean = g.op('ReduceMean', [g.op('Mul', [x, x]), g.integers(-1)], { keepdims: 1 });
  return g.op('Mul', [g.op('Div', [x, g.op('Sqrt', [g.op('Add', [mean, g.scalar(eps)])])]), weight]);
}

export function layerNorm(g: OnnxGraph, x: Value, weight: Value, bias: Value, eps: number): Value {
  return g.op('LayerNormalization', [x, weight, bias], { axis: -1, epsilon: { float: eps } });
}

export function silu(g: OnnxGraph, x: Value): Value {
  return g.op('Mul', [x, g.op('Sigmoid', [x])]);
}

/** x Phi(x), exactly. */
export function gelu(g: OnnxGraph, x: Value): Value {
  const erf = g.op('Erf', [g.op('Mul', [x, g.scalar(Math.SQRT1_2)])]);
  return g.op('Mul', [g.op('Mul', [x, g.scalar(0.5)]), g.op('Add', [erf, g.scalar(1)])]);
}

/** The activations of ungated vision towers. */
export function activation(g: OnnxGraph, x: Value, kind: VisionActivation): Value {
  switch (kind) {
    case 'silu':
      return silu(g, x);
    case 'quick_gelu':
      return g.op('Mul', [x, g.op('Sigmoid', [g.op('Mul', [x, g.scalar(1.702)])])]);
    case 'gelu_pytorch_tanh': {
      const cube = g.op('Mul', [g.op('Mul', [x, x]), x]);
      const inner = g.op('Mul', [g.op('Add', [x, g.op('Mul', [cube, g.scalar(0.044715)])]), g.scalar(Math.sqrt(2 / Math.PI))]);
      return g.op('Mul', [g.op('Mul', [x, g.scalar(0.5)]), g.op('Add', [g.op('Tanh', [inner]), g.scalar(1)])]);
    }
    default:
      return kind satisfies never;
  }
}

/** Halves a and b of the last axis to (a cos - b sin, b cos + a sin); cos and sin are broadcast. */
export function rotate(g: OnnxGraph, x: Value, cos: Value, sin: Value): Value {
  const [a, b] = g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 }) as [Value, Value];
  const first = g.op('Sub', [g.op('Mul', [a, cos]), g.op('Mul', [b, sin])]);
  const second = g.op('Add', [g.op('Mul', [b, cos]), g.op('Mul', [a, sin])]);
  return g.op('Concat', [first, second], { axis: -1 });
}

/** Cosines and sines of position * frequency as tables [rows, frequencies], rounded from float64 (a GPU's own are coarse far from 0). */
export function rotaryTables(g: OnnxGraph, rows: number, frequencies: readonly number[]): { readonly cos: Value; readonly sin: Value } {
  const width = frequencies.length;
  const table = (name: string, f: (angle: number) => number) => {
    const values = new Float32Array(rows * width);
    for (let i = 0; i < values.length; i++) values[i] = f(Math.floor(i / width) * frequencies[i % width]!);
    return g.floats(name, values, [rows, width]);
  };
  return { cos: table('rotary.cos', Math.cos), sin: table('rotary.sin', Math.sin) };
}
