/** @file How parts are put together: which path a row takes, several channels, states, numbers beyond doubles, origins. */
import { describe, expect, it } from 'vitest';
import { type LossInput, type ObjectiveParts, clip, dro, entropyBonus, groupNorm, klPenalty, objective, offPolicySequenceMask, reinforce, sequenceMean, softGate, tokenMean, tokenSum, type Regulariser, type Surrogate } from './index.ts';
import { LIMIT } from './numeric/saturate.ts';

const input: LossInput = {
  logps: [-1, -2, -0.5, -3, -1, NaN],
  oldLogps: [-1.1, -1.8, -0.5, -2, -1.3, NaN],
  refLogps: [-1, -1.5, -1, -2.5, -2, NaN],
  advantages: [1, -2],
  mask: [1, 1, 1, 1, 1, 0],
  shape: [2, 3],
};
const make = (parts: Partial<ObjectiveParts>) => objective({ name: 'test', advantage: groupNorm(), surrogate: clip(), aggregation: sequenceMean(), ...parts });
const each = (actual: ArrayLike<number>, expected: (k: number) => number): void => {
  for (let k = 0; k < actual.length; k++) expect(actual[k], `position ${k}`).toBeCloseTo(expected(k), 12);
};

describe('the single pass', () => {
  const rowsFused = (parts: Partial<ObjectiveParts>, more: Partial<LossInput> = {}): number[] => {
    const rows: number[] = [];
    const { fused, ...general } = clip();
    const surrogate: Surrogate = {
      ...general,
      fused: (view, i, scratch, dLogp, k3) => {
        rows.push(i);
        return fused?.(view, i, scratch, dLogp, k3) ?? NaN;
      },
    };
    const { loss, dLogp, metrics } = make({ surrogate, ...parts }).loss({ ...input, ...more });
    const slow = make({ surrogate: general, ...parts }).loss({ ...input, ...more });
    expect(loss).toBeCloseTo(slow.loss, 12);
    each(dLogp, (k) => slow.dLogp[k] as number);
    for (const [name, value] of Object.entries(slow.metrics)) expect(metrics[name], name).toBeCloseTo(value, 12);
    return rows;
  };
  it('is taken by every row where nothing stands between the clip and the sum', () => {
    expect(rowsFused({})).toEqual([0, 1]);
    expect(rowsFused({ regularisers: [klPenalty(0.5)] })).toEqual([0, 1]);
    expect(rowsFused({}, { entropy: [1, 1, 1, 1, 1, NaN], behaviorLogps: input.oldLogps, origin: [0, 1] })).toEqual([0, 1]);
  });
  it('is not taken with another regulariser, two of them, a modifier, another surrogate of policy rows, advantages of tokens, a weight', () => {
    for (const parts of [{ regularisers: [klPenalty(0.5, { estimator: 'k1' })] }, { regularisers: [klPenalty(0.5), klPenalty(0.1)] }, { modifiers: [offPolicySequenceMask(9)] }, { policySurrogate: reinforce() }] as const) expect(rowsFused(parts)).toEqual([]);
    expect(rowsFused({}, { advantages: [1, 1, 1, -2, -2, -2] })).toEqual([]);
    expect(rowsFused({}, { advantages: [{ name: 'a', weight: 2, advantages: [1, -2] }] })).toEqual([]);
    // A first channel with weight 1 may, a second one adds to its gradient and may not.
    expect(rowsFused({}, { advantages: [{ name: 'a', weight: 1, advantages: [1, -2] }, { name: 'b', weight: 1, advantages: [3, 1] }] })).toEqual([0, 1]);
  });
  it('finds a number that is none at an active position on either path', () => {
    for (const parts of [{}, { regularisers: [klPenalty(1)] }, { modifiers: [offPolicySequenceMask(9)] }]) {
      for (const name of ['logps', 'oldLogps', ...('regularisers' in parts ? (['refLogps'] as const) : [])] as const) {
        expect(() => make(parts).loss({ ...input, [name]: [-1, NaN, -1, -1, -1, NaN] })).toThrow(`${name}[1]`);
      }
    }
    expect(() => make({}).loss({ ...input, entropy: [1, 1, NaN, 1, 1, 1] })).toThrow('entropy[2]');
    expect(() => make({}).loss({ ...input, behaviorLogps: [1, 1, NaN, 1, 1, 1] })).toThrow('behaviorLogps[2]');
  });
});

