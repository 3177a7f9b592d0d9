import { RolloutError } from '../error.ts';
import { parseOrigins } from '../origin.ts';
import type { LossInput, TokenArray } from './input.ts';

/** A checked batch: what every part reads. */
export interface TokenView {
  readonly rows: number;
  /** Width of the padded layout, or the longest row of a ragged one. */
  readonly columns: number;
  readonly tokens: number;
  /** Row i covers positions offsets[i] to offsets[i + 1]. */
  readonly offsets: ArrayLike<number>;
  readonly logps: TokenArray;
  readonly oldLogps: TokenArray;
  readonly refLogps: TokenArray | undefined;
  readonly behaviorLogps: TokenArray | undefined;
  readonly entropy: TokenArray | undefined;
  readonly mask: ArrayLike<number | boolean>;
  readonly advantages: ArrayLike<number>;
  readonly perToken: boolean;
  /** 1 for policy-aware rows. */
  readonly origin: Uint8Array | undefined;
  readonly turns: LossInput['turns'];
  /** Active tokens of each row. */
  readonly counts: Int32Array;
  readonly activeTokens: number;
  readonly nonEmptyRows: number;
  /** Active tokens and rows of the whole step; those of this batch when it is the whole step. */
  readonly stepTokens: number;
  readonly stepRows: number | undefined;
}

/** Checks lengths, masks and numbers, and counts. Everything after it may trust the batch. */
export function readBatch(input: LossInput): TokenView {
  const { rows, columns, tokens, offsets } = readLayout(input);
  const perTokenArrays = ['logps', 'oldLogps', 'refLogps', 'behaviorLogps', 'entropy', 'mask'] as const;
  for (const name of perTokenArrays) {
    const array = input[name];
    if (array === undefined && name !== 'logps' && name !== 'mask') continue;
    if (array === undefined || array === null || array.length !== tokens) {
      throw new RolloutError('length-mismatch', name, array?.length, `must have ${tokens} entries, one a position`, 'Pass one number for each position of the layout.');
    }
  }
  if (input.out !== undefined && input.out.length !== tokens) {
    throw new RolloutError('length-mismatch', 'out', input.out.length, `must have ${tokens} entries`, 'Pass a Float64Array of that length, or none.');
  }
  const counts = new Int32Array(rows);
  const totals = countTokens(input, rows, offsets, counts);
  const advantages = input.advantages as ArrayLike<number>;
  const perToken = checkAdvantages(advantages, rows, tokens, input.mask, counts);
  checkStep('numItemsInBatch', input.numItemsInBatch, totals.active);
  checkStep('globalBatchSize', input.globalBatchSize, Math.max(totals.nonEmpty, 1));
  return {
    rows,
    columns,
    tokens,
    offsets,
    logps: input.logps,
    oldLogps: input.oldLogps,
    refLogps: input.refLogps,
    behaviorLogps: input.behaviorLogps,
    entropy: input.entropy,
    mask: input.mask,
    advantages,
    perToken,
    origin: input.origin === undefined ? undefined : parseOrigins(input.origin, rows),
    turns: input.turns,
    counts,
    activeTokens: totals.active,
    nonEmptyRows: totals.nonEmpty,
    stepTokens: input.numItemsInBatch ?? totals.active,
    stepRows: input.globalBatchSize,
  };
}

