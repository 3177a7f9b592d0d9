/** @file LLDS and the entropy bonus, over several rows, against their formulas. */
import { describe, expect, it } from 'vitest';
import { entropyBonus, fromTrl, groupNorm, llds, objective, reinforce, sequenceMean, tokenMean, tokenSum, type LldsOptions, type LossInput } from '../index.ts';

describe('LLDS', () => {
  // Falls old − logp. Row 0: 1, −0.25, 0.5 (A = 1); row 1 masked whole; row 2: −1, 0.5 (total falls not; A = 0); row 3: A < 0.
  const input = {
    logps: [-2, -1, -1.5, NaN, NaN, NaN, NaN, NaN, -1, -2.5, NaN, NaN, -5, -5, NaN, NaN],
    oldLogps: [-1, -1.25, -1, NaN, NaN, NaN, NaN, NaN, -2, -2, NaN, NaN, -1, -1, NaN, NaN],
    mask: [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0],
    advantages: [1, 1, 0, -1],
    shape: [4, 4] as [number, number],
  };
  const run = (options: LldsOptions, more: Partial<LossInput> = {}) => {
    const parts = { name: 'llds', advantage: groupNorm(), surrogate: reinforce(), aggregation: tokenSum() };
    const without = objective(parts).loss({ ...input, ...more });
    const { loss, dLogp } = objective({ ...parts, sequenceRegularisers: [llds(options)] }).loss({ ...input, ...more });
    return { loss: loss - without.loss, gradient: Array.from(dLogp, (g, k) => g - (without.dLogp[k] as number)) };
  };
  const at = (entries: Record<number, number>): number[] => input.mask.map((_, k) => entries[k] ?? 0);
  const near = (actual: { loss: number; gradient: number[] }, loss: number, gradient: number[]): void => {
    expect(actual.loss).toBeCloseTo(loss, 12);
    gradient.forEach((g, k) => expect(actual.gradient[k], `position ${k}`).toBeCloseTo(g, 12));
  };
  it('of whole responses: two rows are preserved, one has become less likely', () => {
    const weight = 0.2 / (2 * 3);
    near(run({}), 1.5 * weight, at({ 0: -weight, 2: -weight }));
    near(run({ lambda: 0.6 }), 4.5 * weight, at({ 0: -3 * weight, 2: -3 * weight }));
    near(run({ lambda: 0 }), 0, at({}));
  });
  it('of turns', () => {
    const weight = 0.2 / (2 * 3);
    // In row 0 the turn [1, 2) has become likelier, in row 2 the turn [1, 2) less so.
    near(run({ gate: 'turn' }, { turns: [[[0, 1], [1, 2]], [], [[0, 1], [1, 2]], []] }), weight + 0.5 * (0.2 / (2 * 2)), at({ 0: -weight, 9: -0.05 }));
    near(run({ gate: 'turn' }, { turns: [[[0, 4]], [], [], []] }), 1.5 * weight, at({ 0: -weight, 2: -weight }));
    for (const span of [[-1, 1], [2, 1], [0, 5], [0.5, 1], [0, 1.5]] as const) expect(() => run({ gate: 'turn' }, { turns: [[span], [], [], []] })).toThrow(/turns\[0\]/);
    expect(() => run({ gate: 'turn' }, { turns: [[[1, 1]], [], [], []] })).not.toThrow();
  });
  it('with weights of positions', () => {
    const weight = 0.2 / (2 * 3);
    near(run({ tokenWeight: (row, position) => 1 + row + 10 * position }), weight * (1 + 0.5 * 21), at({ 0: -weight, 2: -21 * weight }));
    // Row 2 with a total fall of 0.5: its second token alone, at position 1.
    const fallen = { logps: [...input.logps.slice(0, 8), -2, -2.5, ...input.logps.slice(10)] };
    near(run({ tokenWeight: (row, position) => 1 + row + 10 * position }, fallen), weight * (1 + 0.5 * 21) + 0.05 * 0.5 * 13, at({ 0: -weight, 2: -21 * weight, 9: -0.05 * 13 }));
    expect(() => run({ tokenWeight: () => -1 })).toThrow(/tokenWeight/);
    expect([llds().needs, llds({ gate: 'turn' }).needs]).toEqual([[], ['turns']]);
  });
  it('where nothing falls, or all cancels, there is nothing', () => {
    near(run({}, { logps: input.oldLogps }), 0, at({}));
    near(run({}, { logps: [-2, 0, -1, ...input.logps.slice(3)], oldLogps: [-1, -1, -1, ...input.oldLogps.slice(3)] }), 0, at({}));
  });
  it('reads the sign of a row off its first active token when there is one advantage a token', () => {
    const advantages = [1, -5, 1, 0, 9, 9, 9, 9, -1, 1, 1, 1, -1, 1, 1, 1];
    const weight = 0.2 / 3;
    near(run({}, { advantages }), 1.5 * weight, at({ 0: -weight, 2: -weight }));
    near(run({}, { advantages, mask: [0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0] }), 0, at({}));
  });
  it('refuses a negative λ', () => expect(() => llds({ lambda: -1 })).toThrow(/lambda/));
});