describe('several channels', () => {
  const channels = [
    { name: 'a', weight: 2, advantages: [1, -2] },
    { name: 'b', weight: 0.5, advantages: [-1, 3] },
    { name: 'c', weight: 1, advantages: [0.5, 0.25] },
  ];
  it('add their losses and gradients with their weights, the regulariser once', () => {
    for (const surrogate of [clip(), clip({ level: 'sequence' }), dro(0.5)]) {
      const parts = { surrogate, regularisers: [klPenalty(0.3)], aggregation: tokenMean() };
      const { loss, dLogp } = make(parts).loss({ ...input, advantages: channels });
      const single = channels.map(({ advantages }) => make({ ...parts, regularisers: [] }).loss({ ...input, advantages }));
      const kl = make({ surrogate: reinforce(), regularisers: [klPenalty(0.3)], aggregation: tokenMean() }).loss({ ...input, advantages: [0, 0] });
      expect(loss).toBeCloseTo(kl.loss + channels.reduce((sum, { weight }, c) => sum + weight * (single[c]?.loss as number), 0), 12);
      each(dLogp, (k) => (kl.dLogp[k] as number) + channels.reduce((sum, { weight }, c) => sum + weight * (single[c]?.dLogp[k] as number), 0));
    }
  });
  it('write where they are told', () => {
    const out = new Float64Array(6).fill(9);
    const result = make({}).loss({ ...input, advantages: channels, out });
    expect(result.dLogp).toBe(out);
    expect(Array.from(out)).toEqual(Array.from(make({}).loss({ ...input, advantages: channels }).dLogp));
  });
  it('need a weight that is a number', () => {
    for (const weight of [NaN, Infinity, '1', undefined]) expect(() => make({}).loss({ ...input, advantages: [{ name: 'a', weight: weight as number, advantages: [1, 1] }] })).toThrow(/advantages\[0\]\.weight/);
  });
});

describe('parts with a state', () => {
  it('get what they prepared', () => {
    const regulariser: Regulariser<number> = {
      name: 'constant',
      needs: [],
      metric: 'constant',
      prepare: (view) => view.activeTokens,
      row(view, i, { loss }, state) {
        loss[0] = (loss[0] as number) + state;
        return 100;
      },
    };
    const plain = make({ aggregation: tokenSum() }).loss(input);
    const { loss, metrics } = make({ aggregation: tokenSum(), regularisers: [regulariser as Regulariser] }).loss(input);
    expect(loss).toBeCloseTo(plain.loss + 10, 12);
    // Only what calls itself a KL is reported as one, beside others too.
    expect(metrics).not.toHaveProperty('kl');
    const both = make({ regularisers: [regulariser as Regulariser, klPenalty(0.5)] }).loss(input).metrics;
    expect(both['kl']).toBeCloseTo(make({ regularisers: [klPenalty(0.5)] }).loss(input).metrics['kl'] as number, 12);
  });
  it('a surrogate of policy-aware rows has its own need, state and coupling', () => {
    const withOrigin = { ...input, origin: [0, 1] as const };
    const needy: Surrogate<number> = { ...reinforce(), needs: ['entropy'], prepare: () => 3, row: (view, i, { loss, grad }, state) => { loss.fill(0); grad.fill(0); grad[0] = state; } };
    expect(() => make({ policySurrogate: needy as Surrogate }).loss(withOrigin)).toThrow(/entropy/);
    const { dLogp } = make({ policySurrogate: needy as Surrogate, aggregation: tokenSum() }).loss({ ...withOrigin, entropy: [1, 1, 1, 1, 1, 1] });
    expect(Array.from(dLogp.subarray(3))).toEqual([3, 0, 0]);
    const coupled = make({ policySurrogate: softGate({ level: 'sequence' }) }).loss(withOrigin);
    const alone = make({ surrogate: softGate({ level: 'sequence' }) }).loss(input);
    const clipped = make({}).loss(input);
    each(coupled.dLogp, (k) => (k < 3 ? clipped : alone).dLogp[k] as number);
  });
});

