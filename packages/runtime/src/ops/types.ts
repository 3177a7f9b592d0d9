export type Activation = 'none' | 'silu' | 'gelu' | 'geluTanh' | 'quickGelu';

/**
 * Every operation by name with its attributes. Shapes are `[rows, columns]` row-major; T tokens, D head size.
 * The formula of each stands where it is recorded (`ops/*.ts`); engines implement exactly this list.
 */
export interface OpAttributes {
  /** out = act(alpha * op(A) op(B) + bias) + residual, or out += ... with `accumulate`. Inputs: a, b, bias?, residual?. */
  matmul: {
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    readonly alpha: number;
    readonly activation: Activation;
    /** Set where an engine has drawn a `loraUp` in, whose inputs down and b then come last. */
    readonly adapter?: LoraAttributes;
    readonly bias: boolean;
    readonly residual: boolean;
    readonly accumulate: boolean;
  };
  /** The same for every matrix of a batch: a [..., m, k], b [..., k, n] with equal leading axes. Inputs: a, b, residual?. */
  bmm: {
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    readonly alpha: number;
    readonly residual: boolean;
    readonly accumulate: boolean;
  };
  /**
   * y = x W^T (+ bias) (+ residual) with a quantised W [N, K], or x W with `transposed` (the way back). Inputs x, data u32,
   * scales [N, blocks] (not of f16), zeros [N, blocks]?, bias?, residual?; output y (see `ops/quantised.ts`).
   */
  matmulQuantised: QuantisedAttributes & { readonly transposed: boolean; readonly bias: boolean; readonly residual: boolean; /** Where in rows of outColumns the result goes. */ readonly outFirst: number; readonly outColumns: number; /** As of `matmul`. */ readonly adapter?: LoraAttributes };
  /** Rows of a quantised table. Inputs ids i32 [T], data, scales?, zeros?, before [T, K]?; ids outside [first, first + N) take `before`, or 0. */
  embedQuantised: QuantisedAttributes & { readonly first: number; readonly before: boolean };
  /** Running softmax statistics over chunks of the vocabulary. Inputs logits [R, C], targets i32 [R], before [R, 4]?; output [R, 4]: maximum, sum of exp, sum of exp * z, target's z. */
  softmaxChunk: { readonly temperature: number; readonly first: number; readonly before: boolean };
  /** Input statistics [R, 4]; outputs logp, entropy, lse [R]. Inputs: statistics, targets. */
  softmaxFinish: Record<never, never>;
  /** As logSoftmaxBackward for columns [first, first + C) of the vocabulary. Inputs logits, targets, lse, entropy, dLogp, dEntropy?. */
  softmaxChunkBackward: { readonly temperature: number; readonly first: number };
  /** out[n] += sum over rows of x. Input: x [M, N]; outputs: target [N], scratch. */
  columnSum: { readonly rowsPerPart: number };
  /** y = x * rstd * w; outputs y, rstd [M]. */
  rmsNorm: { readonly eps: number };
  /** Inputs dy, x, w, rstd, residual?; output dx (+ residual). */
  rmsNormBackward: { readonly residual: boolean };
  /** Inputs dy, x, rstd; outputs target [N] (+=), scratch. */
  rmsNormWeightGrad: { readonly rowsPerPart: number };
  /** y = (x - mean) * rstd * w + b; outputs y, stats [M, 2] (mean, rstd). Inputs: x, w, b. */
  layerNorm: { readonly eps: number };
  /** Inputs dy, x, w, stats, residual?; output dx (+ residual). */
  layerNormBackward: { readonly residual: boolean };
  /** Inputs dy, x, stats; outputs target [N] (+=), scratch. */
  layerNormWeightGrad: { readonly rowsPerPart: number };
  /** RMSNorm of the first `heads` heads of each row, each over headDim, the rest copied. Inputs x [T, C], w [2 * headDim]; outputs y, rstd [T, heads]. */
  headNorm: HeadNormAttributes & { readonly eps: number };
  /** Inputs dy, x, w, rstd; output dx. */
  headNormBackward: HeadNormAttributes;
  /** Inputs dy, x, rstd; outputs target [2 * headDim] (+=), scratch. */
  headNormWeightGrad: HeadNormAttributes & { readonly rowsPerPart: number };
  /** Inputs x [T, C], positions i32 [3, T], table [P, D/2, 2] (cos, sin). The first `heads` heads of a row are turned. */
  rope: { readonly heads: number; readonly headDim: number; readonly axes: readonly number[]; readonly inverse: boolean };
  /** Inputs q, k, v (columns at an offset), queryRanges u32 [Tq, 6] (three half-open key ranges); outputs o [Tq, heads*D], lse [Tq, heads]. */
  attention: AttentionAttributes;
  /** Inputs qkv, o, lse, dO, queryRanges, keyRanges u32 [T, 2]; outputs dqkv, delta. */
  attentionBackward: AttentionAttributes;
  /** x [M, 2F] -> silu(x[:, :F]) * x[:, F:]. */
  swiglu: Record<never, never>;
  /** Inputs dy [M, F], x [M, 2F]; output dx [M, 2F]. */
  swigluBackward: Record<never, never>;
  activation: { readonly kind: Exclude<Activation, 'none'> };
  /** Inputs dy, x. */
  activationBackward: { readonly kind: Exclude<Activation, 'none'> };
  add: Record<never, never>;
  /** Inputs base [M, N], down [M, parts * rank], b [N, rank]. */
  loraUp: LoraAttributes;
  /** Inputs dy [M, N], b; output dDown. */
  loraUpGradDown: LoraAttributes;
  /** Inputs dy, down; target dB (+=). */
  loraUpGradB: LoraAttributes;
  /** Row lengths of w + scale * B A, part by part. Inputs a [parts * rank, K], w [N, K] (or data, scales?, zeros? of a quantised one), b [N, rank]; output norm [N]. */
  doraNorm: LoraAttributes & { readonly weight: QuantisedAttributes | null };
  /** out = x * magnitude / norm (columns of parts that are not adapted: x) + bias + residual. Inputs x [M, N], magnitude [N], norm [N], bias?, residual?. */
  doraScale: LoraAttributes & { readonly bias: boolean; readonly residual: boolean };
  /** Inputs dy, x, norm; outputs target magnitude gradient [N] (+=), scratch. */
  doraMagnitudeGrad: LoraAttributes & { readonly rowsPerPart: number };
  /** x / (1 - p) where a random number of (key, site, element) is at least p, else 0; with `rest`, x less that. Inputs x, key u32 [2]. */
  dropout: { readonly p: number; readonly site: number; readonly rest: boolean };
  /** Inputs x [R * k, C], weights [R, k]; out[r] = sum over k of weights[r, k] x[r * k + ...]. */
  blendRows: Record<never, never>;
  /** Inputs dy [R, C], weights [R, k]; output dx [R * k, C]. */
  blendRowsBackward: Record<never, never>;
  /** Inputs ids i32 [T], table [V, C], and with `features`: features [F, C], source i32 [T] (-1: the token's own row). */
  embed: { readonly features: boolean };
  /** Inputs dy [T, C], order i32 [n], starts i32 [u + 1], rows i32 [u]; target[rows[i]] += sum of dy[order[starts[i]..]]. */
  embedTableGrad: Record<never, never>;
  /** Inputs x [M, C], index i32 [R], inverse i32 [M]; out[i] = index[i] < 0 ? 0 : x[index[i]]. */
  gatherRows: Record<never, never>;
  /** Inputs x [R, C], index i32 [R]; target[index[i]] = x[i] columns [column, column + width); negative: skipped. */
  scatterRowsInto: { readonly column: number; readonly width: number };
  /** Inputs logits [R, V], targets i32 [R]; outputs logp [R], entropy [R], lse [R]; logits are divided by temperature. */
  logSoftmax: { readonly temperature: number };
  /** Inputs logits, targets, lse, entropy, dLogp [R], dEntropy [R]?; output dLogits. */
  logSoftmaxBackward: { readonly temperature: number };
  /** Input x; output [1]: sum of squares; second output: scratch. */
  sumSquares: { readonly parts: number };
  /** Inputs hyper f32 [9], norm2 [1]; targets parameter, grad (zeroed after use), m, v. */
  adamw: { readonly decayed: number };
  /** Inputs hyper f32 [9], norm2 [1], qmap [2, 256]; targets parameter [n], grad (zeroed after use), state1 and state2 u32 [n / 4], absmax [n / 256, 2]. */
  adamw8bit: { readonly decayed: number };
  /** Inputs hyper f32 [5], norm2 [1]; targets parameter, grad (zeroed after use), momentum. */
  sgd: { readonly decayed: number; readonly nesterov: boolean; readonly decoupledWeightDecay: boolean };
  /** Inputs logits [R, V], seen u32 [R, V / 32] (a bit for each token), penalties f32 [R]; a seen token's logit is divided by the penalty, a negative one multiplied. */
  penaliseSeen: Record<never, never>;
  /** Input token i32 [R]; target seen u32 [R, words]: sets the bit of each row's token. */
  markSeen: Record<never, never>;
  /** Inputs logits [R, V], draws u32 [R, 4], settings f32 [R, 4]; outputs token i32 [R], logp [R], entropy [R]. */
  sample: Record<string, never>;
  /** Inputs token i32 [R], logp [R], entropy [R]; outputs state i32 [R, 13], history i32 [C], trace f32 [C, 2] (see `ops/decode.ts`). */
  decodeAdvance: DecodeAttributes;
  /** Input state; outputs ids [R], positions [3, R], ranges u32 [R, 6], cacheRows [R], draws u32 [R, 4]. */
  decodeInputs: { readonly rows: number };
}

