import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drGrpo, dapo, fromEasyR1, fromOpenRlhf, fromTrl, fromVerl, grpo, gspo, poro, poroDapo, poroGrpo, reinforcePlusPlus, rloo } from '../index.ts';
import { RUNS } from '../../test/runs.ts';

const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
const modest = fc.double({ noNaN: true, min: -1000, max: 1000 });
/** Integers over 8: sums and differences are exact, so a shift changes no bit. */
const dyadic = fc.integer({ min: -4096, max: 4096 }).map((n) => n / 8);

/** A batch of groups of any sizes, its rows in any order. */
const batch = (reward: fc.Arbitrary<number>, minGroup = 1) =>
  fc
    .array(fc.array(reward, { minLength: minGroup, maxLength: 7 }), { minLength: 1, maxLength: 5 })
    .chain((groups) => {
      const rows = groups.flatMap((rewards, g) => rewards.map((r) => ({ r, g })));
      return fc.shuffledSubarray(rows, { minLength: rows.length, maxLength: rows.length });
    })
    .map((rows) => ({ rewards: rows.map((x) => x.r), groupIds: rows.map((x) => x.g), lengths: rows.map((_, i) => 1 + (i % 4)) }));

const groupsOf = (ids: readonly number[]): number[][] => {
  const map = new Map<number, number[]>();
  ids.forEach((g, i) => map.set(g, [...(map.get(g) ?? []), i]));
  return [...map.values()];
};
const OBJECTIVES = [grpo(), grpo({ scaleRewards: 'batch' }), drGrpo(), dapo(), rloo(), gspo(), reinforcePlusPlus(), reinforcePlusPlus({ baseline: true }), poroGrpo(), poroDapo(), fromTrl({ multi_objective_aggregation: 'normalize_then_sum' })];

describe('every advantage', () => {
  it('is finite for every finite reward, 1e308 and 5e-324 among them', () => {
    const built = [...OBJECTIVES, fromVerl({ adv_estimator: 'gpg' }), fromVerl({ adv_estimator: 'opo' }), fromOpenRlhf({ advantage_estimator: 'reinforce_baseline' }), fromEasyR1({})];
    fc.assert(
      fc.property(batch(fc.oneof(finite, fc.constantFrom(1e308, -1e308, Number.MAX_VALUE, -Number.MAX_VALUE, 5e-324, -5e-324, 0))), (input) => {
        for (const o of built) expect(o.advantages(input).every((a) => Number.isFinite(a)), o.name).toBe(true);
      }),
      RUNS,
    );
  });
  it('is exactly 0 when all rewards of a batch are equal, for every value and both widths', () => {
    fc.assert(
      fc.property(finite, fc.integer({ min: 1, max: 12 }), (value, count) => {
        const groupIds = Array<number>(count).fill(0);
        for (const o of OBJECTIVES) {
          expect(o.advantages({ rewards: new Float64Array(count).fill(value), groupIds, lengths: groupIds.map((_, i) => i) }).every((a) => a === 0), o.name).toBe(true);
          const single = Math.fround(value);
          if (Number.isFinite(single)) expect(o.advantages({ rewards: new Float32Array(count).fill(single), groupIds, lengths: groupIds.map(() => 2) }).every((a) => a === 0), o.name).toBe(true);
        }
      }),
      RUNS,
    );
  });
  it('changes no input', () => {
    fc.assert(
      fc.property(batch(modest), (input) => {
        const rewards = Float64Array.from(input.rewards);
        const copy = rewards.slice();
        const ids = Object.freeze([...input.groupIds]);
        for (const o of OBJECTIVES) o.advantages({ rewards, groupIds: ids, lengths: input.lengths });
        expect(rewards).toEqual(copy);
      }),
      RUNS,
    );
  });
});

