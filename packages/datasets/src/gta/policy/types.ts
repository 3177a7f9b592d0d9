/** What the policy may depend on. Numbers are integers; ranges are those of {@link FIELDS}. */
export interface UserProfile {
  readonly account_type: 'A' | 'B' | 'C' | 'D';
  readonly credits: number;
  readonly age: number;
  /** Only in generated policies: hour of the day, membership, region, device. */
  readonly hour?: number;
  readonly membership?: 'free' | 'premium' | 'business';
  readonly region?: 'EU' | 'US' | 'APAC';
  readonly device?: 'phone' | 'desktop';
}

export type Field =
  | { readonly name: string; readonly kind: 'number'; readonly low: number; readonly high: number }
  | { readonly name: string; readonly kind: 'choice'; readonly values: readonly string[] };

/** Every field with its domain; `hasMath` is read from the image, not from the profile. */
export const FIELDS: readonly Field[] = [
  { name: 'account_type', kind: 'choice', values: ['A', 'B', 'C', 'D'] },
  { name: 'credits', kind: 'number', low: 0, high: 1000 },
  { name: 'age', kind: 'number', low: 13, high: 85 },
  { name: 'hour', kind: 'number', low: 0, high: 23 },
  { name: 'membership', kind: 'choice', values: ['free', 'premium', 'business'] },
  { name: 'region', kind: 'choice', values: ['EU', 'US', 'APAC'] },
  { name: 'device', kind: 'choice', values: ['phone', 'desktop'] },
  { name: 'hasMath', kind: 'choice', values: ['no', 'yes'] },
];

/** A restriction of one field: an inclusive range of integers, or a set of values. */
export type Restriction =
  | { readonly field: string; readonly low: number; readonly high: number }
  | { readonly field: string; readonly values: readonly string[] };

/** One sentence of the policy: when all restrictions hold, the first choice that holds says which name to call. */
export interface RuleBullet {
  readonly id: string;
  readonly tool: string;
  readonly when: readonly Restriction[];
  readonly choices: readonly { readonly when: readonly Restriction[]; readonly name: string }[];
  readonly text: string;
}

/** A rule that is not about versions. `describeFirst`, `bboxFirst`, `exactNames`, `searchK` are the paper's four. */
export interface Tip {
  readonly id: string;
  readonly kind: 'describeFirst' | 'bboxFirst' | 'exactNames' | 'searchK';
  readonly text: string;
}

export interface GtaRules {
  readonly id: string;
  readonly bullets: readonly RuleBullet[];
  readonly tips: readonly Tip[];
  /** Profile fields that some rule reads. */
  readonly fields: readonly string[];
  /** Number of versions of each tool in this policy. */
  readonly versions: Readonly<Record<string, number>>;
}

/** The values a decision is made on: profile and image attributes by field name. */
export type Facts = Readonly<Record<string, string | number>>;

/** Whether all restrictions hold. A field that the facts lack fails. */
export function holds(when: readonly Restriction[], facts: Facts): boolean {
  return when.every((r) => {
    const value = facts[r.field];
    return 'values' in r ? typeof value === 'string' && r.values.includes(value) : typeof value === 'number' && value >= r.low && value <= r.high;
  });
}
