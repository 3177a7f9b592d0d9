import fc from 'fast-check';
import { expect, it } from 'vitest';
import { eventFileName, fileVersionRecord, restartRecord, scalarRecord } from '../src/index.ts';
import { crc32c } from '../src/metrics/tensorboard.ts';
import { castagnoli, readEvents } from './read-events.ts';

it('crc32c of the vectors in RFC 3720, appendix B.4', () => {
  const all = (f: (i: number) => number) => Uint8Array.from({ length: 32 }, (_, i) => f(i));
  expect(crc32c(all(() => 0))).toBe(0x8a9136aa);
  expect(crc32c(all(() => 0xff))).toBe(0x62a8ab43);
  expect(crc32c(all((i) => i))).toBe(0x46dd794e);
  expect(crc32c(all((i) => 31 - i))).toBe(0x113fdb5c);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => crc32c(data) === castagnoli(data)));
});

it('the version record is the one that TensorFlow writes', () => {
  // 24-byte event: wall_time 1.0, file_version "brain.Event:2".
  const record = Buffer.from(fileVersionRecord(1));
  expect(record.subarray(12, 36).toString('hex')).toBe(`09000000000000f03f1a0d${Buffer.from('brain.Event:2').toString('hex')}`);
  expect(record.length).toBe(16 + 24);
});

it('what is written is what a reader finds', () => {
  const scalars = fc.dictionary(fc.string({ minLength: 1, maxLength: 200 }).filter((k) => k !== '__proto__'), fc.float(), { maxKeys: 40 });
  fc.assert(
    fc.property(fc.array(fc.record({ wallTime: fc.double({ min: 0, max: 1e10, noNaN: true }), step: fc.nat({ max: 2 ** 40 }), scalars }), { maxLength: 5 }), (events) => {
      const file = Buffer.concat([fileVersionRecord(0), ...events.map((e) => scalarRecord(e)), restartRecord(3, 300)]);
      const read = readEvents(file);
      expect(read.slice(1, -1).map(({ wallTime, step }) => ({ wallTime, step }))).toEqual(events.map(({ wallTime, step }) => ({ wallTime: wallTime + 0, step })));
      read.slice(1, -1).forEach((e, i) => expect(e.scalars).toEqual({ ...events[i]!.scalars }));
      expect(read.at(-1)).toMatchObject({ restart: true, step: 300 });
    }),
    { numRuns: 60 },
  );
});

it('names of event files stand in the order of time', () => {
  expect(eventFileName(1_790_000_000.5, 'host')).toBe('events.out.tfevents.1790000000.host');
});
