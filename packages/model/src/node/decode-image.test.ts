import { describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { bytesSource } from '../safetensors/byte-source.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { decodeImage } from './decode-image.ts';
import { toRgb } from '../image/raw-image.ts';

const folder = new URL('../../test/fixtures/images/', import.meta.url);
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)));
/** Pixels of Pillow 12.3: `Image.open(name).convert('RGB')`. */
const pil = await SafetensorsFile.open(bytesSource(read('pil.safetensors')));

describe('decodeImage', () => {
  it.each([...pil.tensors.keys()])('equals PIL: %s', async (name) => {
    const image = await decodeImage(read(name));
    expect([image.height, image.width]).toEqual(pil.info(name).shape.slice(0, 2));
    const expected = await pil.readBytes(name);
    const actual = toRgb(image);
    let worst = 0;
    expected.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - (actual[i] ?? NaN))); });
    expect(worst).toBe(0);
  });

  it.each(['rgb.png', 'q85.jpg', 'lossy.webp'])('refuses a truncated file: %s', async (name) => {
    const bytes = read(name);
    await expect(decodeImage(bytes.slice(0, bytes.length / 2))).rejects.toMatchObject({ name: 'ModelError', code: 'invalid-image' });
  });

  it.each([[new Uint8Array(0)], [new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg"/>')], [Uint8Array.of(0x47, 0x49, 0x46)]])('refuses other formats', async (bytes) => {
    await expect(decodeImage(bytes)).rejects.toMatchObject({ code: 'invalid-image' });
  });
});
