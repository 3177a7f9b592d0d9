import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { goldenJson, goldenTensors } from '../../test/golden.ts';
import { parseConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { patchify, preprocessImage } from './preprocess.ts';
import { parsePreprocessorConfig } from './preprocessor-config.ts';
import { resizeBicubic } from './resize-bicubic.ts';
import { smartResize } from './smart-resize.ts';

const model = parseConfig(goldenJson('model/config.json'));
const config = parsePreprocessorConfig(goldenJson('model/preprocessor_config.json'), model);

describe('smartResize', () => {
  it('equals transformers on the 300 golden sizes', () => {
    const table = goldenJson<{ smart_resize_h_w_factor_min_max_result: [number, number, number, number, number, [number, number]][] }>('tables.json').smart_resize_h_w_factor_min_max_result;
    expect(table).toHaveLength(300);
    for (const [h, w, factor, min, max, [height, width]] of table) expect(smartResize(h, w, factor, min, max), `${h}x${w}`).toEqual({ height, width });
  });

  it('rounds halves to even, as Python does', () => {
    expect(smartResize(70, 70)).toEqual({ height: 56, width: 56 });
    expect(smartResize(98, 98)).toEqual({ height: 112, width: 112 });
  });

  it.each([[1, 201], [0, 5], [2.5, 5], [Number.NaN, 1], [-28, 28]])('refuses %d x %d', (h, w) => {
    expect(() => smartResize(h, w)).toThrowError(ModelError);
  });
});

describe('resizeBicubic', () => {
  it('equals PIL in every bit: as it is, down and up', async () => {
    const file = await goldenTensors('preprocess.safetensors');
    const image = await file.readBytes('image_u8_hwc');
    for (const name of ['native', 'down', 'up']) {
      const key = `${name}.pil_resized_u8_hwc`;
      const [height = 0, width = 0] = file.info(key).shape;
      expect(resizeBicubic(image, 93, 61, width, height)).toEqual(await file.readBytes(key));
    }
  });

  it('leaves a flat image flat at any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(255), (w, h, outW, outH, value) => {
        expect(resizeBicubic(new Uint8Array(w * h * 3).fill(value), w, h, outW, outH).every((byte) => byte === value)).toBe(true);
      }),
    );
  });
});

describe('preprocessImage', () => {
  it('equals the Python processor: pixel values and grid', async () => {
    const file = await goldenTensors('preprocess.safetensors');
    const data = await file.readBytes('image_u8_hwc');
    const { pixelValues, gridThw } = preprocessImage({ width: 93, height: 61, data }, config);
    expect(gridThw).toEqual([...(await file.readFloat32('native.image_grid_thw'))]);
    const expected = await file.readFloat32('native.pixel_values');
    expect(pixelValues).toHaveLength(expected.length);
    let worst = 0;
    expected.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - (pixelValues[i] ?? NaN))); });
    expect(worst).toBeLessThanOrEqual(2.4e-7);
    for (const name of ['down', 'up']) {
      const resized = await file.readBytes(`${name}.pil_resized_u8_hwc`);
      const [height = 0, width = 0] = file.info(`${name}.pil_resized_u8_hwc`).shape;
      expect(patchify(resized, width, height, config).gridThw).toEqual([...(await file.readFloat32(`${name}.image_grid_thw`))]);
    }
  });

  it('drops alpha and repeats grey', () => {
    const rgb = preprocessImage({ width: 28, height: 28, data: new Uint8Array(28 * 28 * 3).fill(7) }, config).pixelValues;
    expect(preprocessImage({ width: 28, height: 28, data: new Uint8Array(28 * 28).fill(7) }, config).pixelValues).toEqual(rgb);
    const rgba = new Uint8ClampedArray(28 * 28 * 4).map((_, i) => (i % 4 === 3 ? i % 256 : 7));
    expect(preprocessImage({ width: 28, height: 28, data: rgba }, config).pixelValues).toEqual(rgb);
  });

  it.each([[0, 0, 0], [2, 2, 5], [1.5, 2, 9], [300, 1, 900]])('refuses %d x %d with %d bytes', (width, height, bytes) => {
    expect(() => preprocessImage({ width, height, data: new Uint8Array(bytes) }, config)).toThrowError(ModelError);
  });
});

describe('parsePreprocessorConfig', () => {
  it('reads both forms of the bounds', () => {
    expect(config).toMatchObject({ minPixels: 3136, maxPixels: 12544 });
    // A file without them: the defaults of transformers' class, not those of the published files.
    expect(parsePreprocessorConfig({ patch_size: 14 }, model)).toMatchObject({ minPixels: 3136, maxPixels: 1003520 });
    expect(parsePreprocessorConfig({ size: { shortest_edge: 6272, longest_edge: 12544 } }, model)).toMatchObject({ minPixels: 6272, maxPixels: 12544 });
    expect(parsePreprocessorConfig({ size: { min_pixels: 6272, max_pixels: 12544, height: null } }, model)).toMatchObject({ minPixels: 6272, maxPixels: 12544 });
    expect(parsePreprocessorConfig({ min_pixels: 3136, max_pixels: null, size: { shortest_edge: 6272, longest_edge: 12544 } }, model)).toMatchObject({ minPixels: 3136, maxPixels: 12544 });
  });

  it('refuses sizes that are no areas, by name', () => {
    for (const size of [{ height: 224, width: 224 }, { shortest_edge: 3136, longest_edge: 12544, height: 224 }]) expect(() => parsePreprocessorConfig({ size }, model)).toThrowError(expect.objectContaining({ code: 'invalid-config', argument: 'preprocessor_config.size.height' }));
  });

  it.each([{ patch_size: 16 }, { do_resize: false }, { resample: 2 }, { image_std: [0, 1, 1] }, { min_pixels: 1e6, max_pixels: 10 }])('refuses %j', (json) => {
    expect(() => parsePreprocessorConfig(json, model)).toThrowError(ModelError);
  });
});