function readLayout({ shape, offsets, logps }: LossInput): { rows: number; columns: number; tokens: number; offsets: ArrayLike<number> } {
  if (offsets !== undefined) {
    const rows = offsets.length - 1;
    if (rows < 1) throw new RolloutError('empty-batch', 'offsets', offsets.length, 'describes no row', 'Pass rows + 1 offsets.');
    if (offsets[0] !== 0) throw new RolloutError('invalid-argument', 'offsets[0]', offsets[0], 'must be 0', 'Start the first row at position 0.');
    let columns = 0;
    for (let i = 0; i < rows; i++) {
      const width = (offsets[i + 1] as number) - (offsets[i] as number);
      if (!Number.isInteger(width) || width < 0) {
        throw new RolloutError('invalid-argument', `offsets[${i + 1}]`, offsets[i + 1], 'must not be before the row it ends', 'Pass whole offsets that never fall.');
      }
      columns = Math.max(columns, width);
    }
    return { rows, columns, tokens: offsets[rows] as number, offsets };
  }
  if (shape === undefined || shape.length !== 2) {
    throw new RolloutError('invalid-argument', 'shape', shape, 'must be [rows, columns]', 'Pass shape for a padded batch or offsets for a ragged one.');
  }
  const [rows, columns] = shape;
  for (const [name, size] of [['shape[0]', rows], ['shape[1]', columns]] as const) {
    if (!Number.isInteger(size) || size < 0) {
      throw new RolloutError('invalid-argument', name, size, 'must be a whole number', 'Pass the number of rows and of columns.');
    }
  }
  if (rows === 0 || columns === 0) throw new RolloutError('empty-batch', 'shape', `${rows}x${columns}`, 'describes an empty batch', 'Pass at least one row and one column.');
  if (logps?.length !== rows * columns) {
    throw new RolloutError('length-mismatch', 'logps', logps?.length, `must have ${rows} x ${columns} entries`, 'Pass row-major arrays of rows * columns numbers.');
  }
  return { rows, columns, tokens: rows * columns, offsets: Float64Array.from({ length: rows + 1 }, (_, i) => i * columns) };
}

function countTokens({ mask }: LossInput, rows: number, offsets: ArrayLike<number>, counts: Int32Array): { active: number; nonEmpty: number } {
  let active = 0;
  let nonEmpty = 0;
  // The usual row is active up to its end of sequence: a byte mask is compared four tokens at a time up to there.
  const words = mask instanceof Uint8Array && mask.byteOffset % 4 === 0 ? new Uint32Array(mask.buffer, mask.byteOffset, mask.length >> 2) : undefined;
  for (let i = 0; i < rows; i++) {
    const end = offsets[i + 1] as number;
    let count = 0;
    let k = offsets[i] as number;
    if (words !== undefined && k % 4 === 0) while (k + 4 <= end && words[k >> 2] === 0x01010101) k += 4;
    while (k < end && mask[k] === 1) k++;
    count = k - (offsets[i] as number);
    for (; k < end; k++) {
      const m = mask[k] as number | boolean;
      if (m === 1 || m === true) count++;
      else if (m !== 0 && m !== false) throw new RolloutError('invalid-argument', `mask[${k}]`, m, 'is not a mask value', 'Use 0 and 1 (or false and true).');
    }
    counts[i] = count;
    active += count;
    if (count > 0) nonEmpty++;
  }
  return { active, nonEmpty };
}

/** Refuses a batch that holds something else than a finite number at an active position. */
export function checkFinite(view: TokenView): void {
  for (const name of ['logps', 'oldLogps', 'refLogps', 'behaviorLogps', 'entropy'] as const) {
    const array = view[name];
    if (array === undefined) continue;
    const { mask } = view;
    for (let k = 0; k < array.length; k++) {
      const x = array[k] as number;
      if (x - x === 0 || !mask[k]) continue;
      throw new RolloutError('not-finite', `${name}[${k}]`, x, 'is at an active position and not a finite number', 'Mask the position, or find out why the model gave no number there.');
    }
  }
}

function checkAdvantages(advantages: ArrayLike<number>, rows: number, tokens: number, mask: LossInput['mask'], counts: Int32Array): boolean {
  const length = advantages?.length;
  if (length !== rows && length !== tokens) {
    throw new RolloutError('length-mismatch', 'advantages', length, `must have ${rows} entries (one a rollout) or ${tokens} (one a position)`, 'Pass what objective.advantages returned.');
  }
  const perToken = length !== rows;
  for (let i = 0; i < length; i++) {
    const a = advantages[i] as number;
    if (a - a === 0) continue;
    const read = perToken ? mask[i] === 1 || mask[i] === true : (counts[i] as number) > 0;
    if (read) throw new RolloutError('not-finite', `advantages[${i}]`, a, 'is not a finite number', 'Use 0 for a rollout that must not move the model.');
  }
  return perToken;
}

function checkStep(name: string, value: number | undefined, atLeast: number): void {
  if (value === undefined) return;
  if (!Number.isFinite(value) || value < atLeast) {
    throw new RolloutError('invalid-argument', name, value, `must be at least what this batch holds (${atLeast})`, 'Pass the count over all micro-batches of the step.');
  }
}
