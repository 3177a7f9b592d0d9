import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config.ts';
import type { GridThw } from '../rope-index.ts';
import { patchLength } from '../vl/parameters.ts';
import { onnxVisionInputs } from './vision-inputs.ts';

const config = parseConfig(JSON.parse(readFileSync(new URL('../../test/fixtures/qwen25vl/model/config.json', import.meta.url), 'utf8')));
/** Patches on the side of a window. */
const SIDE = config.vision.windowSize / config.vision.patchSize;

const grid = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 7 })).map(([t, h, w]): GridThw => [t, 2 * h, 2 * w]);

describe('inputs of the vision encoder', () => {
  it('every patch is in one window and one frame, with those that share it and no others', () => {
    fc.assert(fc.property(fc.array(grid, { minLength: 1, maxLength: 3 }), (grids) => {
      const inputs = onnxVisionInputs(config, grids.map((gridThw) => ({ gridThw, pixelValues: new Float32Array(gridThw[0] * gridThw[1] * gridThw[2] * patchLength(config)) })));
      // Image, frame, row and column of each patch, walked as the processor lays them down: cells of 2 x 2.
      const places = grids.flatMap(([t, h, w], image) => Array.from({ length: t * h * w }, (_, i) => {
        const cell = Math.floor((i % (h * w)) / 4);
        return { image, frame: Math.floor(i / (h * w)), row: 2 * Math.floor(cell / (w / 2)) + Math.floor((i % 4) / 2), column: 2 * (cell % (w / 2)) + (i % 2) };
      }));
      const positions = inputs['patch_positions']!.data;
      expect(places.every(({ row, column }, i) => Number(positions[i]) === row && Number(positions[places.length + i]) === column)).toBe(true);
      for (const kind of ['window', 'frame'] as const) {
        const { data: index, dims } = inputs[`${kind}_index`]!;
        const mask = inputs[`${kind}_mask`]!.data;
        const inverse = inputs[`${kind}_inverse`]!.data;
        const key = (p: (typeof places)[number]) => JSON.stringify(kind === 'frame' ? [p.image, p.frame] : [p.image, p.frame, Math.floor(p.row / SIDE), Math.floor(p.column / SIDE)]);
        const longest = dims[1]!;
        const segmentOf = places.map((_, i) => Math.floor(Number(inverse[i]) / longest));
        places.forEach((_, i) => {
          expect(Number(index[Number(inverse[i])])).toBe(i);
          expect(mask[Number(inverse[i])]).toBe(0);
        });
        expect(Array.from(mask as Float32Array).filter((m) => m === 0)).toHaveLength(places.length);
        expect(new Set(places.map((p, i) => `${key(p)} ${segmentOf[i]}`)).size).toBe(new Set(places.map(key)).size);
        expect(dims[0]).toBe(new Set(places.map(key)).size);
      }
    }), { numRuns: 60 });
  });

  it('refuses pixels that do not fit the grid', () => {
    expect(() => onnxVisionInputs(config, [{ gridThw: [1, 4, 4], pixelValues: new Float32Array(10) }])).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    expect(() => onnxVisionInputs(config, [{ gridThw: [1, 3, 4], pixelValues: new Float32Array(10) }])).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });
});
