/** @file From single rows to the table: means over seeds, paired tests, and the paper's orderings. */
import { holm, type MeanInterval, meanInterval, pairedTest, type PairedTest, type RlReport, type Verdict, verdict } from '@trimpi/eval';
import type { CanonicalReport } from '../evaluation/canonical.ts';
import { type CallScores, mean, type SuiteReport } from '../evaluation/suite.ts';
import { type Benchmark, PAPER, ROWS, type RowName, rowTitle, type Setting, settingTitle } from './rows.ts';

/** One row of one seed, as its file holds it. */
export interface RowResult {
  readonly row: RowName;
  /** Absent in rows from before there were others than `clevr-t`. */
  readonly benchmark?: Benchmark;
  readonly n: number;
  readonly seed: number;
  /** What it was made on; rows of different adapters may meet in one table. */
  readonly adapter: string;
  /** The base it was made from (`baseFingerprint`). Absent in rows from before they named it. */
  readonly base?: string;
  readonly suite: SuiteReport;
  readonly rl?: RlReport;
  /** Seconds of this row's own training and evaluation. */
  readonly trainSeconds: number;
  readonly evaluationSeconds: number;
}

export interface Baselines {
  readonly benchmark?: Benchmark;
  readonly n: number;
  readonly seed: number;
  readonly chance: number;
  readonly majority: number;
  /** Of ClevrPolicy. */
  readonly objectCount?: number;
  readonly histogram?: number;
  /** If the policies were in the paper's prose. */
  readonly canonical: CanonicalReport;
}

export interface RowSummary extends Setting {
  readonly row: RowName;
  readonly title: string;
  readonly seeds: readonly number[];
  /** The figure of the table: without the policy in the prompt, but for the base in context. */
  readonly accuracy: MeanInterval;
  readonly policyInContext: number;
  readonly overrideAll: number;
  /** Null where the benchmark has no such measure. */
  readonly overridePart: number | null;
  /** Shares of an overriding policy's questions that are still answered by the old one. */
  readonly stubbornAll: number;
  readonly stubbornPart: number | null;
  readonly referral: number | null;
  readonly branchingError: number | null;
  /** Over how many questions a seed: it counts, so it grows with them. */
  readonly questions: number;
  /** Mean share of cited condition ids that the policy lacks. */
  readonly branchingErrorRate: number | null;
  /** Of GTAPolicy, under the same condition as `accuracy`. */
  readonly calls?: CallScores;
  /** The same with the policy put back into the prompt. */
  readonly callsInContext?: CallScores;
  readonly existence: number;
  readonly otherPolicies: number;
  /** Lookup drills; null where no row was asked them. */
  readonly textTask: number | null;
  /** Over the seeds that have such questions; null when none has. */
  readonly unseenCells: number | null;
  readonly promptTokens: number;
  readonly prefillMs: number;
  readonly rl?: { readonly groupsWithAdvantage: number; readonly accuracyFree: number; readonly accuracyPolicy: number | null; readonly rollouts: number; readonly time: Readonly<Record<string, number>> };
  readonly trainSeconds: number;
  /** The paper's figures in per cent, by its depth N (0: GTAPolicy). */
  readonly paper: Readonly<Record<number, number>> | null;
}

export interface Ordering extends Setting {
  readonly claim: string;
  readonly test: PairedTest | null;
  /** The test's p, adjusted by Holm over the claims of its part of the table: what the verdict goes by. */
  readonly pHolm?: number;
  /** Of a claim about two depths: the change from one to the next, by seeds. */
  readonly growth?: MeanInterval & { readonly seeds: PairedTest['seeds'] };
  readonly verdict: Verdict;
}

