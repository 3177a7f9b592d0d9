import { createHash } from 'node:crypto';
import { clevrOverride } from '@trimpi/datasets';
import { recipeWords, SMALL_BASE_RECIPE } from '../src/base/recipes.ts';
import { gtaDataset, type SuiteReport } from '../src/index.ts';
import { floatTensor, memoryFiles, serializeSafetensors } from '@trimpi/model';
import { baseFingerprint } from '../src/fingerprint.ts';
import { PAPER_MEASURES, settingTitle } from '../src/reproduce/rows.ts';
import { secondsLeft } from '../src/reproduce/time-left.ts';
import { renderTables, tablesMarkdown } from '@trimpi/eval';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BENCHMARKS, memoryStorage, PAPER, type ReproduceEvent, type ReproduceOptions, reproduceRows, resultsPage, rlOf, ROWS, type RowName, type RowResult, rowTitle, runDataset, scaleSettings, summariseRows, testOrderings } from '../src/index.ts';
import { folderStorage } from '../src/node.ts';
import { randomBase } from './random-base.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
const base = await randomBase(engine);
afterAll(() => device.dispose());

const settings = {
  policies: 2, trainPerPolicy: 6, reasonedPerPolicy: 2, testSize: 8, suiteSize: 4, saveSteps: 2,
  vmCpt: { steps: 2, batchSize: 2, learningRate: 1e-3 },
  sft: { steps: 2, batchSize: 2, learningRate: 3e-3, r: 4, loraAlpha: 8 },
  directSft: { steps: 2, batchSize: 2, learningRate: 3e-3, r: 4, loraAlpha: 8 },
  rl: { steps: 2, learningRate: 1e-3, promptsPerStep: 2, rollouts: 4, temperature: 1, maxNewTokens: 8 },
};
const rows: RowName[] = ['in-context', 'cot-sft', 'vm-cpt+cot-sft', 'cpt+cot-sft', 'cot-sft+grpo', 'vm-cpt+cot-sft+grpo', 'vm-cpt+cot-sft+poro-grpo', 'vm-cpt+cot-sft+poro-dapo'];
type Storage = ReturnType<typeof memoryStorage>;
const go = (storage: Storage, more: Partial<ReproduceOptions> = {}) => reproduceRows({ scale: 'tiny', n: 2, seeds: [1, 2], rows, engine, adapterName: 'test', base, storage, settings, ...more });
const timeless = (storage: Storage) =>
  [...storage.files].filter(([f]) => /\/[^/]*(in-context|sft|po)\.json$/.test(f)).map(([f, data]) => {
    const r = JSON.parse(new TextDecoder().decode(data)) as RowResult;
    return [f, { ...r, trainSeconds: 0, evaluationSeconds: 0, suite: { ...r.suite, prefillMs: 0, prefillMsWithPolicy: 0 }, rl: r.rl === undefined ? 0 : { ...r.rl, time: 0 } }] as const;
  }).sort((a, b) => (a[0] < b[0] ? -1 : 1));

const straight = memoryStorage();
const events: ReproduceEvent[] = [];
const results = await go(straight, { onEvent: (e) => events.push(e) });

