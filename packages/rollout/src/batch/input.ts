import type { OriginLike } from '../origin.ts';

/** Per-token numbers of a batch, row after row: a typed array of either width or a plain array. */
export type TokenArray = ArrayLike<number>;

/** One of several advantages whose losses are added with weights (HDPO). */
export interface Channel {
  readonly name: string;
  readonly weight: number;
  /** One number a rollout, or one a token. */
  readonly advantages: ArrayLike<number>;
}

/**
 * What `objective.loss` reads. Log-probabilities are natural, of the sampled tokens, at the sampling temperature.
 *
 * Layout: padded, `shape: [rows, columns]`, token t of row i at `i * columns + t`; or ragged, `offsets` with rows + 1
 * entries, row i from `offsets[i]` up to `offsets[i + 1]`. Masked positions are never read; they may hold NaN.
 */
export interface LossInput {
  /** Under the weights being trained, policy-free prompt. */
  readonly logps: TokenArray;
  /** Under the weights at the start of the update, policy-free prompt (also for policy-aware rollouts). */
  readonly oldLogps: TokenArray;
  /** Under the frozen reference model, policy-free prompt. */
  readonly refLogps?: TokenArray | undefined;
  /** Under the sampler, with the prompt it sampled from. Never a substitute for `oldLogps`. */
  readonly behaviorLogps?: TokenArray | undefined;
  /** Entropy of the distribution each token was drawn from, in nats. */
  readonly entropy?: TokenArray | undefined;
  /** One number a rollout, one a token, or several weighted channels. */
  readonly advantages: ArrayLike<number> | readonly Channel[];
  /** 1 (or true) where the token takes part in the loss. */
  readonly mask: ArrayLike<number | boolean>;
  readonly shape?: readonly [rows: number, columns: number] | undefined;
  readonly offsets?: ArrayLike<number> | undefined;
  readonly origin?: ArrayLike<OriginLike> | undefined;
  /** For each row the [start, end) spans of its turns, in positions of the row. */
  readonly turns?: readonly (readonly (readonly [start: number, end: number])[])[] | undefined;
  /** Active tokens of the whole optimiser step, when this is one micro-batch of it (TRL `num_items_in_batch`). */
  readonly numItemsInBatch?: number | undefined;
  /** Rollouts of the whole optimiser step, when this is one micro-batch of it (verl `global_batch_size`); where fully masked ones do not count, those with an active token. */
  readonly globalBatchSize?: number | undefined;
  /** Where to write dLogp; allocated when absent. */
  readonly out?: Float64Array | undefined;
}

export interface LossResult {
  readonly loss: number;
  /** dLoss/dLogp of every position, in the layout of the input; 0 at masked positions. */
  readonly dLogp: Float64Array;
  /** dLoss/dEntropy, only when the objective has an entropy bonus. */
  readonly dEntropy?: Float64Array;
  readonly metrics: Record<string, number>;
}