export interface ReproduceResults {
  readonly scale: string;
  /** What the rows were made on, with how many rows. */
  readonly adapters: Readonly<Record<string, number>>;
  /** The bases they were made from, likewise. */
  readonly bases: Readonly<Record<string, number>>;
  readonly baselines: readonly Baselines[];
  readonly rows: readonly RowSummary[];
  readonly orderings: readonly Ordering[];
  /** Rows that were asked for and are not there yet. */
  readonly missing: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Outcomes that the table's figure counts. */
function headline(r: RowResult): readonly boolean[] {
  return (r.row === 'in-context' ? r.suite.policyInContext : r.suite.accuracy).correct;
}

const meanCalls = (calls: readonly CallScores[]): CallScores => ({ tool: mean(calls.map((c) => c.tool)), arguments: mean(calls.map((c) => c.arguments)), overall: mean(calls.map((c) => c.overall)) });

const share = (x: readonly boolean[]) => x.filter(Boolean).length / x.length;

/** The setting of a row or of baselines. */
export function settingOf({ benchmark = 'clevr-t', n }: Pick<RowResult, 'benchmark' | 'n'>): Setting {
  return { benchmark, n };
}

/** All settings of results, by benchmark and depth. */
function settingsOf(results: readonly RowResult[]): Setting[] {
  const found = new Map(results.map((r) => [settingTitle(settingOf(r)), settingOf(r)]));
  return [...found.values()].toSorted((a, b) => (a.benchmark === b.benchmark ? a.n - b.n : a.benchmark === 'gta' ? 1 : b.benchmark === 'gta' ? -1 : a.benchmark < b.benchmark ? 1 : -1));
}

const within = (results: readonly RowResult[], setting: Setting) => results.filter((r) => settingTitle(settingOf(r)) === settingTitle(setting));

export function summariseRows(results: readonly RowResult[]): RowSummary[] {
  const out: RowSummary[] = [];
  for (const setting of settingsOf(results)) {
    for (const row of ROWS) {
      const own = within(results, setting).filter((r) => r.row === row).toSorted((a, b) => a.seed - b.seed);
      if (own.length === 0) continue;
      const of = (get: (s: SuiteReport) => number) => mean(own.map((r) => get(r.suite)));
      const known = (get: (s: SuiteReport) => number | null | undefined) => {
        const values = own.flatMap((r) => get(r.suite) ?? []);
        return values.length === 0 ? null : mean(values);
      };
      const calls = own.flatMap((r) => r.suite.calls ?? []);
      const rl = own.flatMap((r) => (r.rl === undefined ? [] : [r.rl]));
      const policy = rl.flatMap((r) => (r.accuracyPolicy === undefined ? [] : [r.accuracyPolicy]));
      out.push({
        ...setting, row, title: rowTitle(row), seeds: own.map((r) => r.seed),
        accuracy: meanInterval(own.map((r) => share(headline(r)))),
        policyInContext: of((s) => s.policyInContext.accuracy),
        overrideAll: of((s) => s.override.all.accuracy),
        overridePart: known((s) => s.override.part?.accuracy),
        stubbornAll: of((s) => s.override.all.stubborn),
        stubbornPart: known((s) => s.override.part?.stubborn),
        referral: known((s) => s.referral),
        branchingError: known((s) => s.branchingError),
        questions: of((s) => s.accuracy.n),
        branchingErrorRate: known((s) => s.branchingErrorRate),
        ...(calls.length === 0 ? {} : { calls: meanCalls(calls.map((c) => (row === 'in-context' ? c.policyInContext : c.deployed))), callsInContext: meanCalls(calls.map((c) => c.policyInContext)) }),
        existence: of((s) => s.forgetting.existence.accuracy),
        otherPolicies: of((s) => s.forgetting.otherPolicies.accuracy),
        textTask: known((s) => s.forgetting.textTask?.accuracy),
        unseenCells: known((s) => s.unseenCells?.accuracy),
        promptTokens: of((s) => (row === 'in-context' ? s.promptTokensWithPolicy : s.promptTokens)),
        prefillMs: of((s) => (row === 'in-context' ? s.prefillMsWithPolicy : s.prefillMs)),
        ...(rl.length === 0 ? {} : {
          rl: {
            groupsWithAdvantage: mean(rl.map((r) => r.groupsWithAdvantage)),
            accuracyFree: mean(rl.map((r) => r.accuracyFree)),
            accuracyPolicy: policy.length === 0 ? null : mean(policy),
            rollouts: mean(rl.map((r) => r.rollouts)),
            time: Object.fromEntries(Object.keys(rl[0]!.time).map((k) => [k, mean(rl.map((r) => r.time[k] ?? 0))])),
          },
        }),
        trainSeconds: mean(own.map((r) => r.trainSeconds)),
        paper: PAPER[setting.benchmark][row] ?? null,
      });
    }
  }
  return out;
}

/** b is above a, on the same questions. */
interface Form {
  readonly claim: string;
  readonly a: readonly [RowName, (r: RowResult) => readonly boolean[]];
  readonly b: readonly [RowName, (r: RowResult) => readonly boolean[]];
}

/** A claim of the paper. */
interface Claim {
  /** Where the paper makes it, or has no figures that say otherwise; everywhere by default. */
  readonly of?: (setting: Setting) => boolean;
  /** The first of them whose rows are there is tested. */
  readonly forms: readonly Form[];
}

/** The paper has DAPO above GRPO on ClevrPolicy, but for N=4 in words (98.25 and 97.15; with PolicyRollout 99.15 and 97.3), and GRPO above DAPO on GTAPolicy. */
const GTA = ({ benchmark }: Setting) => benchmark === 'gta';
const WORDS_4 = ({ benchmark, n }: Setting) => benchmark === 'clevr-t' && n === 4;
const OTHER_CLEVR = (setting: Setting) => !GTA(setting) && !WORDS_4(setting);
const PICTURES_6 = ({ benchmark, n }: Setting) => benchmark === 'clevr-m' && n === 6;

const TRIMPI = 'vm-cpt+cot-sft';
type RlStart = typeof TRIMPI | 'cot-sft';

const above = (a: RowName, b: RowName, claim = `${rowTitle(a)} < ${rowTitle(b)}`, of?: Claim['of']): Claim => ({ ...(of === undefined ? {} : { of }), forms: [{ claim, a: [a, headline], b: [b, headline] }] });
/** As the paper makes it, after VM-CPT and CoT SFT; after CoT SFT alone where those rows are missing. */
const afterEither = (words: (after: string) => string, form: (start: RlStart) => Omit<Form, 'claim'>, of?: Claim['of']): Claim => ({
  ...(of === undefined ? {} : { of }),
  forms: [{ claim: words('after VM-CPT + CoT SFT'), ...form(TRIMPI) }, { claim: words('after CoT SFT, in the paper after VM-CPT'), ...form('cot-sft') }],
});

const CLAIMS: readonly Claim[] = [
  above('direct-sft', 'cot-sft', undefined, (setting) => !PICTURES_6(setting)),
  above('direct-sft', 'cot-sft', 'Direct SFT < CoT SFT (the paper has it the other way round here, 14.55 and 14.3)', PICTURES_6),
  above('cot-sft', TRIMPI),
  above('cpt+cot-sft', TRIMPI, 'Masking visual tokens in continued pre-training helps (not tried in the paper)'),
  above('cot-sft', 'cot-sft+grpo'),
  above('cot-sft', 'cot-sft+dapo'),
  above('cot-sft+grpo', `${TRIMPI}+grpo`),
  above('cot-sft+dapo', `${TRIMPI}+dapo`),
  above('cot-sft+grpo', 'cot-sft+poro-grpo', 'PolicyRollout over GRPO after CoT SFT (in the paper after VM-CPT)'),
  above('cot-sft+dapo', 'cot-sft+poro-dapo', 'PolicyRollout over DAPO after CoT SFT (in the paper after VM-CPT)'),
  above(`${TRIMPI}+grpo`, `${TRIMPI}+poro-grpo`),
  above(`${TRIMPI}+dapo`, `${TRIMPI}+poro-dapo`),
  above('cot-sft+poro-grpo', `${TRIMPI}+poro-grpo`, 'VM-CPT before PolicyRollout on GRPO helps (not tried in the paper)'),
  above('cot-sft+poro-dapo', `${TRIMPI}+poro-dapo`, 'VM-CPT before PolicyRollout on DAPO helps (not tried in the paper)'),
  above('cot-sft+grpo', 'cot-sft+dapo', 'DAPO over GRPO after CoT SFT (in the paper at N=6, in words not at N=4)', OTHER_CLEVR),
  afterEither((after) => `DAPO over GRPO with PolicyRollout (${after}; in the paper at N=6, in words not at N=4)`, (start) => ({ a: [`${start}+poro-grpo`, headline], b: [`${start}+poro-dapo`, headline] }), OTHER_CLEVR),
  above('cot-sft+dapo', 'cot-sft+grpo', 'GRPO over DAPO after CoT SFT (in the paper in words at N=4, at N=6 not)', WORDS_4),
  afterEither((after) => `GRPO over DAPO with PolicyRollout (${after}; in the paper in words at N=4, at N=6 not)`, (start) => ({ a: [`${start}+poro-dapo`, headline], b: [`${start}+poro-grpo`, headline] }), WORDS_4),
  above('cot-sft+dapo', 'cot-sft+grpo', 'GRPO over DAPO after CoT SFT (in the paper with PolicyRollout)', GTA),
  afterEither((after) => `GRPO over DAPO with PolicyRollout (${after})`, (start) => ({ a: [`${start}+poro-dapo`, headline], b: [`${start}+poro-grpo`, headline] }), GTA),
  afterEither((after) => `Putting the policy back lowers a model that internalised it (PoRo-GRPO ${after})`, (start) => ({ a: [`${start}+poro-grpo`, (r) => r.suite.policyInContext.correct], b: [`${start}+poro-grpo`, (r) => r.suite.accuracy.correct] })),
  afterEither((after) => `PolicyRollout follows an overriding policy better than GRPO (both ${after}; in the paper GRPO is after CoT SFT alone)`, (start) => ({ a: [`${start}+grpo`, (r) => r.suite.override.all.correct], b: [`${start}+poro-grpo`, (r) => r.suite.override.all.correct] })),
];

export function testOrderings(results: readonly RowResult[]): Ordering[] {
  const out: Ordering[] = [];
  const settings = settingsOf(results);
  const find = (setting: Setting, row: RowName, seed: number) => within(results, setting).find((r) => r.row === row && r.seed === seed);
  const seedsOf = (setting: Setting) => [...new Set(within(results, setting).map((r) => r.seed))];
  // Without the policy in the prompt nothing shows whether it has pictures: such rows of M are T's, and are judged there.
  const judged = new Set<string>();
  for (const setting of settings) {
    const tests: { readonly claim: string; readonly test: PairedTest }[] = [];
    for (const { of, forms } of CLAIMS) {
      if (of?.(setting) === false) continue;
      const pairsOf = ({ a, b }: Form) => seedsOf(setting).flatMap((seed) => {
        const [x, y] = [find(setting, a[0], seed), find(setting, b[0], seed)];
        return x === undefined || y === undefined ? [] : [[a[1](x), b[1](y)] as const];
      });
      const found = forms.map((form) => ({ form, pairs: pairsOf(form) })).find(({ pairs }) => pairs.length > 0);
      if (found === undefined) continue;
      // The same rows, whichever of them is claimed to be above.
      const { a, b } = found.form;
      const sides = [[a[0], found.pairs.map((p) => p[0])], [b[0], found.pairs.map((p) => p[1])]] as const;
      const key = JSON.stringify([setting.n, ...(a[0] > b[0] ? sides.toReversed() : sides)]);
      if (judged.has(key)) continue;
      judged.add(key);
      tests.push({ claim: found.form.claim, test: pairedTest(found.pairs.map((p) => p[0]), found.pairs.map((p) => p[1])) });
    }
    const adjusted = holm(tests.map(({ test }) => test.p));
    tests.forEach(({ claim, test }, i) => out.push({ ...setting, claim, test, pHolm: adjusted[i]!, verdict: verdict(test, { p: adjusted[i]! }) }));
  }
  // The gap between PolicyRollout and GRPO, seed by seed, from one depth to the next.
  settings.slice(1).forEach((setting, i) => {
    const shallow = settings[i]!;
    if (shallow.benchmark !== setting.benchmark) return;
    const growthAfter = (start: RlStart) => {
      const gap = (of: Setting, seed: number) => {
        const [x, y] = [find(of, `${start}+grpo`, seed), find(of, `${start}+poro-grpo`, seed)];
        return x === undefined || y === undefined ? undefined : y.suite.accuracy.accuracy - x.suite.accuracy.accuracy;
      };
      return seedsOf(setting).flatMap((seed) => {
        const [x, y] = [gap(shallow, seed), gap(setting, seed)];
        // Shares of some hundred questions: what is below is rounding.
        return x === undefined || y === undefined ? [] : [Math.round((y - x) * 1e9) / 1e9];
      });
    };
    const found = ([[TRIMPI, 'after VM-CPT + CoT SFT'], ['cot-sft', 'after CoT SFT, in the paper after VM-CPT']] as const).map(([start, after]) => ({ after, growth: growthAfter(start) })).find(({ growth }) => growth.length > 0);
    if (found === undefined) return;
    const by = meanInterval(found.growth);
    const count = (sign: number) => found.growth.filter((x) => Math.sign(x) === sign).length;
    const points = (x: number) => (100 * x).toFixed(1);
    out.push({
      ...setting,
      claim: `The gap between PoRo-GRPO and GRPO grows from N=${shallow.n} to N=${setting.n} (${found.after}; here by ${points(by.mean)} points${by.n === 1 ? '' : `, ${points(by.low)} to ${points(by.high)}`})`,
      test: null, growth: { ...by, seeds: { better: count(1), worse: count(-1), equal: count(0) } },
      verdict: by.low > 0 ? 'reproduced' : by.high < 0 ? 'not reproduced' : 'not significant',
    });
  });
  return out;
}
