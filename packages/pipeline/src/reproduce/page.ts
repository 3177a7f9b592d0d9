import type { Chart, TablePage, TableSection } from '@trimpi/eval';
import { type Baselines, type Ordering, type ReproduceResults, type RowSummary, settingOf } from './results.ts';
import { PAPER_MEASURES, ROWS, type RowName, rowTitle, type Setting, settingTitle } from './rows.ts';

const percent = (x: number | null | undefined) => (x === null || x === undefined || !Number.isFinite(x) ? '' : (100 * x).toFixed(1));
const TIMES = [['generation', 'generation'], ['reward', 'rewards'], ['rescoring', 're-scoring'], ['update', 'update'], ['outside_gpu', 'outside the GPU']] as const;

/** The table, the orderings and the baselines, for Markdown and for a page. Figures in per cent where no unit stands. */
export function resultsPage(results: ReproduceResults): TablePage {
  const settings = [...new Map(results.rows.map((r) => [settingTitle(r), r])).values()];
  return {
    title: `The paper's table at scale ${results.scale}`,
    paragraphs: [
      `ClevrPolicy in words (M: with pictures) and GTAPolicy; rows made on ${Object.entries(results.adapters).map(([adapter, rows]) => `${adapter} (${rows})`).join(', ')}, from the base whose weights have the SHA-256 ${Object.entries(results.bases).map(([base, rows]) => `${base}... (${rows})`).join(', ')}. Accuracy in per cent on unseen questions, mean over seeds with Student's 95 % interval; paired tests are exact McNemar tests over the questions of all seeds. Chance is one over the number of a policy's cases that a scene can reach, as a mean over policies (GTAPolicy: over the number of a tool's versions, as a mean over questions).`,
      ...(results.missing.length === 0 ? [] : [`Not there yet: ${results.missing.join(', ')}.`]),
    ],
    sections: [
      ...(settings.length < 2 ? [] : [overviewSection(settings, results)]),
      ...settings.map((setting) => settingSection(setting, results)),
      ...(results.baselines.length === 0 ? [] : [lengthSection(settings, results)]),
      ...(results.orderings.length === 0 ? [] : [orderingSection(results.orderings)]),
      { heading: 'Settings', data: results.settings },
    ],
  };
}

/** Rows whose accuracy is drawn over the depths. */
const DRAWN: readonly RowName[] = ['in-context', 'cot-sft', 'cot-sft+grpo', 'cot-sft+dapo', 'cot-sft+poro-grpo', 'cot-sft+poro-dapo', 'vm-cpt+cot-sft+poro-grpo', 'vm-cpt+cot-sft+poro-dapo'];

/** Accuracies of all settings side by side, as the paper's tables 2 and 8, and drawn over the depths. */
function overviewSection(settings: readonly Setting[], { rows, baselines }: ReproduceResults): TableSection {
  const find = (row: RowName, setting: Setting) => rows.find((r) => r.row === row && settingTitle(r) === settingTitle(setting));
  const chance = settings.map((setting) => meanOf(baselinesOf(baselines, setting), (b) => b.chance));
  const depthCharts = (['clevr-t', 'clevr-m'] as const).flatMap((benchmark): Chart[] => {
    const own = settings.filter((s) => s.benchmark === benchmark);
    if (own.length < 2) return [];
    const lines = DRAWN.map((row) => ({ name: rowTitle(row), values: own.map((s) => find(row, s)?.accuracy.mean) })).filter(({ values }) => values.some((v) => v !== undefined));
    return [{ labels: own.map(settingTitle), lines, caption: 'Mean accuracy by the depth of the policies: in context with the policy in the prompt, the others without.' }];
  });
  return {
    heading: 'All parts',
    charts: depthCharts,
    tables: [{
      caption: 'Mean accuracy in per cent; intervals, seeds and the paper\'s figures are below.',
      head: ['', ...settings.map(settingTitle)],
      rows: [
        ...ROWS.filter((row) => settings.some((s) => find(row, s) !== undefined)).map((row) => [rowTitle(row), ...settings.map((s) => percent(find(row, s)?.accuracy.mean))]),
        ...(baselines.length === 0 ? [] : [['Chance', ...chance.map(percent)]]),
      ],
    }],
  };
}

