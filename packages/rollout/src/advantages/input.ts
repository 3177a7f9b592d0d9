import { RolloutError, checkNumber } from '../error.ts';
import { type OriginLike, parseOrigins } from '../origin.ts';

/** The name of a group: rollouts with the same id are compared with each other, wherever they stand in the batch. */
export type GroupId = string | number;

/** One reward a rollout; null where the reward function gave none. */
export type RewardColumn = ArrayLike<number | null>;

/**
 * Rewards: one column, named columns, or TRL's `rewards_per_func`, one row a rollout with one entry a reward function.
 */
export type Rewards = RewardColumn | Readonly<Record<string, RewardColumn>> | readonly RewardColumn[];

export interface AdvantageInput {
  readonly rewards: Rewards;
  /** One id a rollout; groups may have any size and stand in any order. */
  readonly groupIds: ArrayLike<GroupId>;
  /** How each rollout was sampled; needed by the baselines of PolicyRollout that tell the two apart. */
  readonly origin?: ArrayLike<OriginLike> | undefined;
  /** Active tokens of each rollout; needed where advantages are whitened over tokens, and by OPO. */
  readonly lengths?: ArrayLike<number> | undefined;
  /** ReMax: the reward of the greedy answer to each rollout's prompt. */
  readonly baselineRewards?: ArrayLike<number> | undefined;
  /** Where to write the result; allocated when absent. */
  readonly out?: Float64Array | undefined;
}

/** What an advantage part works on. A missing reward is NaN; `groups[g]` lists the rows of a group. */
export interface AdvantageContext {
  readonly count: number;
  /** One column a reward function. */
  readonly columns: readonly Float64Array[];
  readonly names: readonly string[];
  /** One weight a column. */
  readonly weights: Float64Array;
  /** Weighted sum of the columns that gave a reward; NaN where none did. */
  readonly rewards: Float64Array;
  readonly groups: readonly Int32Array[];
  /** The group of each row. */
  readonly groupOf: Int32Array;
  /** The rows each group's mean and deviation are taken over (all its rows, unless a baseline says otherwise). */
  readonly baselineRows: readonly Int32Array[];
  readonly origin: Uint8Array | undefined;
  readonly lengths: Float64Array | undefined;
  readonly baselineRewards: Float64Array | undefined;
}

/** Weights by position or by the name of the column. */
export type RewardWeights = readonly number[] | Readonly<Record<string, number>>;

/** Checks the input and brings it into one form. Throws a RolloutError for anything that cannot be meant. */
export function readAdvantageInput(input: AdvantageInput, rewardWeights?: RewardWeights | undefined): AdvantageContext {
  const { columns, names } = readColumns(input.rewards);
  const count = (columns[0] as Float64Array).length;
  if (count === 0) {
    throw new RolloutError('empty-batch', 'rewards', input.rewards, 'holds no rollout', 'Pass at least one rollout.');
  }
  const weights = readWeights(rewardWeights, names);
  const { groups, groupOf } = readGroups(input.groupIds, count);
  return {
    count,
    columns,
    names,
    weights,
    rewards: combine(columns, weights),
    groups,
    groupOf,
    baselineRows: groups,
    origin: input.origin === undefined ? undefined : parseOrigins(input.origin, count),
    lengths: input.lengths === undefined ? undefined : readLengths(input.lengths, count),
    baselineRewards: input.baselineRewards === undefined ? undefined : readColumn('baselineRewards', input.baselineRewards, count),
  };
}

function readColumns(rewards: Rewards): { columns: Float64Array[]; names: string[] } {
  if (typeof rewards !== 'object' || rewards === null) {
    throw new RolloutError('invalid-argument', 'rewards', rewards, 'must hold one reward a rollout', 'Pass an array, or an object of named arrays.');
  }
  if (!('length' in rewards) || typeof rewards.length !== 'number') {
    const names = Object.keys(rewards);
    const named = rewards as Readonly<Record<string, RewardColumn>>;
    if (names.length === 0) {
      throw new RolloutError('empty-batch', 'rewards', rewards, 'names no reward', 'Pass at least one named reward.');
    }
    const first = named[names[0] as string] as RewardColumn;
    return { names, columns: names.map((name) => readColumn(`rewards.${name}`, named[name] as RewardColumn, first?.length ?? 0)) };
  }
  const list = rewards as ArrayLike<number | null | RewardColumn>;
  const head = list[0];
  if (typeof head === 'object' && head !== null) return readRows(list as ArrayLike<RewardColumn>, head.length);
  return { columns: [readColumn('rewards', list as RewardColumn, list.length)], names: ['reward'] };
}

function readRows(rows: ArrayLike<RewardColumn>, width: number): { columns: Float64Array[]; names: string[] } {
  const columns = Array.from({ length: width }, () => new Float64Array(rows.length));
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i];
    if (typeof row !== 'object' || row === null || row.length !== width) {
      throw new RolloutError('length-mismatch', `rewards[${i}]`, row, `must hold ${width} rewards`, 'Give each rollout one entry for each reward function (null where there is none).');
    }
    for (let k = 0; k < width; k++) (columns[k] as Float64Array)[i] = readReward(`rewards[${i}][${k}]`, row[k]);
  }
  return { columns, names: columns.map((_, k) => `reward${k}`) };
}

