import { describe, expect, it } from 'vitest';
import { evaluate, findings, majorityAccuracy, mcnemar, proportion, renderReport, renderTables, type RunReport, tablesMarkdown } from '../src/index.ts';

it('a cell of a Markdown table stays in its row, whatever line breaks and bars it has', () => {
  const text = tablesMarkdown({ title: 'T', paragraphs: [], sections: [{ heading: 'S', tables: [{ head: ['a', 'b'], rows: [['one\ntwo\r\nthree', 'x|y']] }] }] });
  expect(text).toBe('# T\n\n## S\n\n| a | b |\n| --- | ---: |\n| one<br>two<br>three | x\\|y |\n');
});

describe('proportion', () => {
  it('gives the Wilson intervals of the literature', () => {
    // Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction).
    for (const [r, n, low, high] of [[81, 263, 0.2553, 0.3662], [15, 148, 0.0624, 0.1605], [0, 20, 0, 0.1611], [1, 29, 0.0061, 0.1718]] as const) {
      const p = proportion(r, n);
      expect(p.low).toBeCloseTo(low, 4);
      expect(p.high).toBeCloseTo(high, 4);
    }
    expect(() => proportion(3, 2)).toThrow(/successes/);
    expect(() => proportion(1.5, 3)).toThrow(/successes: is 1.5 of 3/);
    expect(() => proportion(0, 0)).toThrow(/n: is 0/);
  });
});

describe('mcnemar', () => {
  it('is the exact binomial test on discordant pairs', () => {
    const pairs = (onlyA: number, onlyB: number) => [[...Array.from({ length: onlyA }, () => true), ...Array.from({ length: onlyB }, () => false), true], [...Array.from({ length: onlyA }, () => false), ...Array.from({ length: onlyB }, () => true), true]] as const;
    // 2 (C(6,0) + C(6,1)) / 2^6
    expect(mcnemar(...pairs(5, 1))).toBeCloseTo(14 / 64, 12);
    expect(mcnemar(...pairs(3, 3))).toBe(1);
    expect(mcnemar([], [])).toBe(1);
  });

  it('of more discordant pairs than 2 ** -n can be written for', () => {
    // Only pairs of one kind and of the other; exact fractions by Python's integers, rounded once.
    const p = (onlyA: number, onlyB: number) => mcnemar(Array.from({ length: onlyA + onlyB }, (_, i) => i < onlyA), Array.from({ length: onlyA + onlyB }, (_, i) => i >= onlyA));
    expect(p(600, 600)).toBe(1);
    for (const [a, b, exact] of [[600, 500, 0.0028195449914364275], [500, 600, 0.0028195449914364275], [900, 800, 0.01632068249444858], [700, 400, 1.17358880558056e-19]] as const) expect(p(a, b) / exact, `${a}:${b}`).toBeCloseTo(1, 10);
    expect(p(1074, 1)).toBeGreaterThan(0);
  });
});

describe('evaluate', () => {
  it('counts in batches and refuses a short answer', async () => {
    const items = Array.from({ length: 7 }, (_, i) => ({ prompt: i, score: (c: string) => c === 'even' }));
    const batches: number[] = [];
    const result = await evaluate(items, async (p) => (batches.push(p.length), p.map((x) => (x % 2 === 0 ? 'even' : 'odd'))), { batchSize: 3 });
    expect(batches).toEqual([3, 3, 1]);
    expect(result.accuracy).toBeCloseTo(4 / 7, 12);
    await expect(evaluate(items, async () => ['x'], { batchSize: 3 })).rejects.toThrow(/1 completions for 3/);
  });

  it('refuses batches of nothing and no questions before it asks', async () => {
    const never = () => Promise.reject(new Error('asked'));
    for (const batchSize of [0, -1, 0.5, NaN]) await expect(evaluate([{ prompt: 1, score: () => true }], never, { batchSize })).rejects.toMatchObject({ name: 'EvalError', code: 'invalid-input', argument: 'batchSize' });
    await expect(evaluate([], never)).rejects.toMatchObject({ code: 'invalid-input', argument: 'items' });
  });

  it('majority answers by policy', () => {
    const train = [['p', 'a'], ['p', 'a'], ['p', 'b'], ['q', 'c']].map(([policyId, answer]) => ({ policyId: policyId!, answer: answer! }));
    expect(majorityAccuracy(train, [{ policyId: 'p', answer: 'a' }, { policyId: 'p', answer: 'b' }, { policyId: 'q', answer: 'c' }, { policyId: 'r', answer: 'a' }])).toBe(0.5);
    expect(() => majorityAccuracy(train, [])).toThrow(/test: is empty/);
  });
});

