/** A tool call: its name and its parameters. */
export interface ToolCall {
  readonly name: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * ToolRL's correctness reward (arXiv 2504.13958): 6 s / s_max − 3 ∈ [−3, 3], with s the multiset Jaccard index of the
 * names, plus for each expected call the Jaccard index of its parameter names and the number of equal values, matched
 * to the best call of the same name. 0 where no call is expected and none is made; −3 for output that cannot be parsed
 * (null), and for calls where none is expected.
 */
export function toolRlReward(calls: readonly ToolCall[] | null, expected: readonly ToolCall[]): number {
  if (calls === null) return -3;
  if (expected.length === 0) return calls.length === 0 ? 0 : -3;
  let score = multisetJaccard(calls.map((call) => call.name), expected.map((call) => call.name));
  let best = 1;
  const left = [...calls];
  for (const want of expected) {
    best += 1 + Object.keys(want.parameters).length;
    let found = -1;
    let foundScore = -1;
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
  for (const name of names) if (name in given && JSON.stringify(given[name]) === JSON.stringify(wanted[name])) score++;
  return score;
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