function readColumn(argument: string, column: RewardColumn, count: number): Float64Array {
  if (typeof column !== 'object' || column === null || typeof column.length !== 'number') {
    throw new RolloutError('invalid-argument', argument, column, 'must be an array of rewards', 'Pass one number (or null) a rollout.');
  }
  if (column.length !== count) {
    throw new RolloutError('length-mismatch', argument, column.length, `must have ${count} entries like the others`, 'Pass one reward for each rollout.');
  }
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const x = column[i];
    values[i] = typeof x === 'number' && x - x === 0 ? x : readReward(`${argument}[${i}]`, x);
  }
  return values;
}

function readReward(argument: string, value: unknown): number {
  if (value === null) return NaN;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new RolloutError('not-finite', argument, value, 'is not a reward', 'A reward is a finite number; use null where the reward function gave none.');
}

function readWeights(weights: RewardWeights | undefined, names: readonly string[]): Float64Array {
  if (weights === undefined) return new Float64Array(names.length).fill(1);
  if (Array.isArray(weights)) {
    if (weights.length !== names.length) {
      throw new RolloutError('length-mismatch', 'rewardWeights', weights.length, `must have one weight a reward function (${names.length})`, 'Pass as many weights as rewards.');
    }
    return Float64Array.from(weights as readonly number[], (weight, k) => checkNumber(`rewardWeights[${k}]`, weight));
  }
  const named = weights as Readonly<Record<string, number>>;
  for (const name of Object.keys(named)) {
    if (!names.includes(name)) {
      throw new RolloutError('unknown-option', `rewardWeights.${name}`, named[name], 'weighs a reward that is not there', `The rewards are ${names.join(', ')}.`);
    }
  }
  return Float64Array.from(names, (name) => checkNumber(`rewardWeights.${name}`, named[name] ?? 1));
}

function combine(columns: readonly Float64Array[], weights: Float64Array): Float64Array {
  const first = columns[0] as Float64Array;
  if (columns.length === 1 && weights[0] === 1) return first;
  const sum = new Float64Array(first.length).fill(NaN);
  columns.forEach((column, k) => {
    const weight = weights[k] as number;
    for (let i = 0; i < column.length; i++) {
      const x = column[i] as number;
      if (x !== x) continue;
      const before = sum[i] as number;
      const after = (before === before ? before : 0) + weight * x;
      sum[i] = after > Number.MAX_VALUE ? Number.MAX_VALUE : after < -Number.MAX_VALUE ? -Number.MAX_VALUE : after;
    }
  });
  return sum;
}

function readGroups(ids: ArrayLike<GroupId>, count: number): { groups: Int32Array[]; groupOf: Int32Array } {
  if (typeof ids !== 'object' || ids === null || ids.length !== count) {
    throw new RolloutError('length-mismatch', 'groupIds', ids?.length, `must have one id a rollout (${count})`, 'Pass the id of the example each rollout answers.');
  }
  const indexOf = new Map<GroupId, number>();
  const sizes: number[] = [];
  const groupOf = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const id = ids[i];
    if ((typeof id !== 'string' && typeof id !== 'number') || id !== id) {
      throw new RolloutError('unknown-group', `groupIds[${i}]`, id, 'is not a group id', 'Use a string or a number for every rollout.');
    }
    let g = indexOf.get(id);
    if (g === undefined) {
      g = sizes.length;
      indexOf.set(id, g);
      sizes.push(0);
    }
    groupOf[i] = g;
    sizes[g] = (sizes[g] as number) + 1;
  }
  return { groups: members(groupOf, sizes), groupOf };
}

/** The rows of each group, in their order. */
export function members(groupOf: Int32Array, sizes: readonly number[]): Int32Array[] {
  const groups = sizes.map((size) => new Int32Array(size));
  const filled = new Int32Array(sizes.length);
  for (let i = 0; i < groupOf.length; i++) {
    const g = groupOf[i] as number;
    const at = filled[g] as number;
    (groups[g] as Int32Array)[at] = i;
    filled[g] = at + 1;
  }
  return groups;
}

function readLengths(lengths: ArrayLike<number>, count: number): Float64Array {
  if (lengths.length !== count) {
    throw new RolloutError('length-mismatch', 'lengths', lengths.length, `must have one entry a rollout (${count})`, 'Pass the number of active tokens of each rollout.');
  }
  return Float64Array.from(lengths, (length, i) => {
    if (!Number.isInteger(length) || length < 0) {
      throw new RolloutError('invalid-argument', `lengths[${i}]`, length, 'is not a token count', 'Pass whole numbers of at least 0.');
    }
    return length;
  });
}
