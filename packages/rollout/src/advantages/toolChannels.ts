import { centre, moments, standardise } from '../numeric/moments.ts';
import type { Channel } from '../batch/input.ts';
import { RolloutError } from '../error.ts';
import { type AdvantageInput, readAdvantageInput } from './input.ts';
import { groupNorm } from './groupNorm.ts';

export interface HdpoInput extends Omit<AdvantageInput, 'out'> {
  /** Whether each rollout answered correctly. */
  readonly correct: ArrayLike<boolean | number>;
  /** Tool calls of each rollout. */
  readonly toolCalls: ArrayLike<number>;
}

/**
 * HDPO's two channels (Metis, "Act Wisely", April 2026): the accuracy advantage over all rollouts of a group, and an efficiency
 * advantage R = 1 / (T + 1) compared only among its correct ones (0 with fewer than two).
 *
 * The clipped loss is not additive in A, so two channels are two losses: pass the result as `advantages` to `loss`.
 */
export function hdpoChannels(input: HdpoInput, { accuracyWeight = 1, toolWeight = 0.15, epsilon = 1e-4 }: { accuracyWeight?: number; toolWeight?: number; epsilon?: number } = {}): Channel[] {
  const context = readAdvantageInput(input);
  checkLength('correct', input.correct, context.count);
  checkLength('toolCalls', input.toolCalls, context.count);
  const accuracy = new Float64Array(context.count);
  groupNorm({ epsilon }).apply(context, accuracy);
  const efficiency = Float64Array.from(input.toolCalls, (calls, i) => (input.correct[i] ? 1 / (calls + 1) : NaN));
  const tool = new Float64Array(context.count);
  for (const rows of context.groups) {
    const m = moments(efficiency, rows);
    for (const i of rows) if (!Number.isNaN(efficiency[i])) tool[i] = standardise(efficiency[i] as number, m, epsilon);
  }
  return [
    { name: 'accuracy', weight: accuracyWeight, advantages: accuracy },
    { name: 'tool', weight: toolWeight, advantages: tool },
  ];
}

export interface ToolPoInput extends Omit<AdvantageInput, 'out'> {
  /** Reward of each rollout's tool calls (their correctness, plus a preference). */
  readonly actionRewards: ArrayLike<number>;
  /** 1 on tool-call and memory tokens, row-major. */
  readonly actionMask: ArrayLike<number | boolean>;
  readonly shape: readonly [rows: number, columns: number];
}

/**
 * ToolPO (DeepAgent, arXiv 2510.21618): a second advantage that only tool-call tokens get,
 *
 *   A(y_t) = (R_success − mean_g) + M(y_t) (R_action − mean_g),     without division by a deviation
 *
 * @returns one advantage a position.
 */
export function toolPoAdvantages(input: ToolPoInput): Float64Array {
  const context = readAdvantageInput(input);
  const [rows, columns] = input.shape;
  checkLength('actionRewards', input.actionRewards, context.count);
  checkLength('actionMask', input.actionMask, rows * columns);
  if (rows !== context.count) throw new RolloutError('length-mismatch', 'shape[0]', rows, `must be the number of rollouts (${context.count})`, 'Pass [rollouts, columns].');
  const success = new Float64Array(rows);
  groupNorm({ scale: 'none' }).apply(context, success);
  const action = new Float64Array(rows);
  const actionRewards = Float64Array.from(input.actionRewards);
  for (const group of context.groups) {
    const m = moments(actionRewards, group);
    for (const i of group) action[i] = centre(actionRewards[i] as number, m);
  }
  return Float64Array.from({ length: rows * columns }, (_, k) => {
    const i = Math.floor(k / columns);
    return (success[i] as number) + (input.actionMask[k] ? (action[i] as number) : 0);
  });
}

export interface AspoInput {
  readonly advantages: ArrayLike<number>;
  readonly groupIds: AdvantageInput['groupIds'];
  /** Rollouts that are correct and hold a tool call. */
  readonly eligible: ArrayLike<boolean | number>;
  /** Position of the first tool call of each rollout. */
  readonly firstToolPosition: ArrayLike<number>;
  readonly lengths: ArrayLike<number>;
}

/**
 * ASPO (arXiv 2508.19201): correct answers that call a tool early are pushed more, never beyond a share of A,
 *
 *   A += clip(δ (p − mean p) / mean L, −k A, k A)   over correct, tool-using rollouts of the group
 */
export function aspoAdvantages(input: AspoInput, { delta = -2, k = 0.7 }: { delta?: number; k?: number } = {}): Float64Array {
  const { groups, count } = readAdvantageInput({ rewards: input.advantages, groupIds: input.groupIds });
  checkLength('eligible', input.eligible, count);
  checkLength('firstToolPosition', input.firstToolPosition, count);
  checkLength('lengths', input.lengths, count);
  const out = Float64Array.from(input.advantages);
  for (const group of groups) {
    const rows = group.filter((i) => Boolean(input.eligible[i]));
    let position = 0;
    let length = 0;
    for (const i of rows) {
      position += (input.firstToolPosition[i] as number) / rows.length;
      length += (input.lengths[i] as number) / rows.length;
    }
    for (const i of rows) {
      const a = out[i] as number;
      const bonus = length === 0 ? 0 : (delta * ((input.firstToolPosition[i] as number) - position)) / length;
      out[i] = a + Math.min(Math.max(bonus, -k * Math.abs(a)), k * Math.abs(a));
    }
  }
  return out;
}

export interface XrpoInput {
  readonly advantages: ArrayLike<number>;
  readonly groupIds: AdvantageInput['groupIds'];
  /** Mean old log-probability of each rollout. */
  readonly meanLogps: ArrayLike<number>;
  readonly correct: ArrayLike<boolean | number>;
}

/**
 * XRPO's novelty sharpening (October 2025): a correct answer that is unlikely for its group is pushed more,
 *
 *   η = exp(s − mean_g s),   A += min(max(λ (1 − η), 0), κ A)   for correct rollouts with A > 0
 */
export function xrpoAdvantages(input: XrpoInput, { lambda = 2.5, kappa = 0.5 }: { lambda?: number; kappa?: number } = {}): Float64Array {
  const { groups, count } = readAdvantageInput({ rewards: input.advantages, groupIds: input.groupIds });
  checkLength('meanLogps', input.meanLogps, count);
  checkLength('correct', input.correct, count);
  const out = Float64Array.from(input.advantages);
  for (const group of groups) {
    let mean = 0;
    for (const i of group) mean += (input.meanLogps[i] as number) / group.length;
    for (const i of group) {
      const a = out[i] as number;
      if (!input.correct[i] || a <= 0) continue;
      const novelty = Math.exp(Math.min((input.meanLogps[i] as number) - mean, 700));
      out[i] = a + Math.min(Math.max(lambda * (1 - novelty), 0), kappa * a);
    }
  }
  return out;
}

function checkLength(name: string, array: ArrayLike<unknown>, count: number): void {
  if (array?.length === count) return;
  throw new RolloutError('length-mismatch', name, array?.length, `must have ${count} entries`, 'Pass one entry for each.');
}
