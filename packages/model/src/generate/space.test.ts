import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Range, Space } from './space.ts';

it('ranges in use never overlap, a refused call takes nothing, and what is given back can be had again in one piece', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.record({ take: fc.array(fc.nat(12), { minLength: 1, maxLength: 4 }) }), fc.record({ give: fc.nat() })), { maxLength: 60 }), (actions) => {
      const space = new Space(40);
      const used: Range[] = [];
      for (const action of actions) {
        const before = space.free;
        if ('give' in action) {
          const [range] = used.splice(action.give % Math.max(1, used.length), 1);
          if (range !== undefined) space.give(range);
          expect(space.free).toBe(before + (range?.length ?? 0));
          continue;
        }
        const got = space.take(action.take);
        if (got === undefined) expect(space.free).toBe(before);
        else {
          expect(got.map((range) => range.length)).toEqual(action.take);
          used.push(...got);
        }
      }
      const rows = used.flatMap(({ start, length }) => Array.from({ length }, (_, i) => start + i));
      expect(new Set(rows).size).toBe(rows.length);
      expect(rows.every((row) => row >= 0 && row < 40)).toBe(true);
      for (const range of used) space.give(range);
      expect(space.take([40])).toEqual([{ start: 0, length: 40 }]);
    }),
  );
});
