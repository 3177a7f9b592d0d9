/**
 * @file The picture of a scene: one ray a pixel, then 2x2 rays where neighbours differ and on metal.
 * A pixel depends on the scene, the image size and its own place only: crops and tiles show the same bytes.
 */
import { resolveCrop, type Crop, type RgbImage } from '../../core/image.ts';
import { requireInteger } from '../../core/error.ts';
import { linearToByte } from '../../core/math.ts';
import { sceneCamera } from '../scene/camera.ts';
import type { Scene } from '../scene/types.ts';
import { Shader } from './shade.ts';

export interface RenderOptions {
  readonly width: number;
  readonly height: number;
  /** Draw only this window of the image. */
  readonly crop?: Crop | undefined;
}

/** A rendered scene: `ids` holds, for each pixel, 0 for the background or the object's index + 1. */
export interface RenderedScene extends RgbImage {
  readonly ids: Uint8Array;
}

/** Contrast between neighbouring pixels (of linear luminance) above which a pixel is drawn with four rays. */
const CONTRAST = 0.02;

/**
 * Draws a scene with CLEVR's camera, lights and materials. Uses + - * / and sqrt only, so that the bytes are the same in
 * every JavaScript engine. Throws `invalidArgument` for a bad size or crop.
 */
export function renderScene(scene: Pick<Scene, 'objects' | 'rig'>, options: RenderOptions): RenderedScene {
  const width = requireInteger('width', options.width, 8, 4096);
  const height = requireInteger('height', options.height, 8, 4096);
  const crop = resolveCrop(options.crop, width, height);
  const camera = sceneCamera(scene, width, height);
  const [ox, oy, oz] = camera.position;
  const { right, up, forward, focal } = camera;
  const shader = new Shader(scene);

  let sampledObject = -1;
  const sample = (column: number, row: number, grid: number, hash: number): void => {
    const u = (column - width / 2) / focal;
    const v = (height / 2 - row) / focal;
    let dx = forward[0] + u * right[0] + v * up[0];
    let dy = forward[1] + u * right[1] + v * up[1];
    let dz = forward[2] + v * up[2];
    const scale = 1 / Math.sqrt(dx * dx + dy * dy + dz * dz);
    dx *= scale;
    dy *= scale;
    dz *= scale;
    sampledObject = shader.firstObject(ox, oy, oz, dx, dy, dz, -1);
    shader.shade(sampledObject, ox, oy, oz, dx, dy, dz, grid, hash);
  };

  // A border of one pixel, so that the choice of where to refine does not depend on the crop.
  const pad = crop.width + 2;
  const total = pad * (crop.height + 2);
  const linear = new Float64Array(total * 3);
  const objects = new Int16Array(total);
  const luminance = new Float64Array(total);
  for (let row = -1; row <= crop.height; row++) {
    for (let column = -1; column <= crop.width; column++) {
      const at = (row + 1) * pad + column + 1;
      const x = crop.x + column;
      const y = crop.y + row;
      sample(x + 0.5, y + 0.5, 2, Math.imul(y * 4099 + x, 64));
      objects[at] = sampledObject;
      linear[3 * at] = shader.red;
      linear[3 * at + 1] = shader.green;
      linear[3 * at + 2] = shader.blue;
      luminance[at] = 0.3 * clip(shader.red) + 0.6 * clip(shader.green) + 0.1 * clip(shader.blue);
    }
  }

  const rgb = new Uint8Array(crop.width * crop.height * 3);
  const ids = new Uint8Array(crop.width * crop.height);
  for (let row = 0; row < crop.height; row++) {
    for (let column = 0; column < crop.width; column++) {
      const at = (row + 1) * pad + column + 1;
      const object = objects[at] as number;
      const l = luminance[at] as number;
      let red = linear[3 * at] as number;
      let green = linear[3 * at + 1] as number;
      let blue = linear[3 * at + 2] as number;
      let refine = object >= 0 && shader.isMetal(object);
      for (let k = 0; k < 4 && !refine; k++) {
        const near = at + (k === 0 ? 1 : k === 1 ? -1 : k === 2 ? pad : -pad);
        refine = objects[near] !== object || Math.abs((luminance[near] as number) - l) > CONTRAST;
      }
      if (refine) {
        const x = crop.x + column;
        const y = crop.y + row;
        red = green = blue = 0;
        for (let s = 0; s < 4; s++) {
          sample(x + 0.25 + 0.5 * (s & 1), y + 0.25 + 0.5 * (s >> 1), 1, Math.imul(y * 4099 + x, 64) + 8 + 8 * s);
          red += 0.25 * clip(shader.red);
          green += 0.25 * clip(shader.green);
          blue += 0.25 * clip(shader.blue);
        }
      }
      const out = row * crop.width + column;
      rgb[3 * out] = linearToByte(red);
      rgb[3 * out + 1] = linearToByte(green);
      rgb[3 * out + 2] = linearToByte(blue);
      ids[out] = object + 1;
    }
  }
  return { width: crop.width, height: crop.height, rgb, ids };
}

function clip(value: number): number {
  return value > 1 ? 1 : value;
}
