/** @file The fixtures of `test/fixtures/qwen25vl`, for tests. */
import { readFileSync } from 'node:fs';
import { bytesSource } from '../src/safetensors/byte-source.ts';
import { SafetensorsFile } from '../src/safetensors/reader.ts';

const FOLDER = new URL('./fixtures/qwen25vl/', import.meta.url);

export function goldenBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(path, FOLDER)));
}

export function goldenText(path: string): string {
  return readFileSync(new URL(path, FOLDER), 'utf8');
}

export function goldenJson<T = Record<string, unknown>>(path: string): T {
  return JSON.parse(goldenText(path)) as T;
}

export function goldenTensors(path: string): Promise<SafetensorsFile> {
  return SafetensorsFile.open(bytesSource(goldenBytes(path), path));
}

/** Path of a fixture on disk. */
export function goldenPath(path: string): URL {
  return new URL(path, FOLDER);
}
