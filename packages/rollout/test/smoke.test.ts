import { expect, it } from 'vitest';
import { grpo, poroGrpo } from '../src/index.ts';

it('gives the advantages of the table in TRL and EasyR1', () => {
  const a = grpo().advantages({ rewards: [1, 0, 0, 1, 0, 0, 0, 1], groupIds: ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b'] });
  expect(a[0]).toBeCloseTo(0.8658754297607016, 12);
  expect(a[7]).toBeCloseTo(1.4997000599880024, 12);
  const p = poroGrpo().advantages({ rewards: [0, 0, 0, 0, 1, 1, 0, 1], groupIds: Array(8).fill(0) });
  expect(p[0]).toBeCloseTo(-0.724567437312177, 12);
  const out = poroGrpo().loss({ logps: [-1, -2], oldLogps: [-1.1, -2], refLogps: [-1, -2.1], advantages: [1], mask: [1, 1], shape: [1, 2] });
  expect(out.loss).toBeLessThan(0);
  expect(out.dLogp.length).toBe(2);
});
