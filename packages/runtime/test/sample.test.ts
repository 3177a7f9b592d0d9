import { afterAll, describe, expect, it } from 'vitest';
import { type Engine, Graph, markSeen, openDevice, penaliseSeen, philox, ReferenceEngine, sample, sampleSettings, SETTINGS_WIDTH, toUniform, WebGpuEngine } from '../src/index.ts';

const device = await openDevice();
afterAll(() => device.dispose());

const engines: readonly (readonly [string, Engine])[] = [
  ['float64', new ReferenceEngine()],
  ['a thread for a row', new WebGpuEngine(device, { portable: true })],
  ['a team for a row', new WebGpuEngine(device, { portable: true, cooperative: true })],
];

const THREE = [0.5, 0.3, 0.2].map(Math.log);
const TIED = [1, 1, 0];
const PAIRS = [1, 2, 1, 2, 0, 1, -1];
const MIXED = [1.25, -0.5, 2, 2.5, 0.75, -1, 1.5, 0];

/**
 * Logits, [temperature, top-k, top-p, min-p], and the tokens left over by TemperatureLogitsWarper, TopKLogitsWarper,
 * TopPLogitsWarper and MinPLogitsWarper of transformers 5.18, one after the other as in `generate`.
 */
const CASES: readonly (readonly [readonly number[], readonly [number, number, number, number], readonly number[]])[] = [
  [THREE, [1, 2, 0.6, 0], [0]],
  [THREE, [1, 2, 1, 0], [0, 1]],
  [THREE, [1, 0, 0.6, 0], [0, 1]],
  [THREE, [1, 2, 0.65, 0], [0, 1]],
  [THREE, [1.5, 3, 0.55, 0], [0, 1]],
  [THREE, [1, 0, 1, 0.4], [0, 1, 2]],
  [THREE, [1, 0, 1, 0.41], [0, 1]],
  [TIED, [1, 1, 1, 0], [0, 1]],
  [TIED, [1, 1, 0.6, 0], [0, 1]],
  [TIED, [1, 2, 1, 0], [0, 1]],
  [PAIRS, [1, 1, 1, 0], [1, 3]],
  [PAIRS, [1, 3, 1, 0], [0, 1, 2, 3, 5]],
  [PAIRS, [0.7, 3, 1, 0], [0, 1, 2, 3, 5]],
  [PAIRS, [1, 6, 1, 0.3], [0, 1, 2, 3, 5]],
  [PAIRS, [1, 0, 1, 0.36], [0, 1, 2, 3, 5]],
  [PAIRS, [1, 0, 1, 0.37], [1, 3]],
  [MIXED, [1, 5, 0.9, 0], [0, 2, 3, 6]],
  [MIXED, [0.5, 5, 0.9, 0], [2, 3, 6]],
  [MIXED, [1.5, 5, 0.8, 0.3], [0, 2, 3, 6]],
  [MIXED, [1, 4, 0.8, 0.4], [2, 3]],
  [MIXED, [1, 100, 0.95, 0.05], [0, 2, 3, 4, 6, 7]],
  [MIXED, [2, 4, 0.7, 0], [2, 3, 6]],
  [MIXED, [1, 3, 0.99, 0], [2, 3, 6]],
  [MIXED, [1, 0, 0.9, 0.25], [0, 2, 3, 6]],
];
/** Of equals that top-p cuts through, transformers drops those that its sorting happens to put first (it keeps 1, 3 and 5); here all stay. */
const EQUALS = [PAIRS, [1, 3, 0.7, 0], [0, 1, 2, 3, 5]] as const;

