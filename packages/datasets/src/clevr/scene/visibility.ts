/**
 * @file How many pixels of each object can be seen. Rays are cast only inside the projected bounds of the objects, and
 * objects that nothing can hide are accepted from their inscribed sphere, so that a scene costs microseconds.
 */
import { hitObject, makeGeometry, type Geometry } from '../render/geometry.ts';
import { project, sceneCamera, type Camera } from './camera.ts';
import type { Crop } from '../../core/image.ts';
import type { Scene } from './types.ts';

interface Bounds {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly depth: number;
  readonly column: number;
  readonly row: number;
  readonly inner: number;
  readonly outer: number;
}

function projectedBounds(g: Geometry, i: number, camera: Camera, crop: Crop): Bounds {
  const [column, row, depth] = project(camera, [g.x[i] as number, g.y[i] as number, g.z[i] as number]);
  const bound = g.bound[i] as number;
  // A sphere off the axis projects to an ellipse; 1/cos^2 of its angle bounds how much longer that is.
  const dx = (column - camera.width / 2) / camera.focal;
  const dy = (row - camera.height / 2) / camera.focal;
  const outer = (camera.focal * bound * (1 + dx * dx + dy * dy)) / Math.sqrt(depth * depth - bound * bound) + 1;
  return {
    left: Math.max(crop.x, Math.floor(column - outer)),
    right: Math.min(crop.x + crop.width - 1, Math.ceil(column + outer)),
    top: Math.max(crop.y, Math.floor(row - outer)),
    bottom: Math.min(crop.y + crop.height - 1, Math.ceil(row + outer)),
    depth,
    column,
    row,
    inner: (camera.focal * (g.radius[i] as number)) / depth,
    outer,
  };
}

function overlaps(a: Bounds, b: Bounds): boolean {
  const dx = a.column - b.column;
  const dy = a.row - b.row;
  const reach = a.outer + b.outer;
  return dx * dx + dy * dy <= reach * reach;
}

export interface VisibilityOptions {
  readonly width: number;
  readonly height: number;
  readonly crop?: Crop | undefined;
  /** Counting an object may stop once it has that many. */
  readonly enough?: number;
}

interface View {
  readonly geometry: Geometry;
  readonly camera: Camera;
  readonly crop: Crop;
  readonly bounds: readonly Bounds[];
  readonly enough: number;
}

function look(scene: Pick<Scene, 'objects' | 'rig'>, options: VisibilityOptions): View {
  const { width, height } = options;
  const crop = options.crop ?? { x: 0, y: 0, width, height };
  const camera = sceneCamera(scene, width, height);
  const geometry = makeGeometry(scene.objects);
  return { geometry, camera, crop, enough: options.enough ?? Infinity, bounds: scene.objects.map((_, i) => projectedBounds(geometry, i, camera, crop)) };
}

function pixelsOf(view: View, i: number): number {
  const { bounds, crop, enough } = view;
  const b = bounds[i] as Bounds;
  const rivals: number[] = [];
  bounds.forEach((other, j) => {
    if (j !== i && other.depth < b.depth + 2 && overlaps(b, other)) rivals.push(j);
  });
  const whole =
    b.column - b.inner >= crop.x && b.column + b.inner <= crop.x + crop.width &&
    b.row - b.inner >= crop.y && b.row + b.inner <= crop.y + crop.height;
  const certain = 3.1 * (b.inner - 0.75) * (b.inner - 0.75);
  if (rivals.length === 0 && whole && b.inner > 1 && certain >= enough) return enough;
  return countPixels(view.geometry, i, rivals, view.camera, b, enough);
}

/** Visible pixels of each object at an image size: pixel centres whose ray meets the object first. */
export function visiblePixels(scene: Pick<Scene, 'objects' | 'rig'>, options: VisibilityOptions): number[] {
  const view = look(scene, options);
  return scene.objects.map((_, i) => pixelsOf(view, i));
}

/** Whether every object shows at least `least` pixels; the farthest, which are hidden most often, are tried first. */
export function allVisible(scene: Pick<Scene, 'objects' | 'rig'>, options: VisibilityOptions, least: number): boolean {
  const view = look(scene, { ...options, enough: least });
  const order = scene.objects.map((_, i) => i).toSorted((a, b) => (view.bounds[b] as Bounds).depth - (view.bounds[a] as Bounds).depth);
  return order.every((i) => pixelsOf(view, i) >= least);
}

function countPixels(g: Geometry, i: number, rivals: readonly number[], camera: Camera, b: Bounds, enough: number): number {
  const [ox, oy, oz] = camera.position;
  const { right, up, forward, focal, width, height } = camera;
  let count = 0;
  // From the middle row outwards, where the object is: with a bound on the count, few rays then miss.
  const middle = Math.max(b.top, Math.min(b.bottom, Math.floor(b.row)));
  const reach = Math.max(middle - b.top, b.bottom - middle);
  for (let k = 0; k <= 2 * reach; k++) {
    const row = middle + (k % 2 === 0 ? k / 2 : -(k + 1) / 2);
    if (row < b.top || row > b.bottom) continue;
    for (let column = b.left; column <= b.right; column++) {
      const u = (column + 0.5 - width / 2) / focal;
      const v = (height / 2 - row - 0.5) / focal;
      let dx = forward[0] + u * right[0] + v * up[0];
      let dy = forward[1] + u * right[1] + v * up[1];
      let dz = forward[2] + v * up[2];
      const scale = 1 / Math.sqrt(dx * dx + dy * dy + dz * dz);
      dx *= scale;
      dy *= scale;
      dz *= scale;
      const t = hitObject(g, i, ox, oy, oz, dx, dy, dz, Infinity);
      if (t === Infinity) continue;
      let hidden = false;
      for (const j of rivals) {
        if (hitObject(g, j, ox, oy, oz, dx, dy, dz, t) < t) {
          hidden = true;
          break;
        }
      }
      if (!hidden && ++count >= enough) return count;
    }
  }
  return count;
}
