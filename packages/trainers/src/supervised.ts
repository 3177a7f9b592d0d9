/**
 * @file Training on given tokens. The stages of the paper are this trainer with other rows: VM-CPT (eq. 2: policy,
 * images, query, reasoning and answer in one row, loss on all but visual tokens, mean by sequence), and SFT (eq. 6: no
 * policy in the prompt, loss on the response, mean by token of the batch).
 */
import { packBatch, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import { TrainerError } from './errors.ts';
import { hyperAt, type OptimizerOptions } from './optimizer.ts';
import { examplesOfStep } from './order.ts';
import { learningRateAt, type ScheduleOptions } from './schedule.ts';

export interface SupervisedRow {
  readonly sequence: TokenSequence;
  /** 1 where a token is a target of the loss (0 elsewhere), by token of the sequence. */
  readonly lossMask: ArrayLike<number>;
}

export interface SupervisedOptions extends ScheduleOptions, OptimizerOptions {
  readonly rows: readonly SupervisedRow[];
  readonly batchSize: number;
  /** `sequence`: every row counts the same; `token`: every token of the batch does. */
  readonly lossMean: 'sequence' | 'token';
  readonly adapter?: string;
  readonly seed: number;
}

/** Names as in TRL's SFT trainer. */
export interface SupervisedMetrics {
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Tokens that went through the model in this step. */
  readonly numTokens: number;
}

export class SupervisedTrainer {
  readonly #model: VisionLanguageModel;
  readonly #options: SupervisedOptions;
  /** Steps done. */
  step = 0;

  constructor(model: VisionLanguageModel, options: SupervisedOptions) {
    if (options.rows.length === 0) throw new TrainerError('invalid-option', 'rows', 'is empty.', 'Give at least one row.');
    if (!Number.isInteger(options.batchSize) || options.batchSize < 1) throw new TrainerError('invalid-option', 'batchSize', `is ${options.batchSize}.`, 'Give a positive integer.');
    options.rows.forEach(({ sequence, lossMask }, i) => {
      if (lossMask.length !== sequence.inputIds.length) throw new TrainerError('invalid-option', `rows[${i}].lossMask`, `has ${lossMask.length} entries for ${sequence.inputIds.length} tokens.`, 'Give one for each token.');
    });
    this.#model = model;
    this.#options = options;
  }

  /** One update. A loss or gradient that is not finite changes no weight and throws `diverged`. */
  async next(): Promise<SupervisedMetrics> {
    const { rows, batchSize, lossMean, adapter, seed } = this.#options;
    const step = this.step + 1;
    const chosen = examplesOfStep(rows.length, batchSize, step, seed).map((i) => rows[i]!);
    const batch = packBatch(this.#model.config, chosen.map(({ sequence, lossMask }) => ({ sequence, predict: lossMask })));
    const perRow = chosen.map(() => 0);
    for (const { row } of batch.places) perRow[row]!++;
    const counted = perRow.filter((n) => n > 0).length;
    const weights = batch.places.map(({ row }) => (lossMean === 'token' ? 1 / batch.places.length : 1 / (perRow[row]! * counted)));
    const scores = await this.#model.accumulate(batch, weights.map((w) => -w), adapter === undefined ? {} : { adapter });
    const learningRate = learningRateAt(step, this.#options);
    const gradNorm = await this.#model.step(hyperAt(step, learningRate, this.#options));
    const loss = -weights.reduce((s, w, i) => s + w * scores.logp[i]!, 0);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      throw new TrainerError('diverged', `step ${step}`, `has loss ${loss} and gradient norm ${gradNorm}; the update was not applied.`, 'Lower the learning rate, or go back to the last checkpoint.');
    }
    this.step = step;
    return { step, loss, gradNorm, learningRate, numTokens: batch.tokens };
  }
}
