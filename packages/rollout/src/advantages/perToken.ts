import { RolloutError, checkChoice } from '../error.ts';
import { moments } from '../numeric/moments.ts';
import { everyRow } from './rows.ts';
import { type AdvantageInput, type RewardWeights, readAdvantageInput } from './input.ts';

/** Input of the estimators that give each token its own advantage. Padded row-major layout. */
export interface TokenAdvantageInput extends Omit<AdvantageInput, 'lengths' | 'out'> {
  readonly mask: ArrayLike<number | boolean>;
  readonly shape: readonly [rows: number, columns: number];
  readonly rewardWeights?: RewardWeights | undefined;
}

/** Options of `reinforcePlusPlusTokens`. */
export interface DiscountOptions {
  /** The discount. Default 1. */
  readonly gamma?: number | undefined;
  /** Added to the token count; verl 1e-8. Default 0. */
  readonly countEpsilon?: number | undefined;
  /** 1, the sample variance (verl), or 0, the population's (OpenRLHF). Default 1. */
  readonly ddof?: 0 | 1 | undefined;
}

/**
 * REINFORCE++ with a discount (verl `reinforce_plus_plus`, OpenRLHF `reinforce`): the reward stands on the last active token,
 *
 *   R_t = r_t + γ R_{t+1}, masked tokens skipped;   A = (R − mean) / sqrt(var + 1e-8) over the batch's tokens
 *
 * @returns rows * columns advantages, 0 at masked positions.
 */
export function reinforcePlusPlusTokens(input: TokenAdvantageInput, { gamma = 1, countEpsilon = 0, ddof = 1 }: DiscountOptions = {}): Float64Array {
  const { rewards } = readAdvantageInput(input, input.rewardWeights);
  const [rows, columns] = checkShape(input, rewards.length);
  const returns = new Float64Array(rows * columns);
  const active: number[] = [];
  for (let i = 0; i < rows; i++) {
    let running = NaN;
    for (let t = columns - 1; t >= 0; t--) {
      const k = i * columns + t;
      if (!input.mask[k] || Number.isNaN(rewards[i])) continue;
      running = Number.isNaN(running) ? (rewards[i] as number) : gamma * running;
      returns[k] = running;
      active.push(k);
    }
  }
  const m = moments(returns, active);
  const n = active.length;
  if (n < 2) return new Float64Array(rows * columns);
  if (m.equal && countEpsilon === 0) return new Float64Array(rows * columns);
  let sum = 0;
  for (const k of active) sum += (returns[k] as number) * m.scale;
  const mean = sum / (n + countEpsilon);
  let squares = 0;
  for (const k of active) squares += ((returns[k] as number) * m.scale - mean) ** 2;
  const variance = (squares / (n + countEpsilon)) * (n / (n - ddof));
  for (const k of active) returns[k] = ((returns[k] as number) * m.scale - mean) / Math.sqrt(variance + 1e-8 * m.scale * m.scale);
  return returns;
}

export interface TokenBaselineInput extends TokenAdvantageInput {
  readonly oldLogps: ArrayLike<number>;
  /** Σ over the vocabulary of π² at each position, row-major. */
  readonly sumPiSquared: ArrayLike<number>;
  /** ρ, the sampler's importance weights (verl `rollout_is_weights`); 1 when absent. */
  readonly importanceWeights?: ArrayLike<number> | undefined;
}

/**
 * The optimal token baseline (verl `optimal_token_baseline`): with the reward-to-go R and the path variance W,
 *
 *   B_t = Σ_g R W_t / (Σ_g W_t + 1e-8),   W_t = Σ_{j ≤ t} (1 − 2 π_j + Σπ²_j) ρ_j²
 *
 * The part of a group's longest answer beyond the second longest has no baseline. A group of one keeps its reward.
 *
 * @param align What t is where masks have holes: the position (`columns`, verl `optimal_token_baseline`), or the count of
 *   the row's active tokens (`tokens`, verl `tir_optimal_token_baseline`). Default `columns`.
 */
export function optimalTokenBaseline(input: TokenBaselineInput, { align = 'columns' }: { align?: 'columns' | 'tokens' | undefined } = {}): Float64Array {
  checkChoice('align', align, ['columns', 'tokens'] as const);
  const { rewards, groups } = readAdvantageInput(input, input.rewardWeights);
  const [rows, columns] = checkShape(input, rewards.length);
  for (const name of ['oldLogps', 'sumPiSquared', 'importanceWeights'] as const) {
    if (name === 'importanceWeights' && input[name] === undefined) continue;
    if (input[name]?.length !== rows * columns) throw new RolloutError('length-mismatch', name, input[name]?.length, `must have ${rows * columns} entries`, 'Pass one number for each position.');
  }
  // Active positions of each row, first to last.
  const positions = Array.from(everyRow(rows), (i) => {
    const list: number[] = [];
    for (let k = i * columns; k < (i + 1) * columns; k++) if (input.mask[k]) list.push(k);
    return list;
  });
  const out = new Float64Array(rows * columns);
  for (const group of groups) {
    const members = Array.from(group).filter((i) => !Number.isNaN(rewards[i]));
    const lengths = members.map((i) => (positions[i] as number[]).length).sort((a, b) => b - a);
    const [longest = 0, second = 0] = lengths;
    const at = (i: number, k: number, t: number): number => (align === 'columns' ? k - i * columns : t);
    const numerator = new Float64Array(columns);
    const denominator = new Float64Array(columns).fill(1e-8);
    for (const i of members) {
      let w = 0;
      (positions[i] as number[]).forEach((k, t) => {
        w += (1 - 2 * Math.exp(input.oldLogps[k] as number) + (input.sumPiSquared[k] as number)) * (input.importanceWeights?.[k] ?? 1) ** 2;
        numerator[at(i, k, t)]! += (rewards[i] as number) * w;
        denominator[at(i, k, t)]! += w;
      });
    }
    for (const i of members) {
      const own = positions[i] as number[];
      const alone = own.length === longest && longest > second;
      own.forEach((k, t) => {
        const place = at(i, k, t);
        out[k] = (rewards[i] as number) - (alone && place >= second ? 0 : (numerator[place] as number) / (denominator[place] as number));
      });
    }
  }
  return out;
}

function checkShape({ shape, mask }: TokenAdvantageInput, count: number): readonly [number, number] {
  const [rows, columns] = shape;
  if (rows !== count || mask?.length !== rows * columns) {
    throw new RolloutError('length-mismatch', 'shape', `${rows}x${columns}`, `must describe ${count} rollouts and a mask of ${mask?.length}`, 'Pass [rollouts, columns] and a row-major mask.');
  }
  return shape;
}
