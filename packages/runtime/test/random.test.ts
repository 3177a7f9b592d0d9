import fc from 'fast-check';
import { expect, it } from 'vitest';
import { philox } from '../src/index.ts';

/** Known answers of the Random123 distribution for Philox4x32-10. */
const KNOWN: [number[], number[], number[]][] = [
  [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
  [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
  [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]],
];

it.each(KNOWN)('philox of %j under %j', (counter, key, want) => {
  expect(Array.from(philox(counter as [number, number, number, number], key as [number, number]))).toEqual(want);
});

it('is the cipher written with big integers', () => {
  const words = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(fc.property(fc.tuple(words, words, words, words), fc.tuple(words, words), (counter, key) => {
    let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
    let [k0, k1] = key.map(BigInt) as [bigint, bigint];
    const mask = 0xffffffffn;
    for (let round = 0; round < 10; round++) {
      const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
      [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
      [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
    }
    expect(Array.from(philox(counter, key)).map(BigInt)).toEqual([c0, c1, c2, c3]);
  }));
});
