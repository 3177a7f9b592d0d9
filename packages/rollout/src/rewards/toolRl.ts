/** A tool call: its name and its parameters, which are JSON values. */
export interface ToolCall {
  readonly name: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * ToolRL's correctness reward (arXiv 2504.13958): 6 s / s_max − 3 ∈ [−3, 3], with s the multiset Jaccard index of the
 * names, plus for each expected call the Jaccard index of its parameter names and the number of equal values, matched
 * to the best call of the same name that is left; one with neither is no match. 0 where no call is expected, whatever is
 * made; −3 for output that cannot be parsed (null).
 *
 * Values are equal as Python has it: keys of objects in any order, lists in order, and true is 1, false 0.
 */
export function toolRlReward(calls: readonly ToolCall[] | null, expected: readonly ToolCall[]): number {
  if (expected.length === 0) return 0;
  if (calls === null) return -3;
  let score = multisetJaccard(calls.map((call) => call.name), expected.map((call) => call.name));
  let best = 1;
  const left = [...calls];
  for (const want of expected) {
    best += 1 + Object.keys(want.parameters).length;
    let found = -1;
    let foundScore = 0;
    left.forEach((call, i) => {
      if (call.name !== want.name) return;
      const value = parameterScore(call.parameters, want.parameters);
      if (value > foundScore) [found, foundScore] = [i, value];
    });
    if (found < 0) continue;
    score += foundScore;
    left.splice(found, 1);
  }
  return (6 * score) / best - 3;
}

function parameterScore(given: ToolCall['parameters'], wanted: ToolCall['parameters']): number {
  const names = Object.keys(wanted);
  let score = multisetJaccard(Object.keys(given), names);
  for (const name of names) if (Object.hasOwn(given, name) && equal(given[name], wanted[name])) score++;
  return score;
}

function equal(a: unknown, b: unknown): boolean {
  if (typeof a === 'boolean') return equal(Number(a), b);
  if (typeof b === 'boolean') return equal(a, Number(b));
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equal(a[name as keyof typeof a], b[name as keyof typeof b]));
}

/** |a ∩ b| / |a ∪ b| of multisets; 1 for two empty ones. */
function multisetJaccard(a: readonly string[], b: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const x of b) counts.set(x, (counts.get(x) ?? 0) + 1);
  let common = 0;
  for (const x of a) {
    const n = counts.get(x) ?? 0;
    if (n === 0) continue;
    counts.set(x, n - 1);
    common++;
  }
  const union = a.length + b.length - common;
  return union === 0 ? 1 : common / union;
}