/** The paper's figure 6: what internalising saves. */
function lengthSection(settings: readonly Setting[], { scale, baselines }: ReproduceResults): TableSection {
  const less = (withPolicy: number, without: number) => percent(1 - without / withPolicy);
  return {
    heading: 'Prompts with the policy and without',
    paragraphs: [`${scale === 'full' ? 'Tokens' : "Tokens of the same policies in the paper's prose (same tokenizer)"}, the question's image included, and the time from prompt to first token, where such a prompt fits the model. Times are of this machine with what it did beside: a few dozen milliseconds are mostly the start of a run of kernels.`],
    tables: [{
      head: ['', 'tokens with', 'without', 'fewer, %', 'prefill ms with', 'without', 'less, %'],
      rows: [
        ...settings.flatMap((setting) => {
          const own = baselinesOf(baselines, setting).map((b) => b.canonical);
          if (own.length === 0) return [];
          const [aware, free] = [meanOf(own, (c) => c.withPolicy), meanOf(own, (c) => c.withoutPolicy)];
          const timed = own.flatMap((c) => c.prefillMs ?? []);
          const [slow, fast] = [meanOf(timed, (t) => t.withPolicy), meanOf(timed, (t) => t.withoutPolicy)];
          return [[settingTitle(setting), aware.toFixed(0), free.toFixed(0), less(aware, free), ...(timed.length === 0 ? ['', '', ''] : [slow.toFixed(1), fast.toFixed(1), less(slow, fast)])]];
        }),
        ['The paper, 7B (figure 6), at most', '', '', '93.9', '', '', '85.7'],
      ],
    }],
  };
}

const baselinesOf = (baselines: readonly Baselines[], setting: Setting) => baselines.filter((b) => settingTitle(settingOf(b)) === settingTitle(setting));
const meanOf = <T>(values: readonly T[], get: (value: T) => number) => values.reduce((sum, v) => sum + get(v), 0) / values.length;

