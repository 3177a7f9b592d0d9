/** @file How long the rows that are missing may take, by what others took. */
import { type RowResult, settingOf } from './results.ts';
import { rlOf, type RowName, type Setting, settingTitle } from './rows.ts';

/**
 * Seconds for all rows that are missing: each as long as the same row of the same setting took, or else as others of its kind (with RL or
 * without) in the same setting, or else in any; null while there is none of its kind. Means over what is done.
 */
export function secondsLeft(missing: readonly { readonly setting: Setting; readonly row: RowName }[], done: readonly RowResult[]): number | null {
  let sum = 0;
  for (const { setting, row } of missing) {
    const kind = done.filter((r) => (rlOf(r.row) === undefined) === (rlOf(row) === undefined));
    const there = kind.filter((r) => settingTitle(settingOf(r)) === settingTitle(setting));
    const like = [there.filter((r) => r.row === row), there, kind].find((rows) => rows.length > 0);
    if (like === undefined) return null;
    sum += like.reduce((s, r) => s + r.trainSeconds + r.evaluationSeconds, 0) / like.length;
  }
  return sum;
}
