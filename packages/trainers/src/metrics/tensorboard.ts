/**
 * @file TensorBoard event files. A file is a row of TFRecords (tensorflow/core/lib/io/record_writer.h):
 *
 *   uint64 length, uint32 masked crc32c(length), length bytes, uint32 masked crc32c(bytes); all little-endian
 *   masked(c) = rotate_right(c, 15) + 0xa282ead8
 *
 * Each record is an `Event` (tensorflow/core/util/event.proto), here with the fields that scalars need:
 *
 *   Event   1: wall_time double, 2: step int64, 3: file_version string, 5: summary, 7: session_log
 *   Summary 1: repeated Value { 1: tag string, 2: simple_value float }
 *   SessionLog 1: status enum (START = 1): readers drop events of earlier files from its step on
 */

export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** The first record of every event file. */
export function fileVersionRecord(wallTime: number): Uint8Array {
  return record(new Proto().double(1, wallTime).text(3, 'brain.Event:2').bytes());
}

/** Says that what other files of the folder hold from `step` on is void: written when a training goes on from a checkpoint. */
export function restartRecord(wallTime: number, step: number): Uint8Array {
  return record(new Proto().double(1, wallTime).integer(2, step).message(7, new Proto().integer(1, 1)).bytes());
}

export function scalarRecord({ wallTime, step, scalars }: ScalarEvent): Uint8Array {
  const summary = new Proto();
  for (const [tag, value] of Object.entries(scalars)) summary.message(1, new Proto().text(1, tag).float(2, value));
  return record(new Proto().double(1, wallTime).integer(2, step).message(5, summary).bytes());
}

/** `events.out.tfevents.{seconds}.{host}`: TensorBoard finds files by it, and reads them in order of their names. */
export function eventFileName(wallTime: number, host: string): string {
  return `events.out.tfevents.${String(Math.floor(wallTime)).padStart(10, '0')}.${host}`;
}

/** Bytes in the TFRecord frame. */
function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(16 + data.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(out.subarray(0, 8))), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return out;
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Castagnoli's polynomial, reflected (RFC 3720, appendix B.4). */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** Protocol buffers on the wire: a tag (field << 3 | type), then the value. */
class Proto {
  readonly #out: number[] = [];

  /** int64 of a non-negative number: varint, type 0. */
  integer(field: number, value: number): this {
    this.#varint(field << 3);
    return this.#varint(value);
  }

  double(field: number, value: number): this {
    this.#varint((field << 3) | 1);
    return this.#raw(new Uint8Array(new Float64Array([value]).buffer));
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5);
    return this.#raw(new Uint8Array(new Float32Array([value]).buffer));
  }

  text(field: number, value: string): this {
    return this.#lengthDelimited(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Proto): this {
    return this.#lengthDelimited(field, value.bytes());
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.#out);
  }

  #lengthDelimited(field: number, data: Uint8Array): this {
    this.#varint((field << 3) | 2);
    this.#varint(data.length);
    return this.#raw(data);
  }

  #varint(value: number): this {
    let rest = value;
    while (rest >= 128) {
      this.#out.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.#out.push(rest);
    return this;
  }

  /** Typed arrays are little-endian wherever WebGPU runs. */
  #raw(data: Uint8Array): this {
    for (const byte of data) this.#out.push(byte);
    return this;
  }
}
