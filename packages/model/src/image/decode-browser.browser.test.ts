import { describe, expect, it } from 'vitest';
import { directoryHandleFiles } from '../files/model-files.ts';
import { bytesSource } from '../safetensors/byte-source.ts';
import { openCheckpoint } from '../safetensors/checkpoint.ts';
import { SafetensorsFile } from '../safetensors/reader.ts';
import { floatTensor, serializeSafetensors } from '../safetensors/writer.ts';
import { decodeImageInBrowser } from './decode-browser.ts';
import { toRgb } from './raw-image.ts';

async function fixture(name: string): Promise<Uint8Array> {
  const response = await fetch(new URL(`../../test/fixtures/images/${name}`, import.meta.url));
  expect(response.ok).toBe(true);
  return new Uint8Array(await response.arrayBuffer());
}

describe('decodeImageInBrowser', () => {
  it.each(['rgb.png', 'grey.png', 'palette.png', 'lossless.webp', 'q85.jpg', 'q95-444.jpg', 'grey.jpg', 'progressive.jpg', 'lossy.webp'])('equals PIL: %s', async (name) => {
    const pil = await SafetensorsFile.open(bytesSource(await fixture('pil.safetensors')));
    const image = await decodeImageInBrowser(await fixture(name));
    expect([image.height, image.width, 3]).toEqual(pil.info(name).shape);
    const expected = await pil.readBytes(name);
    const actual = toRgb(image);
    let worst = 0;
    expected.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - (actual[i] ?? NaN))); });
    // Lossless formats leave no choice; browsers round a lossy one in their own way.
    if (name.endsWith('.png') || name === 'lossless.webp') expect(worst).toBe(0);
    else expect(worst).toBeLessThanOrEqual(4);
  });

  it('refuses what it cannot decode', async () => {
    const bytes = await fixture('rgb.png');
    await expect(decodeImageInBrowser(bytes.slice(0, 40))).rejects.toMatchObject({ name: 'ModelError', code: 'invalid-image' });
    await expect(decodeImageInBrowser(new Uint8Array(3))).rejects.toMatchObject({ code: 'invalid-image' });
  });
});

describe('directoryHandleFiles', () => {
  it('reads a checkpoint from the origin-private file system', async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('trimpi-test', { create: true });
    const values = Float32Array.of(1, -2.5, 3);
    const stream = await (await root.getFileHandle('model.safetensors', { create: true })).createWritable();
    await stream.write(serializeSafetensors(new Map([['visual.a', floatTensor(values, [3])]])).slice());
    await stream.close();
    const files = directoryHandleFiles(root);
    expect(await files.open('nothing')).toBeNull();
    expect(await (await openCheckpoint(files)).readFloat32('model.visual.a')).toEqual(values);
  });
});
