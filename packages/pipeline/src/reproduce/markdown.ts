import type { ReproduceResults, RowSummary } from './results.ts';

const percent = (x: number | null | undefined) => (x === null || x === undefined || !Number.isFinite(x) ? '' : (100 * x).toFixed(1));

/** The table, the orderings and the baselines as Markdown. Every figure in per cent where no unit stands. */
export function resultsMarkdown(results: ReproduceResults): string {
  const lines: string[] = [`# The paper's table at scale ${results.scale}`, '', `ClevrPolicy-T, ${results.adapter}. Accuracy in per cent on unseen questions, mean over seeds with Student's 95 % interval; paired tests are exact McNemar tests over the questions of all seeds.`, ''];
  for (const n of [...new Set(results.rows.map((r) => r.n))]) {
    const rows = results.rows.filter((r) => r.n === n);
    const base = results.baselines.filter((b) => b.n === n);
    lines.push(`## N=${n}`, '');
    if (base.length > 0) {
      const mean = (get: (b: (typeof base)[number]) => number) => base.reduce((s, b) => s + get(b), 0) / base.length;
      const fall = 1 - mean((b) => b.canonical.withoutPolicy) / mean((b) => b.canonical.withPolicy);
      lines.push(
        `Chance ${percent(mean((b) => b.chance))}, majority answer ${percent(mean((b) => b.majority))}; shortcuts learnt from all training answers without the policy: number of objects ${percent(mean((b) => b.objectCount))}, histogram of attributes ${percent(mean((b) => b.histogram))}.`,
        `In the paper's prose (same tokenizer) the prompts would hold ${mean((b) => b.canonical.withPolicy).toFixed(0)} tokens with the policy and ${mean((b) => b.canonical.withoutPolicy).toFixed(0)} without: ${percent(fall)} % fewer.`,
        '',
      );
    }
    lines.push(...table(['', 'accuracy', '95 % interval', 'seeds', 'policy put back', 'override all', 'override part', 'unseen cells', 'existence', 'other policies', 'referral 0-10', 'branching error', 'prompt tokens', 'prefill ms', 'paper, 7B, N=4', 'N=6'], rows.map((r) => [
      r.title, percent(r.accuracy.mean), r.seeds.length > 1 ? `${percent(Math.max(0, r.accuracy.low))} to ${percent(Math.min(1, r.accuracy.high))}` : '', String(r.seeds.length),
      percent(r.policyInContext), percent(r.overrideAll), percent(r.overridePart), percent(r.unseenCells), percent(r.existence), percent(r.otherPolicies),
      r.referral.toFixed(1), r.branchingError.toFixed(1), r.promptTokens.toFixed(0), r.prefillMs.toFixed(1), r.paper?.[4]?.toFixed(1) ?? '', r.paper?.[6]?.toFixed(1) ?? '',
    ])), '');
    const rl = rows.filter((r): r is RowSummary & { rl: NonNullable<RowSummary['rl']> } => r.rl !== undefined);
    if (rl.length > 0) {
      lines.push('What RL learnt from (accuracies of sampled rollouts in the last quarter of the steps), and the shares of a step\'s time:', '');
      lines.push(...table(['', 'rollouts', 'groups with an advantage', 'accuracy, policy-free', 'accuracy, policy-aware', 'generation', 'rewards', 're-scoring', 'update', 'outside the GPU', 'minutes'], rl.map(({ title, rl: x, trainSeconds }) => [
        title, x.rollouts.toFixed(0), percent(x.groupsWithAdvantage), percent(x.accuracyFree), percent(x.accuracyPolicy),
        ...['generation', 'reward', 'rescoring', 'update', 'outside_gpu'].map((k) => percent(x.time[k])), (trainSeconds / 60).toFixed(1),
      ])), '');
    }
  }
  if (results.orderings.length > 0) {
    lines.push("## The paper's orderings", '');
    lines.push(...table(['claim', 'N', 'verdict', 'lower', 'higher', 'p', 'seeds for / against'], results.orderings.map(({ claim, n, verdict, test }) => [
      claim, String(n), verdict, ...(test === null ? ['', '', '', ''] : [percent(test.a), percent(test.b), test.p < 1e-4 ? '< 0.0001' : test.p.toFixed(4), `${test.seeds.better} / ${test.seeds.worse}`]),
    ])), '');
  }
  if (results.missing.length > 0) lines.push(`Not there yet: ${results.missing.join(', ')}.`, '');
  lines.push('Settings:', '', '```json', JSON.stringify(results.settings, null, 2), '```', '');
  return lines.join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return [`| ${head.map(cell).join(' | ')} |`, `| ${head.map((_, i) => (i === 0 ? '---' : '---:')).join(' | ')} |`, ...rows.map((r) => `| ${r.map(cell).join(' | ')} |`)];
}