describe('the entropy bonus', () => {
  const input = { logps: [-1, -1, -1, -1, -1, NaN], oldLogps: [-1, -1, -1, -1, -1, NaN], entropy: [1, 2, 3, 4, 6, NaN], advantages: [0, 0], mask: [1, 1, 1, 1, 1, 0], shape: [2, 3] as [number, number] };
  const run = (bonus: ReturnType<typeof entropyBonus>) => {
    const { loss, dEntropy } = objective({ name: 'entropy', advantage: groupNorm(), surrogate: reinforce(), entropyBonus: bonus, aggregation: tokenSum() }).loss(input);
    return { loss, dEntropy: Array.from(dEntropy as Float64Array) };
  };
  it('is the mean over active tokens, or over those of high entropy', () => {
    expect(run(entropyBonus(0.5))).toEqual({ loss: expect.closeTo(-0.5 * (16 / 5), 12), dEntropy: [-0.1, -0.1, -0.1, -0.1, -0.1, 0] });
    // The median is 3 and belongs to the upper half.
    const third = expect.closeTo(-0.5 / 3, 12);
    expect(run(entropyBonus(0.5, { topEntropyQuantile: 0.5 }))).toEqual({ loss: expect.closeTo(-0.5 * (13 / 3), 12), dEntropy: [0, 0, third, third, third, 0] });
    expect(() => entropyBonus(NaN)).toThrow(/entropyCoef/);
  });
  it('or what the aggregation makes of it', () => {
    const share = expect.closeTo(-0.5 / 6, 12);
    expect(run(entropyBonus(0.5, { aggregation: sequenceMean() }))).toEqual({ loss: expect.closeTo(-0.5 * (2 + 5) / 2, 12), dEntropy: [share, share, share, -0.125, -0.125, 0] });
    // TRL's dapo divides by all tokens, also where only some take part.
    expect(run(entropyBonus(0.5, { topEntropyQuantile: 0.5, aggregation: tokenMean() }))).toEqual({ loss: expect.closeTo((-0.5 * 13) / 5, 12), dEntropy: [0, 0, -0.1, -0.1, -0.1, 0] });
  });
  it('in TRL’s loss types: over all tokens of the step where the loss is, so that a split changes nothing', () => {
    for (const loss_type of ['dapo', 'cispo', 'vespo']) {
      const built = fromTrl({ loss_type, entropy_coef: 0.5, top_entropy_quantile: 0.5 });
      expect(Array.from(built.loss(input).dEntropy as Float64Array), loss_type).toEqual([0, 0, -0.1, -0.1, -0.1, 0]);
      expect(built.loss({ ...input, numItemsInBatch: 10 }).dEntropy?.[4]).toBeCloseTo(-0.05, 12);
    }
    for (const loss_type of ['grpo', 'bnpo', 'dr_grpo', 'sapo']) {
      expect(fromTrl({ loss_type, entropy_coef: 0.5, top_entropy_quantile: 0.5 }).loss(input).dEntropy?.[2], loss_type).toBeCloseTo(-0.5 / 3, 12);
    }
  });
  it('is nothing on an empty batch', () => {
    const empty = { ...input, mask: [0, 0, 0, 0, 0, 0] };
    expect(objective({ name: 'entropy', advantage: groupNorm(), surrogate: reinforce(), entropyBonus: entropyBonus(0.5), aggregation: tokenSum() }).loss(empty).loss).toBe(0);
  });
});