export interface QuantisedAttributes {
  /** `nbits`: w = (q - zero) * scale; `nf4`: w = CODEBOOK[q] * scale (arXiv 2305.14314); `f16`: half floats, without scales. */
  readonly format: 'nbits' | 'nf4' | 'f16';
  readonly bits: 4 | 8 | 16;
  /** Values along K that share a scale. */
  readonly blockSize: number;
  /** N and K of the weight. */
  readonly rows: number;
  readonly columns: number;
  /** Whether zero points are given; without, the middle of the range is zero. */
  readonly zeros: boolean;
}

export interface LoraAttributes {
  readonly rank: number;
  readonly ends: readonly number[];
  readonly scales: readonly number[];
}

export interface HeadNormAttributes {
  /** Heads that are normed, queries then keys; the first `queryHeads` use w[:headDim], the others w[headDim:]. */
  readonly heads: number;
  readonly queryHeads: number;
  readonly headDim: number;
}

export interface AttentionAttributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly qColumn: number;
  readonly kColumn: number;
  readonly vColumn: number;
}

/** How tokens of a completion are drawn. */
export interface SampleSettings {
  /** 0 takes the most probable token. */
  readonly temperature: number;
  /** The most probable tokens that stay, with those as probable as the last; 0: all. */
  readonly topK: number;
  /** The share of what top-k leaves that the most probable tokens have to make up; 1: all. */
  readonly topP: number;
  /** The least share of the largest probability that a token needs; 0: none. */
  readonly minP: number;
}

export interface DecodeAttributes {
  readonly rows: number;
  readonly stopIds: readonly number[];
}

export type OpName = keyof OpAttributes;
