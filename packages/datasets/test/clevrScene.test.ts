import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import {
  cogentTypes, computeRelationships, DIRECTIONS, fitCamera, generateScene, MEAN_RIG, parseScenes, project, psnr, renderScene, sceneCamera,
  visiblePixels, DatasetError, SIZES,
} from '../src/index.ts';
import { cos, linearToByte, sin, srgbToLinear } from '../src/core/math.ts';
import golden from './fixtures/renderGolden.json';
import fitted from './fixtures/renderFit.json';

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 32);

describe('own arithmetic', () => {
  it('agrees with Math.sin and Math.cos to 1e-13 over CLEVR\'s rotations', () => {
    for (let i = 0; i < 20000; i++) {
      const x = (i / 20000) * 360;
      expect(Math.abs(sin(x) - Math.sin(x))).toBeLessThan(1e-12);
      expect(Math.abs(cos(x) - Math.cos(x))).toBeLessThan(1e-12);
    }
  });
  it('inverts the sRGB curve at every byte and agrees with Math.pow', () => {
    for (let k = 0; k < 256; k++) {
      expect(linearToByte(srgbToLinear(k / 255))).toBe(k);
      const s = k / 255;
      const expected = s <= 0.04045 ? s / 12.92 : Math.pow((s + 0.055) / 1.055, 2.4);
      expect(Math.abs(srgbToLinear(s) - expected)).toBeLessThan(1e-14);
    }
    expect(linearToByte(Number.NaN)).toBe(0);
    expect(linearToByte(7)).toBe(255);
  });
});

describe('generateScene', () => {
  it('keeps CLEVR\'s margins, visibility and counts, and is a function of config and seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (seed) => {
        const config = { width: 160, height: 120 };
        const scene = generateScene(config, seed);
        expect(scene).toEqual(generateScene(config, seed));
        expect(scene.objects.length).toBeGreaterThanOrEqual(3);
        expect(scene.objects.length).toBeLessThanOrEqual(10);
        const radius = (i: number): number => (scene.objects[i]?.size === 'large' ? 0.7 : 0.35);
        scene.objects.forEach((a, i) => {
          expect(a['3d_coords'][2]).toBe(radius(i));
          scene.objects.slice(0, i).forEach((b, j) => {
            const dx = a['3d_coords'][0] - b['3d_coords'][0];
            const dy = a['3d_coords'][1] - b['3d_coords'][1];
            expect(Math.hypot(dx, dy) - radius(i) - radius(j)).toBeGreaterThanOrEqual(0.25);
            for (const d of [DIRECTIONS.right, DIRECTIONS.behind]) expect(Math.abs(dx * d[0] + dy * d[1])).toBeGreaterThanOrEqual(0.4);
          });
        });
        const { ids } = renderScene(scene, config);
        scene.objects.forEach((_, i) => expect(ids.filter((id) => id === i + 1).length).toBeGreaterThanOrEqual(50));
      }),
      { numRuns: 25, seed: 4 },
    );
  });

  it('counts the pixels that the id pass shows', () => {
    for (let seed = 0; seed < 12; seed++) {
      const scene = generateScene({ width: 112, height: 84 }, seed);
      const crop = { x: 10, y: 14, width: 90, height: 56 };
      const { ids } = renderScene(scene, { width: 112, height: 84, crop });
      expect(visiblePixels(scene, { width: 112, height: 84, crop })).toEqual(scene.objects.map((_, i) => ids.filter((id) => id === i + 1).length));
    }
  });

  it('honours a restricted scene: 3 to 5 objects of at least 16 pixels inside a crop', () => {
    const config = { width: 112, height: 84, crop: { x: 0, y: 14, width: 112, height: 56 }, minObjects: 3, maxObjects: 5, minPixels: 16 };
    for (let seed = 0; seed < 40; seed++) {
      const scene = generateScene(config, seed);
      expect(scene.objects.length).toBeLessThanOrEqual(5);
      expect(Math.min(...visiblePixels(scene, config))).toBeGreaterThanOrEqual(16);
    }
  });

  it('knows CoGenT: 64 kinds a condition, which share only the spheres', () => {
    expect([cogentTypes('A').length, cogentTypes('B').length]).toEqual([64, 64]);
    expect(cogentTypes('A').filter((type) => cogentTypes('B').includes(type)).every((type) => type.shape === 'sphere')).toBe(true);
    expect(generateScene({ types: cogentTypes('A') }, 1).objects.some((o) => o.shape === 'cube' && o.color === 'red')).toBe(false);
  });

  it.each([
    [{ minObjects: 0 }, 'minObjects is 0'],
    [{ minObjects: 5, maxObjects: 4 }, 'maxObjects is 4'],
    [{ minObjects: 2.5 }, 'minObjects is 2.5'],
    [{ width: Number.NaN }, 'width is NaN'],
    [{ margin: -1 }, 'margin is -1'],
    [{ crop: { x: 0, y: 0, width: 9999, height: 10 } }, 'crop.width is 9999'],
    [{ types: [] }, 'types is empty'],
  ])('refuses %j', (config, message) => {
    expect(() => generateScene(config, 1)).toThrow(message);
    expect(() => generateScene(config, 1)).toThrow(DatasetError);
  });

  it('gives up with a remedy where nothing can be seen', () => {
    expect(() => generateScene({ minPixels: 70000, width: 320, height: 240 }, 1)).toThrow(/lower minPixels/);
  });
});

