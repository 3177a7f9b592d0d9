/**
 * @file The cyclorama under and behind the scene: the plane z = 0, which bends along a quarter circle into a wall far
 * behind the objects. Position along the bend is u = (x, y) . BACK.
 */
import type { Vector3 } from '../scene/types.ts';

const BACK: readonly [number, number] = [-0.90286, 0.42993];
const BEND_START = 4;
const BEND_RADIUS = 22;
const TOP = 23.2;
/** The ground ends here in front of the scene; a reflection beyond it sees nothing. */
const REACH = 30;

/** Distance along a ray to the backdrop, or Infinity; the unit normal there is written to `normal`. */
export function hitBackdrop(
  ox: number, oy: number, oz: number, dx: number, dy: number, dz: number, normal: Float64Array,
): number {
  normal[0] = 0;
  normal[1] = 0;
  normal[2] = 1;
  const ou = ox * BACK[0] + oy * BACK[1];
  const du = dx * BACK[0] + dy * BACK[1];
  if (dz < 0) {
    const t = -oz / dz;
    if (t > 1e-6) {
      const u = ou + t * du;
      if (u <= BEND_START) return u < -REACH ? Infinity : t;
    }
  }
  // The bend: inside of the circle with centre (BEND_START, BEND_RADIUS) in the (u, z) plane.
  const cu = ou - BEND_START;
  const cz = oz - BEND_RADIUS;
  const a = du * du + dz * dz;
  const b = cu * du + cz * dz;
  const c = cu * cu + cz * cz - BEND_RADIUS * BEND_RADIUS;
  const root = b * b - a * c;
  if (root > 0 && a > 1e-12) {
    const t = (-b + Math.sqrt(root)) / a;
    const hu = cu + t * du;
    const hz = cz + t * dz;
    if (t > 1e-6 && hu >= 0 && hz <= 0) {
      normal[0] = (-hu / BEND_RADIUS) * BACK[0];
      normal[1] = (-hu / BEND_RADIUS) * BACK[1];
      normal[2] = -hz / BEND_RADIUS;
      return t;
    }
  }
  if (du > 1e-9) {
    const t = (BEND_START + BEND_RADIUS - ou) / du;
    const z = oz + t * dz;
    if (t > 1e-6 && z >= BEND_RADIUS && z <= TOP) {
      normal[0] = -BACK[0];
      normal[1] = -BACK[1];
      normal[2] = 0;
      return t;
    }
  }
  return Infinity;
}

/** A unit vector towards the wall, for tests and pictures. */
export const WALL_DIRECTION: Vector3 = [BACK[0], BACK[1], 0];