describe('numbers beyond doubles', () => {
  const odd = (lossOf: number, gradOf: number): Surrogate => ({ ...reinforce(), row: (view, i, { loss, grad }) => { loss.fill(0); grad.fill(0); loss[0] = lossOf; loss[1] = 3e280; grad[0] = gradOf; grad[1] = 5; } });
  it('are cut at every stage', () => {
    const one = { ...input, mask: [1, 1, 0, 0, 0, 0], aggregation: tokenSum() };
    const run = (surrogate: Surrogate, parts: Partial<ObjectiveParts> = {}) => make({ surrogate, aggregation: { name: 'first', needs: [], rowScale: (_, i) => (i === 0 ? 0.5 : 0) }, ...parts }).loss(one);
    expect(run(odd(Infinity, 1))).toMatchObject({ loss: 0.5 * (LIMIT + 3e280) });
    expect(Array.from(run(odd(1, -Infinity)).dLogp.subarray(0, 3))).toEqual([-0.5 * LIMIT, 2.5, 0]);
    const twice = (w: number) => ({ name: 'times', needs: [], row: (_: unknown, __: number, { loss, grad }: { loss: Float64Array; grad: Float64Array }) => { loss[0] = (loss[0] as number) * w; grad[0] = (grad[0] as number) * w; } });
    expect(run(odd(1e300, 1e300), { modifiers: [twice(1e300), twice(1e-290)] }).dLogp[0]).toBeCloseTo(0.5, 12);
    const added: Regulariser = { name: 'added', needs: [], row: (_, __, { loss, grad }) => { loss[0] = (loss[0] as number) * 1e300; grad[0] = (grad[0] as number) * 1e300; return 0; } };
    expect(run(odd(1e300, 1e300), { regularisers: [added, { ...added, row: (_, __, { loss, grad }) => { loss[0] = (loss[0] as number) * 1e-290; grad[0] = (grad[0] as number) * 1e-290; return 0; } }] }).dLogp[0]).toBeCloseTo(0.5, 12);
  });
});

describe('metrics by origin', () => {
  it('are of the rows that have it, but what belongs to the whole', () => {
    const parts = { entropyBonus: entropyBonus(0.1), regularisers: [klPenalty(0.5)] };
    const entropy = [1, 2, 3, 4, 5, NaN];
    const both = make(parts).loss({ ...input, entropy, origin: [0, 1] }).metrics;
    expect(both).toMatchObject({ 'entropy/free': 2, 'entropy/policy': 4.5, entropy: 3 });
    for (const name of ['policy_loss/free', 'entropy_coef/policy']) expect(both).not.toHaveProperty(name);
    expect(both).toHaveProperty('policy_loss');
    const free = make(parts).loss({ ...input, entropy, origin: [0, 0] }).metrics;
    expect(free['kl/free']).toBe(free['kl']);
    expect(Object.keys(free).filter((name) => name.endsWith('/policy'))).toEqual([]);
    expect(Object.keys(make(parts).loss({ ...input, entropy }).metrics).filter((name) => name.endsWith('/free'))).toEqual([]);
  });
});

describe('what an objective asks for', () => {
  it('in one error, before any work', () => {
    expect(() => make({ entropyBonus: entropyBonus(1), regularisers: [klPenalty(1)] }).loss({ ...input, refLogps: undefined })).toThrow(/refLogps, entropy/);
    expect(() => make({}).loss({ ...input, oldLogps: undefined } as never)).toThrow(/oldLogps/);
    expect(make({ policySurrogate: { ...reinforce(), needs: ['turns'] } }).needs).toEqual(['turns']);
    expect(() => make({}).loss({ ...input, advantages: [null] as never })).toThrow(/advantages/);
  });
});
