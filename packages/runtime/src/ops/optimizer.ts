import type { Graph } from '../graph.ts';
import { sizeOf, type Tensor } from '../tensor.ts';

/** Sum of squares of all elements, [1]; partial sums in a fixed order. */
export function sumSquares(x: Tensor): Tensor {
  const parts = Math.max(1, Math.min(256, Math.ceil(sizeOf(x.shape) / 4096)));
  return x.graph.emit('sumSquares', [x], { parts }, [{ shape: [1] }, { shape: [parts], name: 'scratch' }])[0]!;
}

/** Index of each number in the `hyper` input of `adamw`. */
export const HYPER = { learningRate: 0, beta1: 1, beta2: 2, eps: 3, weightDecay: 4, maxNorm: 5, gradScale: 6, correction1: 7, correction2: 8 } as const;
/** Length of the `hyper` input of `adamw`. */
export const HYPER_LENGTH = 9;

export interface AdamWHyper {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Gradients are scaled so that their global norm does not exceed this; 0: no clipping. */
  readonly maxNorm: number;
  /** 1 for the first update. */
  readonly step: number;
  /** Gradients are multiplied by this first (1 / tokens, 1 / loss scale). */
  readonly gradScale: number;
}

/** The `hyper` input of `adamw`: the settings with the bias corrections of the step. */
export function packHyper(h: AdamWHyper): Float32Array {
  const out = new Float32Array(HYPER_LENGTH);
  // The bias corrections need more than float32: 1 - 0.999 loses three digits there.
  const all = { ...h, correction1: 1 - h.beta1 ** h.step, correction2: 1 - h.beta2 ** h.step };
  for (const key of Object.keys(HYPER) as (keyof typeof HYPER)[]) out[HYPER[key]] = all[key];
  return out;
}

/**
 * AdamW (Loshchilov and Hutter 2019), bias-corrected, decoupled decay on the first `decayed` elements, as in PyTorch:
 * p -= lr * wd * p; m, v updated; p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps).
 * The gradient is scaled, clipped by the global norm in `norm2` (of the unscaled gradient), used, and set to zero.
 * A gradient that is not finite leaves everything as it was (its norm is not finite).
 */
export function adamw(graph: Graph, parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, hyper: Tensor, norm2: Tensor, decayed: number): void {
  graph.emitInto('adamw', [hyper, norm2], { decayed }, [parameter, gradient, m, v]);
}

/** Index of each number in the `hyper` input of `sgd`. */
export const SGD_HYPER = { learningRate: 0, momentum: 1, weightDecay: 2, maxNorm: 3, gradScale: 4 } as const;
/** Length of the `hyper` input of `sgd`. */
export const SGD_HYPER_LENGTH = 5;

export interface SgdHyper {
  readonly learningRate: number;
  /** 0: plain gradient descent. */
  readonly momentum: number;
  readonly weightDecay: number;
  /** Gradients are scaled so that their global norm does not exceed this; 0: no clipping. */
  readonly maxNorm: number;
  /** Gradients are multiplied by this first (1 / tokens, 1 / loss scale). */
  readonly gradScale: number;
}

/** The `hyper` input of `sgd`. */
export function packSgdHyper(h: SgdHyper): Float32Array {
  const out = new Float32Array(SGD_HYPER_LENGTH);
  for (const key of Object.keys(SGD_HYPER) as (keyof SgdHyper)[]) out[SGD_HYPER[key]] = h[key];
  return out;
}

export interface SgdOptions {
  readonly nesterov?: boolean;
  /** Decay the parameter itself (as AdamW does) and not through the gradient. */
  readonly decoupledWeightDecay?: boolean;
}

/**
 * `torch.optim.SGD` without dampening: g += wd * p (or p *= 1 - lr * wd with `decoupledWeightDecay`), b = momentum * b + g,
 * p -= lr * (nesterov ? g + momentum * b : b). Scaling, clipping and gradients that are not finite as in `adamw`.
 */
export function sgd(graph: Graph, parameter: Tensor, gradient: Tensor, momentum: Tensor, hyper: Tensor, norm2: Tensor, decayed: number, options: SgdOptions = {}): void {
  const { nesterov = false, decoupledWeightDecay = false } = options;
  graph.emitInto('sgd', [hyper, norm2], { decayed, nesterov, decoupledWeightDecay }, [parameter, gradient, momentum]);
}

/** Where the 8-bit moments of `adamw8bit` live. */
export interface State8bit {
  /** u32 [n / 4]: codes of the first and second moments, the first element in the lowest byte. */
  readonly state1: Tensor;
  readonly state2: Tensor;
  /** f32 [n / 256, 2]: the largest magnitude of both moments in each block. */
  readonly absmax: Tensor;
  /** f32 [2, 256]: `dynamicMap(true)`, `dynamicMap(false)`. */
  readonly qmap: Tensor;
}

/**
 * `adamw` with moments in 8 bits (bitsandbytes' AdamW8bit, arXiv 2110.02861): a block of 256 elements is unpacked, updated in
 * float32, used, and packed against its new largest magnitude. The parameter has a multiple of four elements.
 */
export function adamw8bit(graph: Graph, parameter: Tensor, gradient: Tensor, state: State8bit, hyper: Tensor, norm2: Tensor, decayed: number): void {
  graph.emitInto('adamw8bit', [hyper, norm2, state.qmap], { decayed }, [parameter, gradient, state.state1, state.state2, state.absmax]);
}
