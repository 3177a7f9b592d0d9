import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Message } from './proto.ts';

const bytesOf = (m: Message) => m.pieces.flatMap((p) => [...(p as Uint8Array)]);

describe('protobuf', () => {
  // Examples of protobuf.dev/programming-guides/encoding.
  it('writes what the specification shows', () => {
    expect(bytesOf(new Message().integer(1, 150))).toEqual([0x08, 0x96, 0x01]);
    expect(bytesOf(new Message().string(2, 'testing'))).toEqual([0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
    expect(bytesOf(new Message().message(3, new Message().integer(1, 150)))).toEqual([0x1a, 0x03, 0x08, 0x96, 0x01]);
    expect(bytesOf(new Message().integer(1, -2))).toEqual([0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    expect(bytesOf(new Message().float(1, 1))).toEqual([0x0d, 0, 0, 0x80, 0x3f]);
    expect(bytesOf(new Message().integer(20, 7))).toEqual([0xa0, 0x01, 0x07]);
  });

  it('every int64 is read back, and sizes are those of the bytes', () => {
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer({ min: 1, max: 15 }), (value, field) => {
      const m = new Message().integer(field, value).bytes(field, { size: 300, read: () => new Uint8Array(300) });
      const [tag, number] = [m.pieces[0] as Uint8Array, m.pieces[1] as Uint8Array];
      expect(tag[0]! >> 3).toBe(field);
      expect(BigInt.asIntN(64, number.reduceRight((sum, byte) => (sum << 7n) | BigInt(byte & 127), 0n))).toBe(value);
      expect(number.every((byte, i) => byte > 127 === i < number.length - 1)).toBe(true);
      expect(m.size).toBe(tag.length + number.length + 1 + 2 + 300);
    }));
  });
});
