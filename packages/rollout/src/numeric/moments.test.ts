import { describe, expect, it } from 'vitest';
import { everyRow } from '../advantages/rows.ts';
import { centre, moments, standardise } from './moments.ts';
import { quantile } from './quantile.ts';
import { LIMIT, safeExp, saturate, toFinite } from './saturate.ts';

const of = (values: number[], ddof: 0 | 1 = 1) => moments(values, everyRow(values.length), ddof);

describe('moments', () => {
  it('are the mean and the sample deviation, missing values left out', () => {
    expect(of([3, 5])).toMatchObject({ count: 2, mean: 4, sd: Math.SQRT2, equal: false, scale: 1 });
    expect(of([1, 2, NaN, 3])).toMatchObject({ count: 3, mean: 2, sd: 1 });
    expect(of([1, 3], 0)).toMatchObject({ mean: 2, sd: 1 });
    expect(moments([9, 1, 9, 3], [1, 3])).toMatchObject({ count: 2, mean: 2 });
  });
  it('know none, one and equal values', () => {
    expect(of([])).toEqual({ count: 0, mean: NaN, sd: NaN, equal: true, scale: 1 });
    expect(of([NaN])).toMatchObject({ count: 0, equal: true });
    expect(of([7])).toEqual({ count: 1, mean: 7, sd: NaN, equal: true, scale: 1 });
    expect(of([7], 0)).toMatchObject({ sd: 0 });
    expect(of([0.7, 0.7, 0.7])).toEqual({ count: 3, mean: 0.7, sd: 0, equal: true, scale: 1 });
  });
  it('hold at both ends of the range', () => {
    for (const unit of [1e308, 1e200, 1e-200, 2 ** -1070]) {
      const m = of([unit, -unit, unit, -unit]);
      expect(m.scale).not.toBe(1);
      expect(standardise(unit, m, 0)).toBeCloseTo(Math.sqrt(3) / 2, 12);
      expect(standardise(-unit, m, 0)).toBeCloseTo(-Math.sqrt(3) / 2, 12);
      expect(centre(unit, m)).toBe(unit);
    }
    expect(centre(Number.MAX_VALUE, of([Number.MAX_VALUE, -Number.MAX_VALUE, -Number.MAX_VALUE]))).toBe(Number.MAX_VALUE);
    expect(centre(-Number.MAX_VALUE, of([-Number.MAX_VALUE, Number.MAX_VALUE, Number.MAX_VALUE]))).toBe(-Number.MAX_VALUE);
  });
  it('carry epsilon into their scale', () => {
    expect(standardise(1e200, of([1e200, -1e200]), 1e200)).toBeCloseTo(1 / (Math.SQRT2 + 1), 12);
    expect(standardise(1e-200, of([1e-200, -1e-200]), 1e-200)).toBeCloseTo(1 / (Math.SQRT2 + 1), 12);
    expect(standardise(1, of([1, 3]), 0.5)).toBeCloseTo(-1 / (Math.SQRT2 + 0.5), 12);
  });
  it('give 0 for equal values whatever x is', () => {
    expect(standardise(9, of([2, 2]), 0)).toBe(0);
    expect(centre(9, of([2, 2]))).toBe(0);
  });
});

describe('limits', () => {
  it('cut and nothing else', () => {
    expect([saturate(1e300), saturate(-1e300), saturate(5), saturate(Infinity), saturate(-Infinity)]).toEqual([LIMIT, -LIMIT, 5, LIMIT, -LIMIT]);
    expect([toFinite(Infinity), toFinite(-Infinity), toFinite(-3)]).toEqual([Number.MAX_VALUE, -Number.MAX_VALUE, -3]);
    expect(safeExp(800)).toBe(Math.exp(700));
    expect(safeExp(2)).toBe(Math.exp(2));
  });
  it('quantiles interpolate', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([1, 2], 1)).toBe(2);
    expect(quantile([5], 0.3)).toBe(5);
  });
});
