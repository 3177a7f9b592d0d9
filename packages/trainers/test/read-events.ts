/** @file An independent reader of TensorBoard event files: frames checked with a bitwise crc32c, protobuf by hand. */

export interface ReadEvent {
  wallTime: number;
  step: number;
  fileVersion: string;
  restart: boolean;
  scalars: Record<string, number>;
}

export function readEvents(file: Buffer): ReadEvent[] {
  const events: ReadEvent[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    if (unmask(file.readUInt32LE(at + 8)) !== castagnoli(file.subarray(at, at + 8))) throw new Error('crc of the length');
    const data = file.subarray(at + 12, at + 12 + length);
    if (unmask(file.readUInt32LE(at + 12 + length)) !== castagnoli(data)) throw new Error('crc of the data');
    events.push(event(data));
    at += 16 + length;
  }
  return events;
}

/** Bit by bit, with the polynomial as it is written in RFC 3720 (0x1EDC6F41), on reflected bytes. */
export function castagnoli(data: Uint8Array): number {
  const reflect = (x: number, bits: number) => Array.from({ length: bits }, (_, i) => (x >>> i) & 1).reduce((r, b) => ((r << 1) | b) >>> 0, 0);
  let crc = 0xffffffff;
  for (const byte of data) {
    crc = (crc ^ (reflect(byte, 8) << 24)) >>> 0;
    for (let k = 0; k < 8; k++) crc = (crc & 0x80000000 ? (crc << 1) ^ 0x1edc6f41 : crc << 1) >>> 0;
  }
  return (reflect(crc, 32) ^ 0xffffffff) >>> 0;
}

function unmask(x: number): number {
  const rotated = (x - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

function* fields(data: Buffer): Generator<{ field: number; value: number | Buffer }> {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < data.length) {
    const tag = varint();
    const field = tag >>> 3;
    switch (tag & 7) {
      case 0:
        yield { field, value: varint() };
        break;
      case 1:
        yield { field, value: data.readDoubleLE(at) };
        at += 8;
        break;
      case 2: {
        const n = varint();
        yield { field, value: data.subarray(at, at + n) };
        at += n;
        break;
      }
      case 5:
        yield { field, value: data.readFloatLE(at) };
        at += 4;
        break;
      default:
        throw new Error(`wire type ${tag & 7}`);
    }
  }
}

function event(data: Buffer): ReadEvent {
  const out: ReadEvent = { wallTime: 0, step: 0, fileVersion: '', restart: false, scalars: {} };
  for (const { field, value } of fields(data)) {
    if (field === 1) out.wallTime = value as number;
    if (field === 2) out.step = value as number;
    if (field === 3) out.fileVersion = String(value);
    if (field === 7) out.restart = [...fields(value as Buffer)].some((f) => f.field === 1 && f.value === 1);
    if (field !== 5) continue;
    for (const v of fields(value as Buffer)) {
      const parts = new Map([...fields(v.value as Buffer)].map((f) => [f.field, f.value]));
      out.scalars[String(parts.get(1))] = parts.get(2) as number;
    }
  }
  return out;
}