function settingSection(setting: Setting, { rows: all, baselines }: ReproduceResults): TableSection {
  const heading = settingTitle(setting);
  const gta = setting.benchmark === 'gta';
  const rows = all.filter((r) => settingTitle(r) === heading);
  const base = baselinesOf(baselines, setting);
  const calls = rows.flatMap((row) => (row.calls === undefined ? [] : [{ row, calls: row.calls }]));
  const rl = rows.flatMap((row) => (row.rl === undefined ? [] : [{ row, rl: row.rl }]));
  return {
    heading,
    charts: [
      {
        bars: rows.map((r) => ({ title: r.title, accuracy: r.accuracy.mean, low: r.seeds.length > 1 ? Math.max(0, r.accuracy.low) : r.accuracy.mean, high: r.seeds.length > 1 ? Math.min(1, r.accuracy.high) : r.accuracy.mean, aside: r.row === 'in-context' })),
        ...(base.length === 0 ? {} : { chance: meanOf(base, (b) => b.chance) }),
        caption: 'Accuracy, mean over seeds with 95 % intervals. All rows answer without the policy but the grey one, which has it in the prompt. Dashed: chance.',
      },
      {
        labels: rows.map((r) => r.title),
        dots: [
          { name: 'policy put back', values: rows.map((r) => r.policyInContext) },
          { name: 'overridden: the new policy', values: rows.map((r) => r.overrideAll) },
          { name: 'overridden: still the old', values: rows.map((r) => r.stubbornAll) },
          { name: 'other policies', values: rows.map((r) => r.otherPolicies) },
          { name: 'existence', values: rows.map((r) => r.existence) },
        ],
        caption: 'The same models with their policy put back into the prompt; with another one under its name, by whose answers; with policies that they never saw; and existence questions. Means over seeds.',
      },
    ],
    tables: [
      accuracyTable(rows, base),
      ...(calls.length === 0 ? [] : [{
        caption: 'Scores of calls: accuracy above counts a call with all its arguments; the overall score is the mean of the two others, as in the paper:',
        head: ['', 'tool and version', 'paper, 7B', 'arguments', 'paper, 7B', 'overall', 'paper, 7B'],
        rows: calls.map(({ row, calls: c }) => [row.title, percent(c.tool), points(paperOf(row)?.tool), percent(c.arguments), points(paperOf(row)?.arguments), percent(c.overall), points(row.paper?.[0])]),
      }]),
      columnTable(
        `The same models with the policy put back into the prompt; with another policy under the old name in the prompt (a new tree, or part of one): answers by the new policy, and still by the old one${rows.some((r) => r.unseenCells !== null) ? '; and on cases that no reasoned example shows' : ''}. ${gta ? "The paper's figures are overall scores; ours count whole calls, which are at most as many, and have the overall score beside them where the policy is put back" : "The paper's figures are of N=6"}:`,
        measureColumns(gta ? 'paper, 7B, overall' : 'paper, 7B, N=6'), rows),
      columnTable(
        `What is left of what the base could do: near-miss existence questions, policies never seen in context${rows.some((r) => r.textTask !== null) ? ', lookups in a text without a picture' : ''}. The paper asks other benchmarks after training${gta ? '' : ' at N=6'}; it has no row of the base that we could read:`,
        FORGETTING, rows),
      ...(rows.every((r) => r.referral === null) ? [] : [columnTable(
        `How right their reasoning is about the policy${gta ? '' : `: referral; how often condition ids are cited against how often they should be (branching error: the mean difference of an id's counts, which grow with the questions: ${rows[0]!.questions} a seed here, ${PAPER_QUESTIONS.toLocaleString('en')} in the paper, whose figure 14 has 39.7 after CoT SFT, 38.7 with GRPO, 7.1 for TriMPI); and the share of cited ids that the policy lacks`}:`,
        reasoningColumns(gta ? 'paper, 7B' : 'paper, 7B, N=6'), rows)]),
      ...(rl.length === 0 ? [] : [{
        caption: "What RL learnt from (accuracies of sampled rollouts in the last quarter of the steps), and the shares of a step's time:",
        head: ['', 'rollouts', 'groups with advantage', 'policy-free', 'policy-aware', ...TIMES.map(([, name]) => name), 'minutes'],
        rows: rl.map(({ row, rl: x }) => [row.title, x.rollouts.toFixed(0), percent(x.groupsWithAdvantage), percent(x.accuracyFree), percent(x.accuracyPolicy), ...TIMES.map(([key]) => percent(x.time[key])), (row.trainSeconds / 60).toFixed(1)]),
      }]),
    ],
  };
}

type Table = NonNullable<TableSection['tables']>[number];

/** Accuracies, with what needs no policy beneath them. */
function accuracyTable(rows: readonly RowSummary[], base: readonly Baselines[]): Table {
  const { benchmark, n: depth } = rows[0]!;
  const depths = benchmark === 'gta' ? [] : depth < 4 ? [2, 4, 6] : [4, 6];
  const small = benchmark !== 'gta' && depth === 6;
  const paper = depths.map((n, i) => `${i === 0 ? 'paper, 7B, ' : ''}N=${n}`);
  const baselines = ([
    ['Chance', (b) => b.chance], ['Majority answer', (b) => b.majority],
    ['Shortcut: number of objects', (b) => b.objectCount], ['Shortcut: histogram of attributes', (b) => b.histogram],
  ] satisfies [string, (b: Baselines) => number | undefined][]).flatMap(([title, get]) => {
    const values = base.flatMap((b) => get(b) ?? []);
    return values.length === 0 ? [] : [[title, percent(values.reduce((s, x) => s + x, 0) / values.length), '', String(values.length), '', '', ...depths.map(() => ''), ...(small ? [''] : [])]];
  });
  return {
    ...(baselines.length > 2 ? { caption: 'Shortcuts are learnt from all training answers without the policy.' } : {}),
    head: ['', 'accuracy', '95 % interval', 'seeds', 'prompt tokens', 'prefill ms', ...paper, ...(small ? ['3B, N=6'] : [])],
    rows: [
      ...rows.map((r) => {
        const interval = r.seeds.length > 1 ? `${percent(Math.max(0, r.accuracy.low))} to ${percent(Math.min(1, r.accuracy.high))}` : '';
        return [r.title, percent(r.accuracy.mean), interval, String(r.seeds.length), r.promptTokens.toFixed(0), r.prefillMs.toFixed(1), ...depths.map((n) => points(r.paper?.[n])), ...(small ? [points(paperOf(r)?.small)] : [])];
      }),
      ...baselines,
    ],
  };
}

/** Test questions of the paper's ClevrPolicy. */
const PAPER_QUESTIONS = 2000;

type Column = readonly [head: string, cell: (r: RowSummary) => string];

/** Columns in which no row has anything are left out. */
function columnTable(caption: string, columns: readonly Column[], rows: readonly RowSummary[]): Table {
  const shown = columns.filter(([, cell]) => rows.some((r) => cell(r) !== ''));
  return { caption, head: ['', ...shown.map(([head]) => head)], rows: rows.map((r) => [r.title, ...shown.map(([, cell]) => cell(r))]) };
}

const paperOf = (r: RowSummary) => PAPER_MEASURES[r.benchmark][r.row];
/** A figure of the paper, in per cent or points. */
const points = (x: number | undefined) => x?.toFixed(2) ?? '';

function measureColumns(paper: string): readonly Column[] {
  return [
    ['policy put back', (r) => percent(r.policyInContext)], ['overall', (r) => percent(r.callsInContext?.overall)], [paper, (r) => points(paperOf(r)?.policyInContext)],
    ['override all', (r) => percent(r.overrideAll)], [paper, (r) => points(paperOf(r)?.override)], ['all: old answer', (r) => percent(r.stubbornAll)],
    ['override part', (r) => percent(r.overridePart)], ['part: old answer', (r) => percent(r.stubbornPart)],
    ['unseen cells', (r) => percent(r.unseenCells)],
  ];
}

const FORGETTING: readonly Column[] = [
  ['existence', (r) => percent(r.existence)], ['other policies', (r) => percent(r.otherPolicies)], ['text task', (r) => percent(r.textTask)],
  ['paper, 7B: MMMU-Pro', (r) => points(paperOf(r)?.mmmuPro)], ['MMLU-Pro', (r) => points(paperOf(r)?.mmluPro)], ['WildGuardTest', (r) => points(paperOf(r)?.wildGuard)],
];

function reasoningColumns(paper: string): readonly Column[] {
  return [
    ['referral 0-10', (r) => r.referral?.toFixed(1) ?? ''], [paper, (r) => points(paperOf(r)?.referral)],
    ['branching error', (r) => r.branchingError?.toFixed(1) ?? ''], [`for ${PAPER_QUESTIONS.toLocaleString('en')} questions`, (r) => (r.branchingError === null ? '' : ((r.branchingError * PAPER_QUESTIONS) / r.questions).toFixed(1))], ['ids that the policy lacks, %', (r) => percent(r.branchingErrorRate)],
  ];
}

function orderingSection(orderings: readonly Ordering[]): TableSection {
  const p = (x: number | null) => (x === null ? '' : x < 1e-4 ? '< 0.0001' : x.toFixed(4));
  const seeds = ({ better, worse, equal }: NonNullable<Ordering['test']>['seeds']) => `${better} / ${worse}${equal === 0 ? '' : ` (${equal} equal)`}`;
  return {
    heading: "The paper's orderings",
    paragraphs: ["A claim is reproduced (or the contrary is) where McNemar's p, adjusted by Holm over the claims of its part of the table, is below 0.05 and the seeds agree: all of them, two at least, on that side, or the t-test of their accuracies (p, seeds) below 0.05. McNemar's test takes questions as independent, which those of one seed are not. The gap is judged by Student's interval over the seeds."],
    tables: [{
      head: ['claim', '', 'verdict', 'lower', 'higher', 'p', 'p, Holm', 'p, seeds', 'seeds for / against'],
      rows: orderings.map(({ claim, verdict, test, pHolm, growth, ...setting }) => [
        claim, settingTitle(setting), verdict,
        ...(test === null ? ['', '', '', '', '', growth === undefined ? '' : seeds(growth.seeds)] : [percent(test.a), percent(test.b), p(test.p), p(pHolm ?? null), p(test.pSeeds), seeds(test.seeds)]),
      ]),
    }],
  };
}