describe('renderScene', () => {
  const scene = generateScene({}, 'golden', 0);

  it('draws the committed bytes', () => {
    for (const { seed, width, height, rgb, ids } of golden) {
      const image = renderScene(generateScene({}, seed), { width, height });
      expect([sha(image.rgb), sha(image.ids)]).toEqual([rgb, ids]);
    }
  });

  it('draws the same pixels in any crop', () => {
    const whole = renderScene(scene, { width: 112, height: 84 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 90 }), fc.integer({ min: 0, max: 70 }), fc.integer({ min: 1, max: 22 }), fc.integer({ min: 1, max: 14 }), (x, y, width, height) => {
        const part = renderScene(scene, { width: 112, height: 84, crop: { x, y, width, height } });
        for (let r = 0; r < height; r++) {
          for (let c = 0; c < width; c++) {
            expect(part.ids[r * width + c]).toBe(whole.ids[(r + y) * 112 + c + x]);
            for (let k = 0; k < 3; k++) expect(part.rgb[3 * (r * width + c) + k]).toBe(whole.rgb[3 * ((r + y) * 112 + c + x) + k]);
          }
        }
      }),
      { numRuns: 20, seed: 9 },
    );
  });

  it('shows an object at its projected centre', () => {
    const { ids } = renderScene(scene, { width: 320, height: 240 });
    const pixels = visiblePixels(scene, { width: 320, height: 240 });
    const front = scene.objects.map((o, i) => ({ i, depth: o.pixel_coords[2] })).toSorted((a, b) => a.depth - b.depth)[0]?.i ?? 0;
    const [column, row] = project(sceneCamera(scene, 320, 240), scene.objects[front]?.['3d_coords'] ?? [0, 0, 0]);
    expect(ids[Math.floor(row) * 320 + Math.floor(column)]).toBe(front + 1);
    expect(pixels.every((n) => n >= 200)).toBe(true);
  });

  it('draws a single sphere of the size that the pinhole camera predicts', () => {
    const sphere = generateScene({ minObjects: 1, maxObjects: 1, types: SIZES.map((size) => ({ size, color: 'red', material: 'rubber', shape: 'sphere' })) }, 3);
    const object = sphere.objects[0];
    if (!object) throw new Error('one object expected');
    const camera = sceneCamera(sphere, 640, 480);
    const r = object.size === 'large' ? 0.7 : 0.35;
    const p = object['3d_coords'];
    const distance = Math.hypot(p[0] - camera.position[0], p[1] - camera.position[1], p[2] - camera.position[2]);
    const cosine = object.pixel_coords[2] / distance;
    const sine = r / distance;
    // Solid angle of the cone through the sphere, on the image plane: an ellipse of this area.
    const area = (Math.PI * camera.focal ** 2 * sine ** 2 * Math.sqrt(1 - sine ** 2) * cosine) / (cosine ** 2 - sine ** 2) ** 1.5 ;
    const counted = visiblePixels(sphere, { width: 640, height: 480 })[0] ?? 0;
    expect(Math.abs(counted / area - 1)).toBeLessThan(0.02);
  });
});

const samples = process.env['TRIMPI_CLEVR_SAMPLES'];
const reason = 'set TRIMPI_CLEVR_SAMPLES to a folder of CLEVR scenes (JSON and PNG, 320x240)';

describe.skipIf(samples === undefined || !existsSync(samples))(`against Blender (${reason})`, () => {
  const folder = samples ?? '';
  const load = (): { name: string; scene: ReturnType<typeof parseScenes>[number]; rgb: Uint8Array }[] =>
    readdirSync(folder).filter((name) => name.endsWith('.json')).toSorted().map((name) => {
      const [scene] = parseScenes(JSON.parse(readFileSync(join(folder, name), 'utf8')) as unknown);
      const png = decode(readFileSync(join(folder, name.replace('.json', '.png'))));
      if (!scene) throw new Error(`${name} holds no scene`);
      const rgb = new Uint8Array(png.width * png.height * 3);
      for (let i = 0; i < png.width * png.height; i++) for (let k = 0; k < 3; k++) rgb[3 * i + k] = png.data[png.channels * i + k] ?? 0;
      return { name, scene, rgb };
    });

  it('reproduces every relation list and the directions', () => {
    for (const { scene } of load()) {
      expect(computeRelationships(scene.objects.map((o) => o['3d_coords']), scene.directions)).toEqual(scene.relationships);
      for (const name of ['left', 'right', 'front', 'behind'] as const) {
        for (let k = 0; k < 3; k++) expect(scene.directions[name][k]).toBeCloseTo(DIRECTIONS[name][k] ?? 9, 6);
      }
    }
  });

  it('is within 29 dB of each image, 31 in the median, with only the camera fitted', () => {
    const measured = load().map(({ name, scene, rgb }) => {
      const camera = fitCamera(scene, { width: 320, height: 240 });
      const drawn = renderScene({ ...scene, rig: { ...MEAN_RIG, camera } }, { width: 320, height: 240 });
      return { name, db: Math.round(psnr({ width: 320, height: 240, rgb }, drawn) * 100) / 100 };
    });
    const sorted = measured.map((m) => m.db).toSorted((a, b) => a - b);
    if (process.env['TRIMPI_PRINT'] !== undefined) console.log(JSON.stringify({ worst: sorted[0], median: sorted[Math.floor(sorted.length / 2)], images: measured }));
    expect(sorted[0]).toBeGreaterThanOrEqual(29);
    expect(sorted[Math.floor(sorted.length / 2)]).toBeGreaterThanOrEqual(31);
    expect(measured).toEqual(fitted.images);
  });
});
