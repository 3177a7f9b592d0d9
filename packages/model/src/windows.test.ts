import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { goldenJson } from '../test/golden.ts';
import { visionWindows } from './windows.ts';

const vision = { windowSize: 112, spatialMergeSize: 2, patchSize: 14 };
const cases = goldenJson<{ windows: { grid_thw: number[][]; window_index: number[]; cu_window_seqlens: number[]; cu_seqlens: number[]; pos_hw: number[][] | null }[] }>('tables.json').windows;

describe('visionWindows', () => {
  it.each(cases)('equals transformers: $grid_thw', (golden) => {
    const windows = visionWindows(golden.grid_thw, vision);
    expect([...windows.windowIndex]).toEqual(golden.window_index);
    expect([...windows.cuWindowSeqlens]).toEqual(golden.cu_window_seqlens);
    expect([...windows.cuSeqlens]).toEqual(golden.cu_seqlens);
    if (golden.pos_hw !== null) expect([...windows.positionsHw]).toEqual(golden.pos_hw.flat());
  });

  it('puts every cell into exactly one window of at most the full size', () => {
    const grid = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 })).map(([t, h, w]) => [t, 2 * h, 2 * w]);
    fc.assert(
      fc.property(fc.array(grid, { maxLength: 4 }), (grids) => {
        const { windowIndex, cuWindowSeqlens, cuSeqlens } = visionWindows(grids, vision);
        const patches = grids.reduce((sum, [t = 0, h = 0, w = 0]) => sum + t * h * w, 0);
        expect([...windowIndex].toSorted((a, b) => a - b)).toEqual(Array.from({ length: patches / 4 }, (_, i) => i));
        expect(cuWindowSeqlens.at(-1)).toBe(patches);
        expect(cuSeqlens.at(-1)).toBe(patches);
        cuWindowSeqlens.forEach((end, i) => {
          if (i === 0) return;
          const size = end - (cuWindowSeqlens[i - 1] ?? 0);
          expect(size).toBeGreaterThan(0);
          expect(size).toBeLessThanOrEqual(64);
        });
      }),
    );
  });

  it('is the identity without windows', () => {
    const { windowIndex, cuWindowSeqlens, cuSeqlens } = visionWindows([[2, 6, 10]], { ...vision, windowSize: 0 });
    expect([...windowIndex]).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect([...cuWindowSeqlens]).toEqual([...cuSeqlens]);
  });
});