/** For each of some rows the token that its uniform number falls on, with the given ones' probabilities end to end. */
function expected(logits: readonly number[], temperature: number, kept: readonly number[], draws: Uint32Array): number[] {
  const weights = kept.map((j) => Math.exp(logits[j]! / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from({ length: draws.length / 4 }, (_, i) => {
    let rest = toUniform(philox([draws[4 * i]!, draws[4 * i + 1]!, 0, 0], [draws[4 * i + 2]!, draws[4 * i + 3]!])[0]) * total;
    return kept[weights.findIndex((w) => (rest -= w) < 0)]!;
  });
}

describe.each(engines)('sampling, %s', (_name, engine) => {
  it('penalises what was seen as RepetitionPenaltyLogitsProcessor does, and from then on what it draws', async () => {
    const g = new Graph();
    const storage = engine.createStorage('seen', 2, 'u32');
    storage.write(Uint32Array.of(0b1011, 0b1011));
    const seen = g.view(storage, 0, [2, 1]);
    const logits = g.input('logits', [2, 5]);
    const penalised = penaliseSeen(logits, seen, g.input('penalties', [2]));
    const { token, logp } = sample(penalised, g.input('draws', [2, 4], 'u32'), g.input('settings', [2, SETTINGS_WIDTH]));
    markSeen(token, seen);
    for (const [name, t] of Object.entries({ penalised, token, logp })) g.output(name, t);
    const plan = await engine.compile(g);
    const row = [2.5, -1, 0.5, 0, 2.25];
    const greedy = sampleSettings({ temperature: 0, topK: 0, topP: 1, minP: 0 });
    const inputs = { logits: Float64Array.from([...row, ...row]), penalties: Float32Array.of(1.25, 1), draws: new Uint32Array(8), settings: Float32Array.from([...greedy, ...greedy]) };
    const run = async () => plan.run(inputs, ['penalised', 'token', 'logp']);
    const first = await run();
    // 2.5 / 1.25 and -1 * 1.25; the other row is as it was.
    expect(Array.from(first.penalised!, (x) => Number(x.toFixed(6)))).toEqual([2, -1.25, 0.5, 0, 2.25, ...row]);
    expect(Array.from(first.token!)).toEqual([4, 0]);
    const lse = Math.log([2, -1.25, 0.5, 0, 2.25].reduce((sum, z) => sum + Math.exp(z), 0));
    expect(first.logp![0]).toBeCloseTo(2.25 - lse, 5);
    expect(Array.from(await storage.read())).toEqual([0b11011, 0b1011]);
    // Token 4 has been seen now: 2.25 / 1.25 = 1.8.
    const second = await run();
    expect(Array.from(second.penalised!.slice(0, 5), (x) => Number(x.toFixed(6)))).toEqual([2, -1.25, 0.5, 0, 1.8]);
    expect(Array.from(second.token!)).toEqual([0, 0]);
    plan.dispose();
    storage.dispose();
  });

  it('keeps the tokens that transformers keeps, each row by its own settings', async () => {
    const all = [...CASES, EQUALS];
    const each = 48;
    const rows = all.length * each;
    const v = 8;
    // Longer rows by tokens that never come.
    const logits = Float64Array.from(all.flatMap(([l]) => Array.from({ length: each }, () => [...l, ...Array.from({ length: v - l.length }, () => -1000)]).flat()));
    const settings = Float32Array.from(all.flatMap(([, [temperature, topK, topP, minP]]) => Array.from({ length: each }, () => sampleSettings({ temperature, topK, topP, minP })).flat()));
    const draws = Uint32Array.from({ length: 4 * rows }, (_, i) => i);
    const g = new Graph();
    g.output('token', sample(g.input('logits', [rows, v]), g.input('draws', [rows, 4], 'u32'), g.input('settings', [rows, SETTINGS_WIDTH])).token);
    const plan = await engine.compile(g);
    const { token } = await plan.run({ logits, settings, draws }, ['token']);
    for (const [i, [l, [temperature], kept]] of all.entries()) {
      const got = Array.from(token!.slice(i * each, (i + 1) * each));
      expect(got, `case ${i}`).toEqual(expected(l, temperature, kept, draws.slice(4 * i * each, 4 * (i + 1) * each)));
      expect([...new Set(got)].toSorted(), `case ${i}`).toEqual([...kept]);
    }
    plan.dispose();
  });
});