describe('group advantages', () => {
  it('sum to 0 in each group', () => {
    fc.assert(
      fc.property(batch(modest), (input) => {
        for (const o of [grpo(), drGrpo(), rloo(), poroGrpo()]) {
          const a = o.advantages(input);
          for (const rows of groupsOf(input.groupIds)) {
            // The mean is rounded, and where rewards hardly differ that is divided by no more than the least epsilon, 1e-6.
            const rounding = (rows.length ** 2 * Number.EPSILON * Math.max(...rows.map((i) => Math.abs(input.rewards[i] ?? 0)))) / 1e-6;
            expect(Math.abs(rows.reduce((s, i) => s + (a[i] as number), 0))).toBeLessThan(1e-8 + rounding);
          }
        }
      }),
      RUNS,
    );
  });
  it('do not change by a bit when every reward is shifted by a dyadic constant', () => {
    fc.assert(
      fc.property(batch(dyadic), dyadic, (input, c) => {
        const shifted = { ...input, rewards: input.rewards.map((r) => r + c) };
        // The mean of a group whose size is no power of two is rounded, and the rounding moves with the values.
        const power = groupsOf(input.groupIds).every((rows) => [1, 2, 4].includes(rows.length));
        for (const o of [grpo(), drGrpo(), rloo()]) {
          const a = o.advantages(input);
          const b = o.advantages(shifted);
          if (power) expect(b).toEqual(a);
          else b.forEach((x, i) => expect(Math.abs(x - (a[i] as number))).toBeLessThan(1e-8));
        }
      }),
      RUNS,
    );
  });
  it('scale with the rewards: not at all under group scaling (up to ε), by k without', () => {
    fc.assert(
      fc.property(batch(dyadic), fc.integer({ min: 1, max: 64 }), (input, k) => {
        const scaled = { ...input, rewards: input.rewards.map((r) => r * k) };
        const plain = drGrpo().advantages(input);
        drGrpo().advantages(scaled).forEach((x, i) => expect(Math.abs(x - k * (plain[i] as number))).toBeLessThan(1e-7));
        const grouped = fromOpenRlhf({ advantage_estimator: 'group_norm' });
        const a = grouped.advantages(input);
        grouped.advantages(scaled).forEach((x, i) => expect(Math.abs(x - (a[i] as number))).toBeLessThan(1e-6));
      }),
      RUNS,
    );
  });
  it('follow a permutation of rows, and do not care where a group stands or what it is called', () => {
    fc.assert(
      fc.property(batch(dyadic), fc.infiniteStream(fc.nat()), (input, stream) => {
        const order = input.rewards.map((_, i) => ({ i, key: stream.next().value as number }));
        order.sort((a, b) => a.key - b.key || a.i - b.i);
        const moved = { rewards: order.map(({ i }) => input.rewards[i] as number), groupIds: order.map(({ i }) => `g${input.groupIds[i]}`), lengths: order.map(({ i }) => input.lengths[i] as number) };
        for (const o of [grpo(), drGrpo(), rloo(), grpo({ scaleRewards: 'batch' })]) {
          const a = o.advantages(input);
          const b = o.advantages(moved);
          order.forEach(({ i }, at) => expect(Math.abs((b[at] as number) - (a[i] as number))).toBeLessThan(1e-9));
        }
      }),
      RUNS,
    );
  });
  it('of one group do not depend on another, except under batch scaling', () => {
    fc.assert(
      fc.property(batch(dyadic, 2), fc.array(dyadic, { minLength: 2, maxLength: 5 }), (input, extra) => {
        const more = { rewards: [...input.rewards, ...extra], groupIds: [...input.groupIds, ...extra.map(() => 99)], lengths: [...input.lengths, ...extra.map(() => 1)] };
        for (const o of [grpo(), drGrpo(), rloo()]) expect(o.advantages(more).slice(0, input.rewards.length)).toEqual(o.advantages(input));
      }),
      RUNS,
    );
    const scaled = grpo({ scaleRewards: 'batch' });
    const alone = scaled.advantages({ rewards: [0, 1], groupIds: ['a', 'a'] });
    const beside = scaled.advantages({ rewards: [0, 1, 0, 100], groupIds: ['a', 'a', 'b', 'b'] });
    expect(beside[0]).not.toBe(alone[0]);
  });
  it('RLOO is G / (G − 1) times the centred reward', () => {
    fc.assert(
      fc.property(batch(modest, 2), (input) => {
        const centred = drGrpo().advantages(input);
        const left = rloo().advantages(input);
        for (const rows of groupsOf(input.groupIds)) {
          for (const i of rows) expect(Math.abs((left[i] as number) - (rows.length / (rows.length - 1)) * (centred[i] as number))).toBeLessThan(1e-9);
        }
      }),
      RUNS,
    );
  });
  it('scaled ones have deviation σ / (σ + ε)', () => {
    fc.assert(
      fc.property(fc.array(dyadic, { minLength: 2, maxLength: 9 }), (rewards) => {
        const n = rewards.length;
        const mean = rewards.reduce((s, r) => s + r, 0) / n;
        const sigma = Math.sqrt(rewards.reduce((s, r) => s + (r - mean) ** 2, 0) / (n - 1));
        const a = grpo().advantages({ rewards, groupIds: rewards.map(() => 0) });
        const own = Math.sqrt(a.reduce((s, x) => s + x * x, 0) / (n - 1));
        expect(Math.abs(own - sigma / (sigma + 1e-4))).toBeLessThan(1e-9);
      }),
      RUNS,
    );
  });
  it('a missing reward gets 0 and changes no sibling', () => {
    fc.assert(
      fc.property(batch(dyadic), fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), (input, places) => {
        const rewards: (number | null)[] = [...input.rewards];
        const groupIds = [...input.groupIds];
        const lengths = [...input.lengths];
        for (const place of places) {
          const at = place % (rewards.length + 1);
          rewards.splice(at, 0, null);
          groupIds.splice(at, 0, (groupIds[0] as number) ?? 0);
          lengths.splice(at, 0, 3);
        }
        for (const o of [grpo(), drGrpo(), rloo(), grpo({ scaleRewards: 'batch' }), reinforcePlusPlus()]) {
          const a = Array.from(o.advantages(input));
          const b = Array.from(o.advantages({ rewards, groupIds, lengths }));
          rewards.forEach((r, i) => r === null && expect(b[i]).toBe(0));
          expect(b.filter((_, i) => rewards[i] !== null)).toEqual(a);
        }
      }),
      RUNS,
    );
  });
  it('rise with the reward', () => {
    fc.assert(
      fc.property(batch(dyadic, 2), (input) => {
        for (const o of [grpo(), drGrpo(), rloo()]) {
          const a = o.advantages(input);
          for (const rows of groupsOf(input.groupIds)) {
            for (const i of rows) for (const j of rows) if ((input.rewards[i] as number) > (input.rewards[j] as number)) expect(a[i] as number).toBeGreaterThan(a[j] as number);
          }
        }
      }),
      RUNS,
    );
  });
});

