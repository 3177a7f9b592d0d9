import { RolloutError } from './error.ts';

/** An input that a part cannot do without. */
export type Need =
  | 'refLogps'
  | 'behaviorLogps'
  | 'entropy'
  | 'origin'
  | 'lengths'
  | 'mask'
  | 'oldLogps'
  | 'baselineRewards'
  | 'sumPiSquared'
  | 'turns'
  | 'maxCompletionLength';

const REMEDY: Record<Need, string> = {
  refLogps: "Pass the reference model's log-probabilities as refLogps, or use an objective without a reference KL.",
  behaviorLogps: "Pass the sampler's log-probabilities as behaviorLogps (never as oldLogps), or drop the correction that needs them.",
  entropy: "Pass each token's entropy as entropy, or drop the part that needs it.",
  origin: "Pass origin, 'free' or 'policy' for each row.",
  lengths: 'Pass lengths, the number of active tokens of each rollout.',
  mask: 'Pass mask and shape (or offsets).',
  oldLogps: 'Pass oldLogps, scored under the policy-free prompt at the start of the update.',
  baselineRewards: 'Pass baselineRewards, the reward of a greedy answer for each rollout.',
  sumPiSquared: 'Pass sumPiSquared, the sum of squared probabilities over the vocabulary at each token.',
  turns: 'Pass turns, the [start, end) span of each turn of each row.',
  maxCompletionLength: 'Pass maxCompletionLength, the constant that replaces the padded length.',
};

/** Throws one `missing-need` that lists every input the parts need and `given` lacks. */
export function checkNeeds(parts: readonly { readonly name: string; readonly needs: readonly Need[] }[], given: object): void {
  const record = given as Record<string, unknown>;
  const missing: { need: Need; part: string }[] = [];
  for (const part of parts) {
    for (const need of part.needs) {
      if (record[need] === undefined && !missing.some((m) => m.need === need)) missing.push({ need, part: part.name });
    }
  }
  const first = missing[0];
  if (first === undefined) return;
  throw new RolloutError(
    'missing-need',
    missing.map((m) => m.need).join(', '),
    undefined,
    missing.map((m) => `${m.part} needs ${m.need}`).join('; '),
    missing.map((m) => REMEDY[m.need]).join(' '),
  );
}
