/** @file Reads tensors of one safetensors file, by range. */
import { ModelError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { toFloat32 } from './dtype.ts';
import { headerLength, parseHeader, type SafetensorsHeader, type TensorInfo } from './header.ts';

/** An open file: its header is in memory, its tensors are not. */
export class SafetensorsFile {
  readonly source: ByteSource;
  readonly tensors: SafetensorsHeader['tensors'];
  readonly metadata: SafetensorsHeader['metadata'];

  private constructor(source: ByteSource, header: SafetensorsHeader) {
    this.source = source;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
  }

  /** Reads and checks the header. @throws ModelError `invalid-safetensors` or `io`. */
  static async open(source: ByteSource): Promise<SafetensorsFile> {
    const size = await source.size();
    const prefix = size < 8 ? new Uint8Array(0) : await source.read(0, 8);
    const length = headerLength(prefix, size, source.name);
    return new SafetensorsFile(source, parseHeader(await source.read(8, length), size, source.name));
  }

  /** @throws ModelError `tensor-mismatch` for a name that is not in the file. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info === undefined) {
      throw new ModelError('tensor-mismatch', { argument: this.source.name, value: name, message: 'has no tensor of this name', remedy: 'Use the names of `tensors`.' });
    }
    return info;
  }

  /** The bytes of a tensor, or of `length` bytes from `offset` inside of it. */
  readBytes(name: string, offset = 0, length?: number): Promise<Uint8Array> {
    const info = this.info(name);
    const size = info.end - info.begin;
    const count = length ?? size - offset;
    if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(count) || count < 0 || offset + count > size) {
      throw new ModelError('invalid-input', { argument: name, value: [offset, count], message: `has only ${size} bytes`, remedy: 'Read inside of the tensor.' });
    }
    return this.source.read(info.begin + offset, count);
  }

  /** A tensor as float32 values, row-major, whatever its dtype. */
  async readFloat32(name: string): Promise<Float32Array> {
    return toFloat32(await this.readBytes(name), this.info(name).dtype);
  }
}