describe('PolicyRollout', () => {
  it('without policy-aware rollouts is its base, bit for bit, under every baseline', () => {
    fc.assert(
      fc.property(batch(modest), (input) => {
        const origin = input.rewards.map(() => 'free' as const);
        for (const baseline of ['union', 'separate', 'free-only'] as const) {
          for (const base of [grpo(), drGrpo(), dapo()]) expect(poro(base, { baseline }).advantages({ ...input, origin })).toEqual(base.advantages(input));
        }
      }),
      RUNS,
    );
  });
  it('under the union does not depend on the labels', () => {
    fc.assert(
      fc.property(batch(modest), (input) => {
        const origin = input.rewards.map((_, i) => (i % 2 === 0 ? ('free' as const) : ('policy' as const)));
        const swapped = origin.map((o) => (o === 'free' ? ('policy' as const) : ('free' as const)));
        expect(poroGrpo().advantages({ ...input, origin })).toEqual(poroGrpo().advantages({ ...input, origin: swapped }));
      }),
      RUNS,
    );
  });
  it('union and separate agree when both halves are the same', () => {
    fc.assert(
      fc.property(fc.array(dyadic, { minLength: 2, maxLength: 6 }), (half) => {
        const input = { rewards: [...half, ...half], groupIds: Array<number>(2 * half.length).fill(0), origin: [...half.map(() => 0 as const), ...half.map(() => 1 as const)] };
        const union = poro(drGrpo()).advantages(input);
        poro(drGrpo(), { baseline: 'separate' }).advantages(input).forEach((a, i) => expect(Math.abs(a - (union[i] as number))).toBeLessThan(1e-9));
      }),
      RUNS,
    );
  });
  it('a group that only succeeds with the policy gives its policy-free rollouts negative advantages', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 6 }), (free, policy) => {
        fc.pre(policy.includes(1));
        const rewards = [...Array<number>(free).fill(0), ...policy];
        const origin = rewards.map((_, i) => (i < free ? ('free' as const) : ('policy' as const)));
        const groupIds = rewards.map(() => 'g');
        const a = poroGrpo().advantages({ rewards, groupIds, origin });
        for (let i = 0; i < free; i++) expect(a[i]).toBeLessThan(0);
        const separate = poroGrpo({ baseline: 'separate' }).advantages({ rewards, groupIds, origin });
        for (let i = 0; i < free; i++) expect(separate[i]).toBe(0);
      }),
      RUNS,
    );
  });
});
