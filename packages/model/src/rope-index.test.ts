import { describe, expect, it } from 'vitest';
import { goldenJson, goldenTensors } from '../test/golden.ts';
import { parseConfig } from './config.ts';
import { getRopeIndex, type GridThw } from './rope-index.ts';

const config = parseConfig(goldenJson('model/config.json'));
const cases = goldenJson<{ rope_index: { name: string; input_ids: number[][]; image_grid_thw: GridThw[] | null; position_ids: number[][][]; delta: number[][]; next_position: number }[] }>('tables.json').rope_index;

describe('getRopeIndex', () => {
  it.each(cases)('equals transformers: $name', ({ input_ids, image_grid_thw, position_ids, delta, next_position }) => {
    const ids = input_ids[0] ?? [];
    const { positionIds, ropeDelta } = getRopeIndex(ids, image_grid_thw ?? [], config);
    expect([...positionIds]).toEqual(position_ids.flatMap((axis) => axis[0]));
    expect(ropeDelta).toBe(delta[0]?.[0]);
    expect(ids.length + ropeDelta).toBe(next_position);
  });

  it('equals transformers on a right-padded batch, and does not see the side of the padding', async () => {
    const file = await goldenTensors('case_batch_right_pad.safetensors');
    const read = async (name: string): Promise<number[]> => [...(await file.readFloat32(name))];
    const ids = await read('in.input_ids');
    const mask = await read('in.attention_mask');
    const expected = await read('in.position_ids');
    const grids: GridThw[][] = [[[1, 8, 8]], [], [[1, 2, 4]]];
    const deltas = await read('in.rope_deltas');
    const length = ids.length / 3;
    grids.forEach((grid, row) => {
      const rowIds = ids.slice(row * length, (row + 1) * length);
      const rowMask = mask.slice(row * length, (row + 1) * length);
      const real = rowMask.filter((m) => m === 1).length;
      const right = getRopeIndex(rowIds, grid, config, rowMask);
      const left = getRopeIndex([...rowIds.slice(real), ...rowIds.slice(0, real)], grid, config, [...rowMask.slice(real), ...rowMask.slice(0, real)]);
      for (let axis = 0; axis < 3; axis++) {
        const golden = expected.slice((axis * 3 + row) * length, (axis * 3 + row) * length + real);
        expect([...right.positionIds.subarray(axis * length, axis * length + real)]).toEqual(golden);
        expect([...left.positionIds.subarray((axis + 1) * length - real, (axis + 1) * length)]).toEqual(golden);
      }
      expect(right.ropeDelta).toBe(deltas[row]);
      expect(left.ropeDelta).toBe(deltas[row]);
    });
  });

  it.each([
    ['too few image tokens', [1, 510, 510, 2], [[1, 4, 4]], 'fewer image tokens'],
    ['an image cut off by the end', [1, 510], [[1, 4, 4]], 'fewer image tokens'],
    ['no grid', [510], [], 'fewer images'],
    ['a grid too many', [1, 2], [[1, 2, 2]], 'more images'],
    ['an odd grid', [510], [[1, 2, 3]], 'multiples of 2'],
    ['a video', [511], [], 'video'],
  ] as [string, number[], GridThw[], string][])('refuses %s', (_name, ids, grids, message) => {
    expect(() => getRopeIndex(ids, grids, config)).toThrow(message);
  });
});
