import type { TablePage, TableSection } from '@trimpi/eval';
import { type Ordering, type ReproduceResults, type RowSummary, settingOf } from './results.ts';
import { type Setting, settingTitle } from './rows.ts';

const percent = (x: number | null | undefined) => (x === null || x === undefined || !Number.isFinite(x) ? '' : (100 * x).toFixed(1));
const TIMES = [['generation', 'generation'], ['reward', 'rewards'], ['rescoring', 're-scoring'], ['update', 'update'], ['outside_gpu', 'outside the GPU']] as const;

/** The table, the orderings and the baselines, for Markdown and for a page. Figures in per cent where no unit stands. */
export function resultsPage(results: ReproduceResults): TablePage {
  const settings = [...new Map(results.rows.map((r) => [settingTitle(r), r])).values()];
  return {
    title: `The paper's table at scale ${results.scale}`,
    paragraphs: [
      `ClevrPolicy in words (M: with pictures) and GTAPolicy; rows made on ${Object.entries(results.adapters).map(([adapter, rows]) => `${adapter} (${rows})`).join(', ')}. Accuracy in per cent on unseen questions, mean over seeds with Student's 95 % interval; paired tests are exact McNemar tests over the questions of all seeds.`,
      ...(results.missing.length === 0 ? [] : [`Not there yet: ${results.missing.join(', ')}.`]),
    ],
    sections: [
      ...settings.map((setting) => settingSection(setting, results)),
      ...(results.orderings.length === 0 ? [] : [orderingSection(results.orderings)]),
      { heading: 'Settings', data: results.settings },
    ],
  };
}

function settingSection(setting: Setting, { scale, rows: all, baselines }: ReproduceResults): TableSection {
  const heading = settingTitle(setting);
  const rows = all.filter((r) => settingTitle(r) === heading);
  const base = baselines.filter((b) => settingTitle(settingOf(b)) === heading);
  const calls = rows.flatMap((row) => (row.calls === undefined ? [] : [{ row, calls: row.calls }]));
  const mean = (get: (b: (typeof base)[number]) => number) => base.reduce((s, b) => s + get(b), 0) / base.length;
  const rl = rows.flatMap((row) => (row.rl === undefined ? [] : [{ row, rl: row.rl }]));
  const paragraphs = base.length === 0 ? [] : [
    `Chance ${percent(mean((b) => b.chance))}, majority answer ${percent(mean((b) => b.majority))}${base.some((b) => b.histogram === undefined) ? '' : `; shortcuts learnt from all training answers without the policy: number of objects ${percent(mean((b) => b.objectCount!))}, histogram of attributes ${percent(mean((b) => b.histogram!))}`}.`,
    `${scale === 'full' ? 'The prompts hold' : "In the paper's prose (same tokenizer) the prompts would hold"} ${mean((b) => b.canonical.withPolicy).toFixed(0)} tokens with the policy and ${mean((b) => b.canonical.withoutPolicy).toFixed(0)} without: ${percent(1 - mean((b) => b.canonical.withoutPolicy) / mean((b) => b.canonical.withPolicy))} % fewer.`,
    ...(base.some((b) => b.canonical.prefillMs === null) ? [] : [`Prefill${scale === 'full' ? '' : ' of such prompts'}: ${mean((b) => b.canonical.prefillMs!.withPolicy).toFixed(1)} ms with the policy, ${mean((b) => b.canonical.prefillMs!.withoutPolicy).toFixed(1)} ms without.`]),
  ];
  return {
    heading,
    paragraphs,
    bars: {
      bars: rows.map((r) => ({ title: r.title, accuracy: r.accuracy.mean, low: r.seeds.length > 1 ? Math.max(0, r.accuracy.low) : r.accuracy.mean, high: r.seeds.length > 1 ? Math.min(1, r.accuracy.high) : r.accuracy.mean, aside: r.row === 'in-context' })),
      chance: base.length === 0 ? 0 : mean((b) => b.chance),
      caption: 'Accuracy, mean over seeds with 95 % intervals. All rows answer without the policy but the grey one, which has it in the prompt. Dashed: chance.',
    },
    tables: [
      { head: ['', 'accuracy', '95 % interval', 'seeds', 'prompt tokens', 'prefill ms', ...(setting.benchmark === 'gta' ? [] : ['paper, 7B, N=4', 'N=6'])], rows: rows.map(accuracyCells) },
      ...(calls.length === 0 ? [] : [{
        caption: 'Scores of calls: accuracy above counts a call with all its arguments; the overall score is the mean of the two others, as in the paper:',
        head: ['', 'tool and version', 'arguments', 'overall', 'paper, 7B, overall'],
        rows: calls.map(({ row, calls: c }) => [row.title, percent(c.tool), percent(c.arguments), percent(c.overall), row.paper?.[0]?.toFixed(2) ?? '']),
      }]),
      {
        caption: 'The same models with the policy put back into the prompt, with another policy under the old name in the prompt (a new tree, or part of one), on cases that no reasoned example shows; what the base could do (near-miss existence questions, policies never seen in context); and how right their reasoning is about the policy:',
        head: ['', 'policy put back', 'override all', 'override part', 'unseen cells', 'existence', 'other policies', 'referral 0-10', 'branching error'],
        rows: rows.map(measureCells),
      },
      ...(rl.length === 0 ? [] : [{
        caption: "What RL learnt from (accuracies of sampled rollouts in the last quarter of the steps), and the shares of a step's time:",
        head: ['', 'rollouts', 'groups with advantage', 'policy-free', 'policy-aware', ...TIMES.map(([, name]) => name), 'minutes'],
        rows: rl.map(({ row, rl: x }) => [row.title, x.rollouts.toFixed(0), percent(x.groupsWithAdvantage), percent(x.accuracyFree), percent(x.accuracyPolicy), ...TIMES.map(([key]) => percent(x.time[key])), (row.trainSeconds / 60).toFixed(1)]),
      }]),
    ],
  };
}

function accuracyCells(r: RowSummary): string[] {
  const interval = r.seeds.length > 1 ? `${percent(Math.max(0, r.accuracy.low))} to ${percent(Math.min(1, r.accuracy.high))}` : '';
  const paper = r.benchmark === 'gta' ? [] : [4, 6].map((n) => r.paper?.[n]?.toFixed(2) ?? '');
  return [r.title, percent(r.accuracy.mean), interval, String(r.seeds.length), r.promptTokens.toFixed(0), r.prefillMs.toFixed(1), ...paper];
}

function measureCells(r: RowSummary): string[] {
  return [r.title, percent(r.policyInContext), percent(r.overrideAll), percent(r.overridePart), percent(r.unseenCells), percent(r.existence), percent(r.otherPolicies), r.referral?.toFixed(1) ?? '', r.branchingError?.toFixed(1) ?? ''];
}

function orderingSection(orderings: readonly Ordering[]): TableSection {
  return {
    heading: "The paper's orderings",
    tables: [{
      head: ['claim', '', 'verdict', 'lower', 'higher', 'p', 'seeds for / against'],
      rows: orderings.map(({ claim, verdict, test, ...setting }) => [claim, settingTitle(setting), verdict, ...(test === null ? ['', '', '', ''] : [percent(test.a), percent(test.b), test.p < 1e-4 ? '< 0.0001' : test.p.toFixed(4), `${test.seeds.better} / ${test.seeds.worse}`])]),
    }],
  };
}