describe('report', () => {
  const stage = (name: string, right: number) => ({ name, title: name, ...proportion(right, 200), policyInPrompt: false, promptTokens: 38, prefillMs: 9, tokensPerSecond: 100, seconds: 5 });
  const report = (last: number): Omit<RunReport, 'findings'> => ({
    title: 'A run <of> "tests"', seed: 1, adapter: 'x', seconds: 9, chance: 0.25, majority: 0.25, inContext: { ...proportion(180, 200), promptTokens: 63, prefillMs: 12 },
    stages: [stage('base', 50), stage('vm-cpt', 52), stage('cot-sft', 60), stage('poro-grpo', last)], settings: { n: 2 },
  });

  it('says plainly what helped, what did not, and what made it worse', () => {
    const good = findings(report(160));
    expect(good.find((f) => f.startsWith('vm-cpt'))).toMatch(/did not help measurably/);
    expect(good.find((f) => f.startsWith('poro-grpo'))).toMatch(/helped: 30.0 % to 80.0 %/);
    expect(good.join(' ')).toMatch(/39.7 % fewer/);
    expect(findings(report(20)).find((f) => f.startsWith('poro-grpo'))).toMatch(/made it worse/);
    expect(findings(report(55)).join(' ')).toMatch(/not measurably above chance/);
    // Paired, a few points can be certain where the intervals overlap.
    const paired = (right: number, pAgainstBefore: number) => findings({ ...report(160), stages: [stage('base', 50), { ...stage('vm-cpt', right), pAgainstBefore }] }).find((f) => f.startsWith('vm-cpt'));
    expect(paired(40, 0.001)).toBe('vm-cpt made it worse by the paired test alone: 25.0 % to 20.0 % (paired test: p = 0.001) without the policy; the 95 % intervals overlap.');
    expect(paired(60, 0.04)).toMatch(/helped by the paired test alone: 25.0 % to 30.0 %/);
    expect(paired(60, 0.06)).toMatch(/did not help measurably/);
  });

  it('has the parts of a call where there are some, and branching errors where there are none', () => {
    const plain = report(160);
    const calls = { tool: 0.625, arguments: 0.5, overall: 0.5625 };
    const called = { ...plain, inContext: { ...plain.inContext, calls: { ...calls, tool: 0.875 } }, stages: plain.stages.map((s) => ({ ...s, calls })) };
    const html = (of: typeof plain) => renderReport({ ...of, findings: findings(of) }, [], []);
    expect(html(plain)).toContain('<th>Branching error</th>');
    expect(html(plain)).not.toContain('<th>Tool</th>');
    const page = html(called);
    expect(page).not.toContain('Branching error');
    expect(page).toContain('<td>87.5 %</td><td>50.0 %</td><td>56.3 %</td>');
    expect(page.match(/<td>62.5 %<\/td><td>50.0 %<\/td><td>56.3 %<\/td>/g)).toHaveLength(4);
    const rows = [...page.slice(page.indexOf('<h2>Accuracy'), page.indexOf('<h2>Training')).matchAll(/<tr>.*?<\/tr>/g)].map(([row]) => row.match(/<t[hd]>/g)!.length);
    expect(new Set(rows)).toEqual(new Set([11]));
    expect(findings(called)).toContain('Of its calls tool and version are right in 62.5 %, arguments in 50.0 %; the mean of both is 56.3 %.');
  });

  it('has shortcuts beside the majority answer where they are known', () => {
    const html = (more: object) => renderReport({ ...report(160), ...more, findings: [] }, [], []);
    expect(html({})).not.toContain('Shortcut');
    expect(html({ shortcuts: { objectCount: 0.272, histogram: 0.897 } })).toMatch(/Majority answer<\/td><td>25.0 %<\/td>.*\n.*Shortcut: number of objects<\/td><td>27.2 %<\/td>.*Shortcut: histogram of attributes<\/td><td>89.7 %<\/td>/);
  });

  it('shows every picture of a question', () => {
    const picture = { width: 2, height: 1, rgb: new Uint8Array(6) };
    const html = (more: object) => renderReport({ ...report(160), findings: [] }, [], [{ query: 'q?', answer: 'b', completions: [], ...more }]);
    expect(html({}).match(/<img/g)).toBeNull();
    expect(html({ image: picture })).toContain('<article><img alt="Picture of the question q?"');
    expect([...html({ image: picture, further: [picture, picture] }).matchAll(/<img alt="Picture (\d) of the question q\?" src="data:image\/png/g)].map((m) => m[1])).toEqual(['1', '2', '3']);
  });

  it('is one page with nothing from outside', () => {
    const full = { ...report(160), findings: findings(report(160)) };
    const html = renderReport(full, [{ stage: 's', name: 'loss', points: [[1, 2], [2, 1]] }], [{ image: { width: 2, height: 1, rgb: new Uint8Array(6) }, query: 'q & a?', answer: 'b', completions: [{ stage: 's', text: '<think>', correct: false }] }]);
    expect(html).toContain('A run &#60;of&#62; &#34;tests&#34;');
    expect(html).toContain('&#60;think&#62;');
    expect(html.match(/<svg/g)).toHaveLength(2);
    expect(html).toContain('data:image/png;base64,');
    expect(html.replace(/http:\/\/www\.w3\.org\/[^"]*/g, '')).not.toMatch(/https?:|<script|src="(?!data:)/);
  });
});

describe('charts of tables', () => {
  /** Where the points of a series are: the translation of their symbols, by colour. */
  const points = (html: string, colour: string) => [...html.matchAll(/<path [^>]*transform="matrix\(([^)]*)\)"[^>]*?(?:fill|stroke)="([^"]+)"/g)].filter((m) => m[2] === colour).map((m) => m[1]!.split(',').slice(4).map(Number));
  const page = (chart: NonNullable<Parameters<typeof renderTables>[0]['sections'][number]['charts']>[number]) => renderTables({ title: 't', paragraphs: [], sections: [{ heading: 'h', charts: [chart] }] });

  it('a point lies where its share says, and one that is missing is not drawn', () => {
    const dots = page({ labels: ['a', 'b', 'c'], dots: [{ name: 'first', values: [0, 1, undefined] }], caption: 'two of three' });
    const drawn = points(dots, '#000000').filter(([, y]) => y! > 50);
    expect(drawn).toHaveLength(2);
    const [[x0, y0], [x1, y1]] = drawn as [[number, number], [number, number]];
    expect([x1 - x0 > 500, y1 - y0]).toEqual([true, 24]);
    expect(dots).toContain('<figcaption>two of three</figcaption>');
    const half = page({ labels: ['a', 'b', 'c'], dots: [{ name: 'first', values: [0, 1, 0.25] }], caption: '' });
    const xs = points(half, '#000000').filter(([, y]) => y! > 50).map(([x]) => x!);
    expect((xs[2]! - xs[0]!) / (xs[1]! - xs[0]!)).toBeCloseTo(0.25, 3);
  });

  it('lines go by depth from left to right, and higher is better', () => {
    const lines = page({ labels: ['N=2', 'N=3'], lines: [{ name: 'x', values: [0.2, 0.8] }], caption: '' });
    const [a, b] = points(lines, '#000000').filter(([, y]) => y! > 40) as [number, number][];
    expect(b![0] > a![0] && b![1] < a![1]).toBe(true);
  });
});
