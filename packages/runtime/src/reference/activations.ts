/** @file Activations in float64. */
import type { Activation } from '../ops/types.ts';

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Standard normal cumulative distribution, by the series for small and the continued fraction for large arguments. */
export function normalCdf(x: number): number {
  const z = Math.abs(x);
  let tail: number;
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let i = 1; i < 120; i++) {
      term *= (z * z) / (2 * i + 1);
      sum += term;
    }
    tail = 0.5 - sum * Math.exp(-0.5 * z * z) * INV_SQRT_2PI;
  } else {
    let f = z;
    for (let i = 200; i >= 1; i--) f = z + i / f;
    tail = (Math.exp(-0.5 * z * z) * INV_SQRT_2PI) / f;
  }
  return x >= 0 ? 1 - tail : tail;
}
const INV_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);
const GELU_C = Math.sqrt(2 / Math.PI);

/** The activations of `ops/elementwise.ts`. */
export function act(kind: Activation, x: number): number {
  switch (kind) {
    case 'none':
      return x;
    case 'silu':
      return x * sigmoid(x);
    case 'gelu':
      return x * normalCdf(x);
    case 'geluTanh':
      return 0.5 * x * (1 + Math.tanh(GELU_C * (x + 0.044715 * x ** 3)));
    case 'quickGelu':
      return x * sigmoid(1.702 * x);
    default:
      return kind satisfies never;
  }
}

/** Their derivatives. */
export function derivative(kind: Exclude<Activation, 'none'>, x: number): number {
  switch (kind) {
    case 'silu': {
      const s = sigmoid(x);
      return s * (1 + x * (1 - s));
    }
    case 'gelu':
      return normalCdf(x) + x * INV_SQRT_2PI * Math.exp(-0.5 * x * x);
    case 'geluTanh': {
      const t = Math.tanh(GELU_C * (x + 0.044715 * x ** 3));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_C * (1 + 3 * 0.044715 * x * x);
    }
    case 'quickGelu': {
      const s = sigmoid(1.702 * x);
      return s * (1 + 1.702 * x * (1 - s));
    }
    default:
      return kind satisfies never;
  }
}
