import { type AdvantageInput, type RewardWeights, readAdvantageInput } from '../advantages/input.ts';
import { RolloutError } from '../error.ts';
import { moments } from '../numeric/moments.ts';
import { everyRow } from '../advantages/rows.ts';

/**
 * What a batch's rewards say, under TRL's names: `reward` (their weighted sum), `reward_std` (over the batch, ddof 1), `rewards/{name}/mean`,
 * `rewards/{name}/std`, `frac_reward_zero_std` (exact equality, not a tolerance). With `origin` also by half:
 *
 *   reward/free, reward/policy          rollout/policy_gain = reward/policy − reward/free
 *   frac_reward_zero_std/{free,policy}  frac_groups_rescued: free rewards all equal, those of the union not
 *   advantage/free, advantage/policy    when advantages are passed
 */
export function rolloutMetrics(input: AdvantageInput & { readonly advantages?: ArrayLike<number> | undefined; readonly rewardWeights?: RewardWeights | undefined }): Record<string, number> {
  const { rewards, columns, names, groups, origin, count } = readAdvantageInput(input, input.rewardWeights);
  if (input.advantages !== undefined && input.advantages.length !== count) {
    throw new RolloutError('length-mismatch', 'advantages', input.advantages.length, `must have ${count} entries`, 'Pass one advantage a rollout.');
  }
  const all = everyRow(count);
  const metrics: Record<string, number> = {};
  const set = (name: string, value: number): void => {
    if (Number.isFinite(value)) metrics[name] = value;
  };
  const total = moments(rewards, all);
  set('reward', total.mean / total.scale);
  set('reward_std', total.sd / total.scale);
  columns.forEach((column, k) => {
    const m = moments(column, all);
    set(`rewards/${names[k]}/mean`, m.mean / m.scale);
    set(`rewards/${names[k]}/std`, m.sd / m.scale);
  });
  const zeroShare = (rowsOf: (rows: Int32Array) => Int32Array): number => {
    const present = groups.map(rowsOf).filter((rows) => rows.length > 0);
    return present.filter((rows) => moments(rewards, rows).equal).length / present.length;
  };
  set('frac_reward_zero_std', zeroShare((rows) => rows));
  if (input.advantages !== undefined) set('advantage/mean', mean(input.advantages, all));
  if (origin === undefined) return metrics;
  for (const [flag, name] of [[0, 'free'], [1, 'policy']] as const) {
    const rows = all.filter((i) => origin[i] === flag);
    const m = moments(rewards, rows);
    set(`reward/${name}`, m.mean / m.scale);
    set(`frac_reward_zero_std/${name}`, zeroShare((group) => group.filter((i) => origin[i] === flag)));
    if (input.advantages !== undefined) set(`advantage/${name}`, mean(input.advantages, rows));
  }
  const { 'reward/free': free, 'reward/policy': policy } = metrics;
  if (free !== undefined && policy !== undefined) metrics['rollout/policy_gain'] = policy - free;
  const rescued = groups.filter((rows) => {
    const own = rows.filter((i) => origin[i] === 0);
    return own.length > 0 && moments(rewards, own).equal && !moments(rewards, rows).equal;
  });
  metrics['frac_groups_rescued'] = rescued.length / groups.length;
  return metrics;
}

function mean(values: ArrayLike<number>, rows: Int32Array): number {
  let sum = 0;
  for (const i of rows) sum += values[i] as number;
  return sum / rows.length;
}
