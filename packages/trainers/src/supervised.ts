/**
 * @file Training on given tokens. The stages of the paper are this trainer with other rows: VM-CPT (eq. 2: policy,
 * images, query, reasoning and answer in one row, loss on all but visual tokens, mean by sequence), and SFT (eq. 6: no
 * policy in the prompt, loss on the response, mean by token of the batch).
 */
import { packBatch, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import { TrainerError } from './errors.ts';
import { checkBudget, microBatches } from './micro-batches.ts';
import { applyUpdate, checkOptimisation, hyperAt, type OptimizerOptions } from './optimizer.ts';
import { examplesAt } from './order.ts';
import { learningRateAt, type ScheduleOptions } from './schedule.ts';
import { checkState, type Trainer, type TrainerState } from './state.ts';
import { Stopwatch } from './stopwatch.ts';

export interface SupervisedRow {
  readonly sequence: TokenSequence;
  /** 1 where a token is a target of the loss (0 elsewhere), by token of the sequence. */
  readonly lossMask: ArrayLike<number>;
}

export interface SupervisedOptions extends ScheduleOptions, OptimizerOptions {
  readonly rows: readonly SupervisedRow[];
  /** Rows of an update. */
  readonly batchSize: number;
  /** Most tokens in memory at once: the rows of an update are packed into micro-batches of at most so many. The gradient is the same. */
  readonly maxTokens?: number;
  /** `sequence`: every row counts the same; `token`: every token of the batch does. */
  readonly lossMean: 'sequence' | 'token';
  readonly adapter?: string;
  readonly seed: number;
}

/** Names as in TRL's SFT trainer. */
export interface SupervisedMetrics extends Readonly<Record<string, number>> {
  readonly step: number;
  readonly loss: number;
  readonly grad_norm: number;
  readonly learning_rate: number;
  readonly epoch: number;
  /** Mean entropy of the predicted tokens, nats. */
  readonly entropy: number;
  /** Tokens that went through the model so far, and in this step. */
  readonly num_tokens: number;
  readonly trained_tokens: number;
  /** 1 when the loss or the gradient was not finite and nothing was changed. */
  readonly skipped_updates: number;
}

/** Dropout draws from another stream for every micro-batch. */
const MOST_MICRO_BATCHES = 4096;

export class SupervisedTrainer implements Trainer {
  readonly #model: VisionLanguageModel;
  readonly #options: SupervisedOptions;
  readonly finished = false;
  #step = 0;
  #updates = 0;
  #tokens = 0;

  constructor(model: VisionLanguageModel, options: SupervisedOptions) {
    checkOptimisation(options);
    if (options.rows.length === 0) throw new TrainerError('invalid-option', 'rows', 'is empty.', 'Give at least one row.');
    if (!Number.isInteger(options.batchSize) || options.batchSize < 1) throw new TrainerError('invalid-option', 'batchSize', `is ${options.batchSize}.`, 'Give a positive integer.');
    checkBudget('maxTokens', options.maxTokens);
    options.rows.forEach(({ sequence, lossMask }, i) => {
      if (lossMask.length !== sequence.inputIds.length) throw new TrainerError('invalid-option', `rows[${i}].lossMask`, `has ${lossMask.length} entries for ${sequence.inputIds.length} tokens.`, 'Give one for each token.');
      if (!Array.from(lossMask).some((m, k) => k > 0 && m !== 0)) throw new TrainerError('invalid-option', `rows[${i}].lossMask`, 'has no token to predict: all are 0 behind the first, which cannot be.', 'Leave the row out, or set its mask to 1 where it should be learnt.');
    });
    this.#model = model;
    this.#options = options;
  }

  /** Steps done. */
  get step(): number {
    return this.#step;
  }

  state(): TrainerState {
    return { seed: this.#options.seed, step: this.#step, position: this.#step * this.#options.batchSize, updates: this.#updates, tokens: this.#tokens };
  }

  restore(state: TrainerState): void {
    const { step, position, updates, tokens } = checkState(state, this.#options.seed);
    const { batchSize } = this.#options;
    if (position !== step * batchSize) throw new TrainerError('invalid-checkpoint', 'state.position', `is ${position} after ${step} steps, of ${position / step} rows each, and batchSize is ${batchSize}.`, 'Go on with the batchSize of the checkpoint.');
    [this.#step, this.#updates, this.#tokens] = [step, updates, tokens];
  }

  /** One update. A loss or gradient that is not finite changes no weight (see `onNonFinite`). */
  async next(): Promise<SupervisedMetrics> {
    const { rows, batchSize, lossMean, maxTokens, adapter, seed } = this.#options;
    const step = this.#step + 1;
    const clock = new Stopwatch();
    const chosen = examplesAt(rows.length, this.#step * batchSize, batchSize, seed).map((i) => rows[i]!);
    const batches = microBatches(chosen.map(({ sequence }) => sequence.inputIds.length), maxTokens).map((own) => packBatch(this.#model.config, own.map((i) => ({ sequence: chosen[i]!.sequence, predict: chosen[i]!.lossMask }))));
    // The divisors are those of the whole update, so that micro-batches add up to it exactly.
    const perRow = batches.map(({ places }) => places.reduce((n, { row }) => n.set(row, (n.get(row) ?? 0) + 1), new Map<number, number>()));
    const targets = batches.reduce((n, b) => n + b.places.length, 0);
    const counted = perRow.reduce((n, m) => n + m.size, 0);
    let loss = 0;
    let entropy = 0;
    let tokens = 0;
    for (const [b, batch] of batches.entries()) {
      const weights = batch.places.map(({ row }) => (lossMean === 'token' ? 1 / targets : 1 / (perRow[b]!.get(row)! * counted)));
      const scores = await clock.device(() => this.#model.accumulate(batch, weights.map((w) => -w), adapter === undefined ? {} : { adapter, dropoutKey: [seed, step * MOST_MICRO_BATCHES + b] }));
      loss -= weights.reduce((s, w, i) => s + w * scores.logp[i]!, 0);
      entropy += Array.from(scores.entropy).reduce((a, x) => a + x, 0) / Math.max(1, targets);
      tokens += batch.tokens;
    }
    const learningRate = learningRateAt(step, this.#options);
    const { gradNorm, applied } = await clock.device(() => applyUpdate(this.#model, hyperAt(this.#updates + 1, learningRate, this.#options), loss, this.#options, `step ${step}`));
    clock.lap('update');
    this.#step = step;
    this.#tokens += tokens;
    if (applied) this.#updates++;
    return {
      step, loss, grad_norm: gradNorm, learning_rate: learningRate, epoch: (step * batchSize) / rows.length, entropy,
      num_tokens: this.#tokens, trained_tokens: tokens, skipped_updates: applied ? 0 : 1, ...clock.times(),
    };
  }
}
