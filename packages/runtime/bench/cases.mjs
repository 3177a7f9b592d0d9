/** @file What is measured, and the numbers that go in: the same for every contestant. */

/** The reference GPT, and one of a size for GPUs. */
export const GPT = { vocabulary: 512, width: 128, layers: 4, heads: 4, hidden: 512, batch: 8, length: 128 };
export const LARGE_GPT = { vocabulary: 8192, width: 768, layers: 12, heads: 12, hidden: 2048, batch: 8, length: 512 };

const matmul = (name, m, k, n) => ({ name: `matmul ${name} ${m} x ${k} x ${n}`, kind: 'matmul', m, k, n, flops: 2 * m * k * n });
const step = (name, sizes) => ({ name, kind: 'step', ...sizes, tokens: sizes.batch * sizes.length });

/** `gpu`: too large for an adapter that is a CPU. */
export const CASES = [
  matmul('square', 768, 768, 768),
  matmul('tall', 8192, 128, 256),
  matmul('thin', 16, 1024, 1024),
  matmul('LoRA down', 1024, 512, 8),
  matmul('LoRA up', 1024, 8, 512),
  matmul('vocabulary', 64, 128, 50257),
  // Causal: half of the scores count.
  { name: 'attention 8 x 128, 4 heads of 32', kind: 'attention', b: 8, t: 128, h: 4, d: 32, flops: 2 * 8 * 4 * 128 * 128 * 32 },
  { name: 'attention 2 x 512, 4 heads of 64', kind: 'attention', b: 2, t: 512, h: 4, d: 64, flops: 2 * 2 * 4 * 512 * 512 * 64 },
  { name: 'attention and gradients 8 x 128, 4 heads of 32', kind: 'attentionBackward', b: 8, t: 128, h: 4, d: 32, flops: 7 * 8 * 4 * 128 * 128 * 32 },
  { name: 'attention and gradients 2 x 512, 4 heads of 64', kind: 'attentionBackward', b: 2, t: 512, h: 4, d: 64, flops: 7 * 2 * 4 * 512 * 512 * 64 },
  { name: 'cross-entropy and gradient 1024 x 4096', kind: 'crossEntropy', r: 1024, v: 4096 },
  { name: 'AdamW 1M', kind: 'adamw', n: 1 << 20 },
  step('training step of the GPT', GPT),
  { ...matmul('large', 4096, 4096, 4096), gpu: true },
  { ...step('training step of a GPT of width 768', LARGE_GPT), gpu: true },
];

/** Uniform numbers in [-1, 1), a function of the seed (a linear congruence; quality does not matter here). */
export function uniform(n, seed, scale = 1) {
  const out = new Float32Array(n);
  let state = (seed * 2654435761 + 12345) >>> 0;
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = (state / 2147483648 - 1) * scale;
  }
  return out;
}

export function integers(n, below, seed) {
  return Int32Array.from(uniform(n, seed), (x) => Math.min(below - 1, Math.floor(((x + 1) / 2) * below)));
}

/** Parameters of the GPT by name: [shape, values]; matrices are [in, out], norms ones, the table is also the head. */
export function gptParameters({ vocabulary, width, layers, hidden }) {
  const shapes = { table: [vocabulary, width], norm: [width] };
  for (let i = 0; i < layers; i++) {
    Object.assign(shapes, { [`${i}.norm1`]: [width], [`${i}.qkv`]: [width, 3 * width], [`${i}.out`]: [width, width], [`${i}.norm2`]: [width], [`${i}.up`]: [width, 2 * hidden], [`${i}.down`]: [hidden, width] });
  }
  return Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, [shape, shape.length === 1 ? new Float32Array(shape[0]).fill(1) : uniform(shape[0] * shape[1], i + 50, 0.035)]]));
}

/** The tokens of a batch and what follows each; every step of the benchmark takes the same batch. */
export function gptTokens({ vocabulary, batch, length }) {
  const ids = integers(batch * length, vocabulary, 7);
  return { ids, targets: ids.map((x) => (3 * x + 7) % vocabulary) };
}

/** cos and sin [length, headDim / 2] of RoPE with base 10,000. */
export function rotary(length, headDim) {
  const angle = (i) => Math.floor(i / (headDim / 2)) * 10000 ** (-(i % (headDim / 2)) / (headDim / 2));
  const n = (length * headDim) / 2;
  return { cos: Float32Array.from({ length: n }, (_, i) => Math.cos(angle(i))), sin: Float32Array.from({ length: n }, (_, i) => Math.sin(angle(i))) };
}

export const ADAMW = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

/** -1e30 above the diagonal. */
export function causalMask(t) {
  return Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -1e30 : 0));
}

/** Gradients dq, dk, dv [rows, h d] side by side, as [rows, 3 h d]. */
export function sideBySide(parts, rows) {
  const width = parts[0].length / rows;
  const out = new Float32Array(rows * width * parts.length);
  parts.forEach((part, j) => {
    for (let r = 0; r < rows; r++) out.set(part.subarray(r * width, (r + 1) * width), (r * parts.length + j) * width);
  });
  return out;
}