describe('reproduce', () => {
  it('makes every row of every seed, what rows share once, and a table', () => {
    expect(results.missing).toEqual([]);
    expect(results.rows.map((r) => r.row)).toEqual(ROWS.filter((r) => rows.includes(r)));
    for (const row of results.rows) {
      expect(row.seeds).toEqual([1, 2]);
      expect(row.accuracy.n).toBe(2);
    }
    // Every stage once a seed, whichever rows need it.
    const begun = events.flatMap((e) => (e.type === 'step' && e.step === 1 ? [e.stage] : []));
    for (const stage of ['vm-cpt', 'cpt', 'cot-sft', 'vm-cpt+cot-sft', 'cot-sft+grpo', 'vm-cpt+cot-sft+poro-grpo']) expect(begun.filter((s) => s === stage), stage).toHaveLength(2);
    const arms = results.rows.filter((r) => r.rl !== undefined);
    expect(arms.map((r) => r.rl!.rollouts)).toEqual(arms.map(() => 16));
    expect(arms.find((r) => r.row.includes('poro'))!.rl!.accuracyPolicy).not.toBeNull();
    expect(results.baselines.map((b) => b.seed)).toEqual([1, 2]);
    expect(results.baselines[0]!.chance).toBe(0.25);
    const markdown = new TextDecoder().decode(straight.files.get('results.md'));
    for (const row of results.rows) expect(markdown).toContain(`| ${row.title} |`);
    expect(markdown).toContain('| Chance | 25.0 |  | 2 |');
    for (const baseline of ['Majority answer', 'Shortcut: number of objects', 'Shortcut: histogram of attributes']) expect(markdown).toMatch(new RegExp(`\\| ${baseline} \\| [\\d.]+ \\|`));
    expect(markdown).toMatch(/\| text task \|/);
    const html = new TextDecoder().decode(straight.files.get('results.html'));
    expect(html).toContain('<svg');
    expect(html).toContain('VM-CPT + CoT SFT + PoRo-GRPO');
    expect(results.orderings.map((o) => o.claim)).toContain('VM-CPT + CoT SFT + GRPO < VM-CPT + CoT SFT + PoRo-GRPO');
    expect(events.find((e) => e.type === 'row')).toMatchObject({ done: 0, of: 16, secondsLeft: null });
    expect(events.filter((e) => e.type === 'row').at(-1)).toMatchObject({ done: 15, secondsLeft: expect.any(Number) });
  });

  it('rows of two bases do not meet in one table: with another base it writes what is there, and makes nothing', async () => {
    const storage = memoryStorage();
    for (const [name, bytes] of straight.files) storage.files.set(name, bytes);
    const other = await randomBase(engine, undefined, 3);
    const [made] = Object.keys(results.bases);
    expect(results.bases).toEqual({ [made!]: 16 });
    expect(made).toBe(createHash('sha256').update(await (await base.open('model.safetensors'))!.read(0, await (await base.open('model.safetensors'))!.size())).digest('hex').slice(0, 12));
    expect((await go(storage, { base: other })).bases).toEqual(results.bases);
    await expect(go(storage, { base: other, seeds: [3] })).rejects.toMatchObject({ code: 'invalid-option', argument: 'base', message: expect.stringContaining(`a base of ${made}`) });
    expect([...storage.files.keys()].filter((file) => file.includes('seed-3'))).toEqual([]);
    expect(new TextDecoder().decode(straight.files.get('results.md'))).toContain(`SHA-256 ${made}... (16)`);
  });

  it('a base in several files is told by all its tensors, and one without files is named', async () => {
    const sharded = (first: number, third = 3) => memoryFiles({
      'model.safetensors.index.json': JSON.stringify({ weight_map: { b: 'two.safetensors', a: 'one.safetensors' } }),
      'one.safetensors': serializeSafetensors(new Map([['a', floatTensor(Float32Array.of(first, 2), [2])]])),
      'two.safetensors': serializeSafetensors(new Map([['b', floatTensor(Float32Array.of(third), [1])]])),
    });
    expect(await baseFingerprint(sharded(1))).toBe(createHash('sha256').update('a F32 2\n').update(Float32Array.of(1, 2)).update('b F32 1\n').update(Float32Array.of(3)).digest('hex').slice(0, 12));
    expect(await baseFingerprint(sharded(9))).not.toBe(await baseFingerprint(sharded(1)));
    expect(await baseFingerprint(sharded(1, 4))).not.toBe(await baseFingerprint(sharded(1)));
    await expect(baseFingerprint(memoryFiles({}))).rejects.toMatchObject({ name: 'ModelError', code: 'not-found' });
  });

  it('stopped in the middle of a stage and in an evaluation, it goes on and ends the same', async () => {
    const storage = memoryStorage();
    for (const when of [(e: ReproduceEvent) => e.type === 'step' && e.stage === 'cot-sft+grpo' && e.step === 1, (e: ReproduceEvent) => e.type === 'step' && e.stage === 'vm-cpt+cot-sft+poro-grpo' && e.step === 2]) {
      const stop = new AbortController();
      await expect(go(storage, { signal: stop.signal, onEvent: (e) => when(e) && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    }
    const again: ReproduceEvent[] = [];
    await go(storage, { onEvent: (e) => again.push(e) });
    expect(again.some((e) => e.type === 'note' && e.text === 'vm-cpt+cot-sft+poro-grpo goes on after step 2')).toBe(true);
    expect(timeless(storage)).toHaveLength(16);
    expect(timeless(storage)).toEqual(timeless(straight));
    // All there: nothing is trained again.
    const idle: ReproduceEvent[] = [];
    // Nor when the settings stand in another order.
    const before = JSON.parse(new TextDecoder().decode(storage.files.get('n2/settings.json'))) as Record<string, object>;
    const turned = (of: object) => Object.fromEntries(Object.entries(of).reverse());
    await storage.write('n2/settings.json', JSON.stringify(turned({ ...before, rl: turned(before['rl']!) })));
    const same = await go(storage, { onEvent: (e) => idle.push(e) });
    expect(idle).toEqual([]);
    expect(same.rows.map((r) => r.accuracy.mean)).toEqual(results.rows.map((r) => r.accuracy.mean));
  });

  it('asked for other seeds, depths or rows, it keeps all that lies there in the table', async () => {
    const storage = memoryStorage();
    for (const [file, data] of straight.files) await storage.write(file, data);
    const shown = (table: typeof results) => table.rows.map((r) => `${r.n} ${r.row} ${r.seeds.join(',')}`);
    const before = shown(results);
    const more = await go(storage, { n: 3, seeds: [5], rows: ['in-context'] });
    expect(shown(more)).toEqual([...before, '3 in-context 5']);
    expect(more.baselines.map((b) => [b.n, b.seed])).toEqual([[2, 1], [2, 2], [3, 5]]);
    expect(Object.keys(more.settings)).toEqual(['N=2', 'N=3']);
    const text = (file: string) => new TextDecoder().decode(storage.files.get(file));
    for (const file of ['results.json', 'results.md', 'results.html']) for (const words of ['N=2', 'N=3', 'VM-CPT + CoT SFT + PoRo-GRPO']) expect(text(file)).toContain(words);
    const whole = [text('results.json'), text('results.md')];
    // Part of what is there, asked for again, changes nothing.
    await go(storage, { seeds: [2], rows: ['cot-sft'] });
    expect([text('results.json'), text('results.md')]).toEqual(whole);
    // A seed is named before it has a row: what a run that is killed leaves behind is found whoever goes on with what.
    const stop = new AbortController();
    await expect(go(storage, { seeds: [9], rows: ['in-context'], signal: stop.signal, onEvent: (e) => e.type === 'row' && stop.abort() })).rejects.toMatchObject({ code: 'interrupted' });
    await storage.write('n2/seed-9/in-context.json', JSON.stringify({ ...(JSON.parse(new TextDecoder().decode(storage.files.get('n2/seed-1/in-context.json'))) as RowResult), seed: 9 }));
    expect(shown(await go(storage, { seeds: [1], rows: ['in-context'] }))).toContain('2 in-context 1,2,9');
    // Without results, the seeds that are asked for.
    storage.files.delete('results.json');
    expect(shown(await go(storage, { n: 3, seeds: [1, 2, 5], rows: [] as RowName[] }))).toEqual([...before, '3 in-context 5']);
    // What is there of another depth must have these settings, too.
    await expect(go(storage, { n: 3, seeds: [5], rows: ['in-context'], settings: { ...settings, testSize: 9 } })).rejects.toMatchObject({ code: 'invalid-option', argument: 'memory/n2/settings.json' });
  });

  it('refuses what it does not know, and another table in the same folder', async () => {
    await expect(async () => go(memoryStorage(), { rows: ['grpo' as RowName] })).rejects.toThrow(/rows: holds grpo/);
    await expect(async () => go(memoryStorage(), { seeds: [] })).rejects.toThrow(/seeds: is empty/);
    await expect(async () => go(memoryStorage(), { n: 7 })).rejects.toThrow(/n: holds 7/);
    await expect(go(straight, { settings: { ...settings, testSize: 9 } })).rejects.toMatchObject({ code: 'invalid-option' });
    expect(() => scaleSettings('huge' as 'full', { benchmark: 'clevr-t', n: 2 })).toThrow(/scale: is huge\./);
    await expect(async () => go(memoryStorage(), { benchmarks: ['clevr' as 'clevr-t'] })).rejects.toThrow(/benchmarks: holds clevr\./);
    await expect(go(memoryStorage(), { n: 5 })).rejects.toThrow(/base: random base does not know the word 1\.1\.1\.1\.1\.1 of N=5/);
  });

  it('the overriding policies are those of the run, under their names', () => {
    const data = runDataset({ ...settings, n: 2, seed: 1 });
    const { config } = data;
    const override = clevrOverride({ ...config, n: config.depths, test: 4, train: 0, reasoned: 0, crop: config.crop }, { kind: 'part' });
    expect(override.base.policies.map((p) => p.text)).toEqual(data.policies.map((p) => p.text));
    expect(override.policies.map((p) => p.name)).toEqual(data.policies.map((p) => p.name));
  });
});

describe('the other benchmarks', () => {
  const some: RowName[] = ['in-context', 'cot-sft', 'vm-cpt+cot-sft', 'vm-cpt+cot-sft+poro-grpo', 'vm-cpt+cot-sft+poro-dapo'];
  let storage: Storage;
  let table: Awaited<ReturnType<typeof go>>;
  beforeAll(async () => {
    storage = memoryStorage();
    const learned = await randomBase(engine, recipeWords(SMALL_BASE_RECIPE));
    table = await go(storage, { benchmarks: ['clevr-m', 'gta'], n: [2, 5], seeds: [1], rows: some, base: learned });
  }, 600_000);
  const rowOf = (folder: string, row: RowName) => JSON.parse(new TextDecoder().decode(storage.files.get(`${folder}/seed-1/${row}.json`))) as RowResult;

  it('policies with pictures at two depths, and GTAPolicy once, in one table', () => {
    expect(table.missing).toEqual([]);
    expect([...new Set(table.rows.map((r) => `${r.benchmark} ${r.n}`))]).toEqual(['clevr-m 2', 'clevr-m 5', 'gta 0']);
    expect(Object.keys(table.settings)).toEqual(['N=2, M', 'N=5, M', 'GTAPolicy']);
    const markdown = new TextDecoder().decode(storage.files.get('results.md'));
    for (const heading of ['## N=2, M', '## N=5, M', '## GTAPolicy']) expect(markdown).toContain(heading);
    expect(markdown).toContain('| tool and version | paper, 7B | arguments | paper, 7B | overall |');
  });

  it('a policy in the prompt takes its words, and four cells and two marks for each picture', () => {
    for (const n of [2, 5]) {
      const { policies } = runDataset({ ...settings, n, seed: 1, variant: 'm' });
      const words = policies.map((p) => p.text.split(' ').length + 5 * p.images.length);
      const { suite } = rowOf(`n${n}m`, 'in-context');
      expect(policies.every((p) => p.images.length > 0)).toBe(true);
      expect(suite.promptTokensWithPolicy - suite.promptTokens).toBeCloseTo((words[0]! + words[1]!) / 2, 9);
    }
  });

  it('GTAPolicy: scores of calls, other rules in context, the slice of unseen cases; what only trees have is absent', () => {
    const { suite } = rowOf('gta', 'in-context');
    const data = gtaDataset({ ...settings, seed: 1 });
    for (const scores of Object.values(suite.calls!)) expect(scores.overall).toBeCloseTo((scores.tool + scores.arguments) / 2, 12);
    expect([suite.override.part, suite.referral, suite.branchingError]).toEqual([undefined, undefined, undefined]);
    const slices = Array.from({ length: 8 }, (_, i) => data.example('test', i).slice);
    expect(suite.unseenCells!.n).toBe(slices.filter((s) => s === 'unseenCell').length);
    const words = suite.promptTokensWithPolicy - suite.promptTokens;
    expect(words).toBe(data.policy.text.split(' ').length);
    const [first] = table.rows.filter((r) => r.benchmark === 'gta');
    expect(first).toMatchObject({ overridePart: null, referral: null, branchingError: null, paper: { 0: 21.51 }, calls: suite.calls!.policyInContext });
    expect(table.baselines.find((b) => b.benchmark === 'gta')).toMatchObject({ canonical: { prefillMs: null } });
  });

  it('the claim about DAPO turns round on GTAPolicy, and gaps are between depths of one benchmark', () => {
    const claims = (benchmark: string) => table.orderings.filter((o) => o.benchmark === benchmark).map((o) => o.claim);
    expect(claims('gta')).toContain('GRPO over DAPO with PolicyRollout (after VM-CPT + CoT SFT)');
    expect(claims('gta').some((c) => c.startsWith('DAPO over GRPO'))).toBe(false);
    expect(claims('clevr-m').some((c) => c.startsWith('DAPO over GRPO with PolicyRollout'))).toBe(true);
    expect(table.orderings.some((o) => o.claim.includes('N=0'))).toBe(false);
  });
});

describe('the table', () => {
  const measured = (right: number, n = 20) => ({ accuracy: right / n, low: 0, high: 1, n, correct: Array.from({ length: n }, (_, i) => i < right) });
  const result = (row: RowName, seed: number, right: number, n = 2): RowResult => {
    const suite: SuiteReport = {
      accuracy: measured(right), policyInContext: measured(10), override: { all: { ...measured(5), stubborn: 0.15 }, part: { ...measured(5), stubborn: 0.35 } }, branchingError: 1, branchingErrorRate: 0.125, referral: 5,
      forgetting: { existence: measured(15), otherPolicies: measured(12) }, unseenCells: seed === 1 ? { accuracy: 0.5, low: 0, high: 1, n: 2 } : null, promptTokens: 38, promptTokensWithPolicy: 60, prefillMs: 1, prefillMsWithPolicy: 2,
    };
    return { row, n, seed, adapter: 'x', suite, trainSeconds: 60, evaluationSeconds: 10 };
  };
  const claimsOf = (rows: readonly RowResult[]) => new Map(testOrderings(rows).map((o) => [o.claim, o]));
  const some = [result('in-context', 1, 0), result('cot-sft', 1, 2), result('cot-sft', 2, 4), result('cot-sft+grpo', 1, 2), result('cot-sft+grpo', 2, 5), result('cot-sft+dapo', 1, 12), result('cot-sft+dapo', 2, 14)];

  it('summarises by seed; the base counts with the policy in its prompt', () => {
    const summary = summariseRows(some);
    expect(summary.map((s) => s.row)).toEqual(['in-context', 'cot-sft', 'cot-sft+grpo', 'cot-sft+dapo']);
    [10, 3, 3.5, 13].forEach((right, i) => expect(summary[i]!.accuracy.mean).toBeCloseTo(right / 20, 12));
    expect(summary[1]!.unseenCells).toBe(0.5);
    expect(summary[2]!.paper).toEqual({ 4: 98.25, 6: 47.05 });
    expect(summary[0]!.promptTokens).toBe(60);
  });

  it('says of each ordering: reproduced, not, or not significant', () => {
    const orderings = testOrderings(some);
    expect(orderings.find((o) => o.claim === 'CoT SFT < CoT SFT + GRPO')).toMatchObject({ verdict: 'not significant', test: { seeds: { better: 1, worse: 0, equal: 1 } } });
    expect(orderings.find((o) => o.claim.startsWith('DAPO over GRPO after CoT SFT'))).toMatchObject({ verdict: 'reproduced' });
    const against = [1, 2].flatMap((seed) => [result('cot-sft', seed, 15), result('cot-sft+grpo', seed, 3)]);
    expect(testOrderings(against)).toMatchObject([{ verdict: 'not reproduced' }]);
    // One seed is never enough.
    expect(testOrderings(against.slice(0, 2))).toMatchObject([{ verdict: 'not significant' }]);
  });

  it('claims of one part are read together, and plain rows of M are judged once, as T', () => {
    const rows = [1, 2].flatMap((seed) => [result('direct-sft', seed, 5), result('cot-sft', seed, 9), result('cot-sft+grpo', seed, 15), result('cot-sft+dapo', seed, 20)]);
    const claims = testOrderings(rows);
    const sorted = claims.toSorted((a, b) => a.test!.p - b.test!.p);
    expect(claims.length).toBeGreaterThan(3);
    let most = 0;
    sorted.forEach(({ test, pHolm }, k) => {
      most = Math.max(most, Math.min(1, test!.p * (claims.length - k)));
      expect(pHolm).toBeCloseTo(most, 12);
    });
    // 8 of 40 questions: 0.0078 alone, 0.0156 or more among others.
    expect(claims.find((o) => o.claim === 'Direct SFT < CoT SFT')).toMatchObject({ verdict: 'reproduced' });
    const pictures = [...rows.map((r) => ({ ...r, benchmark: 'clevr-m' as const })), ...[1, 2].map((seed) => ({ ...result('cot-sft+poro-grpo', seed, 18), benchmark: 'clevr-m' as const }))];
    expect(testOrderings([...rows, ...pictures]).filter((o) => o.benchmark === 'clevr-m').map((o) => o.claim)).toEqual(['PolicyRollout over GRPO after CoT SFT (in the paper after VM-CPT)', 'Putting the policy back lowers a model that internalised it (PoRo-GRPO after CoT SFT, in the paper after VM-CPT)', 'PolicyRollout follows an overriding policy better than GRPO (both after CoT SFT, in the paper after VM-CPT; in the paper GRPO is after CoT SFT alone)']);
  });

  it("the paper's own figures reproduce its claims in every part, and no other way round", () => {
    const rows = BENCHMARKS.flatMap((benchmark) => ROWS.flatMap((row) => Object.entries(PAPER[benchmark][row] ?? {}).flatMap(([n, accuracy]) => [1, 2].map((seed): RowResult => {
      const of = (percent: number) => measured(Math.round(20 * percent), 2000);
      const more = n === '4' || n === '2' ? undefined : PAPER_MEASURES[benchmark][row];
      const one = result(row, seed, 0, Number(n));
      return { ...one, benchmark, suite: { ...one.suite, accuracy: of(accuracy), policyInContext: of(row === 'in-context' ? accuracy : (more?.policyInContext ?? accuracy)), override: { all: { ...of(more?.override ?? 0), stubborn: 0 } } } };
    }))));
    const orderings = testOrderings(rows);
    expect(orderings.filter((o) => o.verdict === 'not reproduced').map((o) => [settingTitle(o), o.claim])).toEqual([['N=6, M', 'Direct SFT < CoT SFT (the paper has it the other way round here, 14.55 and 14.3)']]);
    const found = (words: string) => orderings.filter((o) => o.verdict === 'reproduced' && o.claim.startsWith(words)).map(settingTitle);
    expect(found('DAPO over GRPO with PolicyRollout')).toEqual(['N=6', 'N=4, M', 'N=6, M']);
    expect(found('GRPO over DAPO with PolicyRollout')).toEqual(['N=4', 'GTAPolicy']);
    expect(found('DAPO over GRPO after CoT SFT')).toEqual(['N=6', 'N=4, M', 'N=6, M']);
    expect(found('GRPO over DAPO after CoT SFT')).toEqual(['N=4']);
  });

  it('plain rows of M are judged once, although the paper has GRPO and DAPO the other way round there', () => {
    const rows = [1, 2].flatMap((seed) => [result('cot-sft+grpo', seed, 15, 4), result('cot-sft+dapo', seed, 5, 4)]);
    const both = testOrderings([...rows, ...rows.map((r) => ({ ...r, benchmark: 'clevr-m' as const }))]);
    expect(both.map((o) => [settingTitle(o), o.claim, o.verdict])).toEqual([['N=4', 'GRPO over DAPO after CoT SFT (in the paper in words at N=4, at N=6 not)', 'reproduced']]);
  });

  it("GTAPolicy with the policy put back has the overall score beside the paper's, and branching errors the number of questions", () => {
    const calls = (right: number) => ({ tool: right / 10, arguments: right / 20, overall: (3 * right) / 40 });
    const gta = [4, 6].map((right, i): RowResult => {
      const { suite, ...one } = result('cot-sft', i, 2, 0);
      const { referral: _, branchingError: __, branchingErrorRate: ___, ...rest } = suite;
      return { ...one, benchmark: 'gta', suite: { ...rest, override: { all: suite.override.all }, calls: { deployed: calls(1), policyInContext: calls(right) } } };
    });
    const summary = summariseRows(gta);
    expect(summary[0]!.calls!.overall).toBeCloseTo(3 / 40, 12);
    expect(summary[0]!.callsInContext!.overall).toBeCloseTo(15 / 40, 12);
    const text = (rows: readonly RowResult[]) => tablesMarkdown(resultsPage({ scale: 'tiny', adapters: {}, bases: {}, baselines: [], rows: summariseRows(rows), orderings: [], missing: [], settings: {} }));
    expect(text(gta)).toContain('|  | policy put back | overall | paper, 7B, overall | override all | paper, 7B, overall | all: old answer | unseen cells |');
    expect(text(gta)).toMatch(/\| CoT SFT \| 50\.0 \| 37\.5 \| 42\.26 \| 25\.0 \| 38\.71 \|/);
    // An error of 1 over 20 questions is one of 100 over 2,000.
    expect(text(some)).toContain('20 a seed here, 2,000 in the paper');
    expect(text(some)).toContain('| branching error | for 2,000 questions | ids that the policy lacks, % |');
    expect(text(some)).toContain('| CoT SFT | 5.0 | 3.54 | 1.0 | 100.0 | 12.5 |');
  });

  it('where seeds are divided an ordering stays open, however many questions there are', () => {
    const rows = [1, 2, 3].flatMap((seed) => [result('cot-sft', seed, 4), result('cot-sft+grpo', seed, [14, 13, 3][seed - 1]!)]);
    const [ordering] = testOrderings(rows);
    expect(ordering!.test!.p).toBeLessThan(0.001);
    expect(ordering).toMatchObject({ verdict: 'not significant', test: { seeds: { better: 2, worse: 1 } } });
    const text = tablesMarkdown(resultsPage({ scale: 'tiny', adapters: {}, bases: {}, baselines: [], rows: summariseRows(rows), orderings: testOrderings(rows), missing: [], settings: {} }));
    expect(text).toMatch(/\| CoT SFT < CoT SFT \+ GRPO \| N=2 \| not significant \| 20\.0 \| 50\.0 \| [0-9.< ]+ \| [0-9.< ]+ \| 0\.\d+ \| 2 \/ 1 \|/);
  });

  it('claims about TriMPI are made of CoT SFT, and say so, where its rows are missing', () => {
    const ofStart = (start: 'cot-sft' | 'vm-cpt+cot-sft', benchmark: 'clevr-t' | 'gta', n: number) => [1, 2].flatMap((seed) => (['grpo', 'dapo', 'poro-grpo', 'poro-dapo'] as const).map((a, i) => ({ ...result(`${start}+${a}`, seed, 2 + 4 * i, n), benchmark })));
    const words = 'after CoT SFT, in the paper after VM-CPT';
    const clevr = claimsOf([...ofStart('cot-sft', 'clevr-t', 4), ...ofStart('cot-sft', 'clevr-t', 6)]);
    for (const claim of [`DAPO over GRPO with PolicyRollout (${words}; in the paper at N=6, in words not at N=4)`, `GRPO over DAPO with PolicyRollout (${words}; in the paper in words at N=4, at N=6 not)`, `Putting the policy back lowers a model that internalised it (PoRo-GRPO ${words})`, `PolicyRollout follows an overriding policy better than GRPO (both ${words}; in the paper GRPO is after CoT SFT alone)`, `The gap between PoRo-GRPO and GRPO grows from N=4 to N=6 (${words}; here by 0.0 points, 0.0 to 0.0)`]) expect([...clevr.keys()]).toContain(claim);
    const gta = claimsOf(ofStart('cot-sft', 'gta', 0));
    expect(gta.get('GRPO over DAPO after CoT SFT (in the paper with PolicyRollout)')).toMatchObject({ test: { a: 0.3, b: 0.1 } });
    expect(gta.get(`GRPO over DAPO with PolicyRollout (${words})`)).toMatchObject({ test: { a: 0.7, b: 0.5 } });
    // With TriMPI's rows it is they that count.
    const both = [...claimsOf([...ofStart('cot-sft', 'clevr-t', 4), ...ofStart('vm-cpt+cot-sft', 'clevr-t', 4)]).keys()];
    expect(both).toContain('GRPO over DAPO with PolicyRollout (after VM-CPT + CoT SFT; in the paper in words at N=4, at N=6 not)');
    expect(both.some((c) => c.includes(words))).toBe(false);
  });

  it('the time left: by the same row of the same setting, then by the setting, then by all of its kind', () => {
    const cost = (row: RowName, n: number, seconds: number): RowResult => ({ ...result(row, 1, 1, n), trainSeconds: seconds - 1, evaluationSeconds: 1 });
    const done = [cost('in-context', 2, 10), cost('cot-sft', 2, 40), cost('cot-sft+grpo', 2, 100), cost('cot-sft+poro-grpo', 2, 300), cost('cot-sft+grpo', 4, 1000), { ...cost('cot-sft+grpo', 2, 120), seed: 2 }];
    const left = (row: RowName, n: number, benchmark: 'clevr-t' | 'clevr-m' = 'clevr-t') => secondsLeft([{ setting: { benchmark, n }, row }], done);
    expect(left('cot-sft+grpo', 2)).toBe(110);
    expect(left('cot-sft+grpo', 4)).toBe(1000);
    expect(left('cot-sft+dapo', 4)).toBe(1000);
    expect(left('cot-sft+dapo', 2)).toBeCloseTo((100 + 300 + 120) / 3, 9);
    expect(left('cot-sft', 4)).toBe(25);
    expect(left('cot-sft+grpo', 4, 'clevr-m')).toBe((100 + 300 + 1000 + 120) / 4);
    expect(secondsLeft([{ setting: { benchmark: 'clevr-t', n: 2 }, row: 'cot-sft' }, { setting: { benchmark: 'clevr-t', n: 4 }, row: 'cot-sft+grpo' }], done)).toBe(1040);
    expect(secondsLeft([{ setting: { benchmark: 'clevr-t', n: 2 }, row: 'cot-sft+grpo' }], done.slice(0, 2))).toBeNull();
    expect(secondsLeft([], [])).toBe(0);
  });

  it('the gap between PolicyRollout and GRPO from one depth to the next', () => {
    const gaps = (a: readonly number[], n: number) => a.flatMap((gap, i) => [result('vm-cpt+cot-sft+grpo', i, 4, n), result('vm-cpt+cot-sft+poro-grpo', i, 4 + gap, n)]);
    const verdictOf = (x: readonly number[], y: readonly number[]) => testOrderings([...gaps(x, 2), ...gaps(y, 3)]).find((o) => o.claim.startsWith('The gap'))!.verdict;
    expect(verdictOf([1, 2, 1], [9, 10, 10])).toBe('reproduced');
    expect(verdictOf([9, 10, 10], [1, 2, 1])).toBe('not reproduced');
    expect(verdictOf([1, 9, 1], [2, 2, 12])).toBe('not significant');
    expect(verdictOf([1], [9])).toBe('not significant');
  });

  it('is Markdown and a page, with the paper beside', () => {
    const text = tablesMarkdown(resultsPage({ scale: 'tiny', adapters: { x: 2 }, bases: { '0123456789ab': 2 }, baselines: [], rows: summariseRows(some), orderings: testOrderings(some), missing: ['cot-sft (N=2, seed 9)'], settings: {} }));
    expect(text).toMatch(/\| CoT SFT \+ GRPO \| 17\.5 \| 0\.0 to [\d.]+ \| 2 \|.*\|  \| 98\.25 \| 47\.05 \|/);
    expect(text).toContain('Not there yet: cot-sft (N=2, seed 9).');
    // Rows from before text tasks have none, and no column without a figure is shown.
    expect(text).not.toContain('text task');
    expect(text).toContain('|  | policy put back | paper, 7B, N=6 | override all | paper, 7B, N=6 | all: old answer | override part | part: old answer |');
    expect(text).toContain('| CoT SFT + GRPO | 50.0 | 19.00 | 25.0 | 30.80 | 15.0 | 25.0 | 35.0 |');
    expect(text).toMatch(/\| CoT SFT \+ GRPO \| 5\.0 \| 5\.04 \| 1\.0 \| 100\.0 \| 12\.5 \|/);
    expect(renderTables({ title: 'a <b>', paragraphs: [], sections: [{ heading: 'h', tables: [{ head: ['x'], rows: [['1 | 2']] }] }] })).toContain('a &#60;b&#62;');
    expect(tablesMarkdown({ title: 't', paragraphs: [], sections: [{ heading: 'h', tables: [{ head: ['x'], rows: [['1 | 2']] }] }] })).toContain('| 1 \\| 2 |');
  });

  it('parts side by side and drawn over the depths, what a policy takes in the prompt, and what the paper forgot', () => {
    const rows = [...some, result('cot-sft', 1, 8, 3), result('cot-sft+dapo', 1, 4, 3)];
    const baselines = [2, 3].map((n) => ({ n, seed: 1, chance: 1 / 2 ** n, majority: 0.4, canonical: { withPolicy: 200 * n, withoutPolicy: 100, prefillMs: n === 2 ? { withPolicy: 40, withoutPolicy: 10 } : null } }));
    const shown = resultsPage({ scale: 'tiny', adapters: {}, bases: {}, baselines, rows: summariseRows(rows), orderings: [], missing: [], settings: {} });
    const text = tablesMarkdown(shown);
    expect(text).toContain('|  | N=2 | N=3 |\n| --- | ---: | ---: |\n| In context (base) | 50.0 |  |\n| CoT SFT | 15.0 | 40.0 |\n| CoT SFT + GRPO | 17.5 |  |\n| CoT SFT + DAPO | 65.0 | 20.0 |\n| Chance | 25.0 | 12.5 |');
    expect(text).toContain('| N=2 | 400 | 100 | 75.0 | 40.0 | 10.0 | 75.0 |\n| N=3 | 600 | 100 | 83.3 |  |  |  |\n| The paper, 7B (figure 6), at most |  |  | 93.9 |  |  | 85.7 |');
    expect(text).toContain('| CoT SFT + GRPO | 75.0 | 60.0 | 32.60 | 37.63 | 83.21 |');
    // One chart of the depths, and of each part accuracies and answers under a policy.
    expect(shown.sections.flatMap((s) => s.charts ?? []).map((c) => Object.keys(c)[0])).toEqual(['labels', 'bars', 'labels', 'bars', 'labels']);
    const html = renderTables(shown);
    expect(html.match(/<svg /g)).toHaveLength(5);
    expect(html).toContain('>overridden: still the old</text>');
    // A single part is not put beside others.
    expect(resultsPage({ scale: 'tiny', adapters: {}, bases: {}, baselines: [], rows: summariseRows(some), orderings: [], missing: [], settings: {} }).sections.map((s) => s.heading)).toEqual(['N=2', 'Settings']);
  });

  it('the tables of docs/results are those of their rows: whole, whatever is asked for, and nothing is trained', async () => {
    const small = { benchmarks: ['gta'], base: await randomBase(engine, recipeWords(SMALL_BASE_RECIPE)) } as const;
    const rl = { learningRate: 7e-4, warmupSteps: 5 };
    for (const [name, part, count] of [['table', { settings: { rl: { learningRate: 4e-4, warmupSteps: 20 } }, seeds: [1] }, 51], ['table-h200', { seeds: [2], rows: ['cot-sft'] }, 102], ['table-small', { ...small, rows: ['in-context'] }, 183], ['table-420', { ...small, settings: { rl: { ...rl, steps: 420 } }, seeds: [1], rows: ['cot-sft+poro-dapo'] }, 3], ['table-rate', { settings: { rl: { learningRate: 4e-4, warmupSteps: 20 }, suiteSize: 20 }, rows: ['vm-cpt+cot-sft+poro-grpo'] }, 4]] as const) {
      const stored = folderStorage(fileURLToPath(new URL(`../../../docs/results/${name}`, import.meta.url)));
      const written = memoryStorage();
      const table = await reproduceRows({ scale: 'tiny', n: 2, seeds: [1, 2, 3], rows: ['in-context'], settings: { rl }, engine, adapterName: 'test', base, ...part, storage: { name, read: async (file) => (await written.read(file)) ?? stored.read(file), write: (file, data) => written.write(file, data) } });
      expect([...written.files.keys()], name).toEqual(['results.json', 'results.md', 'results.html']);
      expect(table.rows.reduce((sum, row) => sum + row.seeds.length, 0), name).toBe(count);
      for (const file of ['results.md', 'results.json']) expect(new TextDecoder().decode(written.files.get(file)), `${name}/${file}`).toBe(new TextDecoder().decode((await stored.read(file))!));
    }
  });

  it('rows and what they start from', () => {
    expect(ROWS).toHaveLength(17);
    expect(rowTitle('cpt+cot-sft')).toBe('CPT without the mask + CoT SFT');
    expect(rlOf('vm-cpt+cot-sft+poro-dapo')).toEqual({ start: 'vm-cpt+cot-sft', algorithm: 'poro-dapo' });
    expect(rlOf('cot-sft')).toBeUndefined();
    expect(rowTitle('vm-cpt+cot-sft+poro-grpo')).toBe('VM-CPT + CoT SFT + PoRo-GRPO');
    for (const rows of Object.values(PAPER)) for (const row of Object.keys(rows)) expect(ROWS).toContain(row);
  });
});
