import type { Scene, Vector3 } from './types.ts';
import { makeCamera, MEAN_RIG, project } from './camera.ts';

const JITTER = 0.5;

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);

const det = (m: readonly (readonly number[])[]): number => {
  const at = (i: number, j: number): number => m[i]?.[j] as number;
  return (
    at(0, 0) * (at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1)) -
    at(0, 1) * (at(1, 0) * at(2, 2) - at(1, 2) * at(2, 0)) +
    at(0, 2) * (at(1, 0) * at(2, 1) - at(1, 1) * at(2, 0))
  );
};

function solve3(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const whole = det(a);
  return [0, 1, 2].map((column) => det(a.map((row, r) => row.map((value, c) => (c === column ? (b[r] as number) : value)))) / whole);
}

/**
 * The jittered camera position of a CLEVR scene, which its file does not record: Gauss-Newton on `pixel_coords` (columns
 * and rows are rounded, depths are not), with CLEVR's mean position as a weak prior, kept within its jitter of 0.5 an axis.
 */
export function fitCamera(scene: Pick<Scene, 'objects'>, size: { readonly width: number; readonly height: number }): Vector3 {
  const mean = MEAN_RIG.camera;
  const residuals = (position: readonly number[]): number[] => {
    const camera = makeCamera([position[0] as number, position[1] as number, position[2] as number], size.width, size.height);
    const out = scene.objects.flatMap((object) => {
      const [column, row, depth] = project(camera, object['3d_coords']);
      const seen = object.pixel_coords;
      return [column - seen[0], row - seen[1], 50 * (depth - seen[2])];
    });
    return [...out, ...mean.map((value, k) => 0.3 * ((position[k] as number) - value))];
  };
  let position: number[] = [...mean];
  for (let step = 0; step < 15; step++) {
    const now = residuals(position);
    const slopes = [0, 1, 2].map((k) => {
      const moved = position.map((value, i) => (i === k ? value + 1e-4 : value));
      return residuals(moved).map((value, i) => (value - (now[i] as number)) / 1e-4);
    });
    const move = solve3(slopes.map((a) => slopes.map((b) => dot(a, b))), slopes.map((a) => -dot(a, now)));
    position = position.map((value, k) => value + (move[k] as number));
  }
  const keep = (k: 0 | 1 | 2): number => Math.min(mean[k] + JITTER, Math.max(mean[k] - JITTER, position[k] as number));
  return [keep(0), keep(1), keep(2)];
}
