/** @file Users: a case of the policy is chosen first, then a user in it, often right at a threshold. */
import type { Random } from '../../core/random.ts';
import { ruleBoxes, type RuleBox } from '../policy/prove.ts';
import { FIELDS, type GtaRules, type UserProfile } from '../policy/types.ts';

/** A user in a box; other fields are uniform. With `boundary`, numbers lie 0, 1 or 5 from the box's edges where they have any. */
export function profileIn(box: Pick<RuleBox, 'when'>, rules: GtaRules, random: Random, boundary: boolean): UserProfile {
  const out: Record<string, string | number> = {};
  for (const field of FIELDS) {
    if (field.name === 'hasMath' || !['account_type', 'credits', 'age', ...rules.fields].includes(field.name)) continue;
    const own = box.when.filter((r) => r.field === field.name);
    if (field.kind === 'choice') {
      out[field.name] = random.pick(field.values.filter((value) => own.every((r) => !('values' in r) || r.values.includes(value))));
      continue;
    }
    const low = Math.max(field.low, ...own.flatMap((r) => ('low' in r ? [r.low] : [])));
    const high = Math.min(field.high, ...own.flatMap((r) => ('low' in r ? [r.high] : [])));
    const edges = [...(low > field.low ? [low, low + 1, low + 5] : []), ...(high < field.high ? [high, high - 1, high - 5] : [])].filter((v) => v >= low && v <= high);
    out[field.name] = boundary && edges.length > 0 ? random.pick(edges) : random.between(low, high);
  }
  return out as unknown as UserProfile;
}

/** The box that a tool's rules choose for, uniformly; tools of one version have none. */
export function pickBox(rules: GtaRules, tool: string, random: Random, hasMath: boolean): RuleBox | undefined {
  const boxes = ruleBoxes(rules, tool).filter((box) => box.when.every((r) => r.field !== 'hasMath' || !('values' in r) || r.values.includes(hasMath ? 'yes' : 'no')));
  return boxes.length === 0 ? undefined : random.pick(boxes);
}
