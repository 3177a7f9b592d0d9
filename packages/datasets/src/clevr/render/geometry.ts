/**
 * @file Rays against CLEVR's three shapes: an exact sphere, and a box and a cylinder with rounded edges, entered at their
 * sharp hull and finished by sphere tracing (a signed distance never overshoots a convex surface).
 */
import { SIZE_RADIUS } from '../attributes.ts';
import { cos, sin } from '../../core/math.ts';
import type { SceneObject } from '../scene/types.ts';

export const CUBE = 0;
export const SPHERE = 1;
export const CYLINDER = 2;

/** Rounding of edges in units of the radius (from CLEVR's meshes). */
const CUBE_EDGE = 0.18;
const CYLINDER_EDGE = 0.085;

/** Radius of the bounding sphere in units of the radius, by shape code. */
const BOUND = [1.601, 1, 1.38] as const;

/** Objects as flat arrays, for the inner loops. */
export interface Geometry {
  readonly count: number;
  readonly shape: Uint8Array;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly z: Float64Array;
  readonly radius: Float64Array;
  readonly bound: Float64Array;
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

export function makeGeometry(objects: readonly Pick<SceneObject, 'shape' | 'size' | '3d_coords' | 'rotation'>[]): Geometry {
  const n = objects.length;
  const g = {
    count: n,
    shape: new Uint8Array(n),
    x: new Float64Array(n),
    y: new Float64Array(n),
    z: new Float64Array(n),
    radius: new Float64Array(n),
    bound: new Float64Array(n),
    cos: new Float64Array(n),
    sin: new Float64Array(n),
  };
  objects.forEach((object, i) => {
    const shape = object.shape === 'cube' ? CUBE : object.shape === 'sphere' ? SPHERE : CYLINDER;
    const radius = SIZE_RADIUS[object.size];
    [g.x[i], g.y[i], g.z[i]] = object['3d_coords'];
    g.shape[i] = shape;
    g.radius[i] = radius;
    g.bound[i] = radius * BOUND[shape];
    g.cos[i] = cos(object.rotation);
    g.sin[i] = sin(object.rotation);
  });
  return g;
}

/**
 * Distance along the ray (unit direction) to object i, or Infinity when it is missed, lies behind the origin, or begins
 * beyond `limit`. A ray that starts on or inside a cube or cylinder meets it at once (so the ground below one is dark);
 * one that starts inside a sphere misses it.
 */
export function hitObject(
  g: Geometry, i: number, ox: number, oy: number, oz: number, dx: number, dy: number, dz: number, limit: number,
): number {
  let px = ox - (g.x[i] as number);
  let py = oy - (g.y[i] as number);
  const pz = oz - (g.z[i] as number);
  const bound = g.bound[i] as number;
  const along = px * dx + py * dy + pz * dz;
  const square = px * px + py * py + pz * pz - bound * bound;
  if (along > 0 && square > 0) return Infinity;
  const root = along * along - square;
  if (root < 0) return Infinity;
  const half = Math.sqrt(root);
  const near = -along - half;
  if (near > limit) return Infinity;
  const shape = g.shape[i] as number;
  if (shape === SPHERE) return near > 0 ? near : Infinity;

  const r = g.radius[i] as number;
  const c = g.cos[i] as number;
  const s = g.sin[i] as number;
  let rx = dx;
  let ry = dy;
  const qx = px * c + py * s;
  py = py * c - px * s;
  px = qx;
  rx = dx * c + dy * s;
  ry = dy * c - dx * s;
  return shape === CUBE ? hitBox(px, py, pz, rx, ry, dz, r, limit) : hitCylinder(px, py, pz, rx, ry, dz, r, limit);
}

function hitBox(px: number, py: number, pz: number, dx: number, dy: number, dz: number, r: number, limit: number): number {
  const ix = 1 / dx;
  const iy = 1 / dy;
  const iz = 1 / dz;
  const ax = Math.abs(ix) * r;
  const ay = Math.abs(iy) * r;
  const az = Math.abs(iz) * r;
  const bx = -px * ix;
  const by = -py * iy;
  const bz = -pz * iz;
  let near = bx - ax;
  if (by - ay > near) near = by - ay;
  if (bz - az > near) near = bz - az;
  let far = bx + ax;
  if (by + ay < far) far = by + ay;
  if (bz + az < far) far = bz + az;
  if (!(near < far) || far <= 0 || near > limit) return Infinity;
  const edge = CUBE_EDGE * r;
  const inner = r - edge;
  let t = near > 0 ? near : 0;
  for (let step = 0; step < 32; step++) {
    let ex = Math.abs(px + t * dx) - inner;
    let ey = Math.abs(py + t * dy) - inner;
    let ez = Math.abs(pz + t * dz) - inner;
    if (ex < 0) ex = 0;
    if (ey < 0) ey = 0;
    if (ez < 0) ez = 0;
    const d = Math.sqrt(ex * ex + ey * ey + ez * ez) - edge;
    if (d < 2e-4) return t;
    t += d;
    if (t > far) return Infinity;
  }
  return t;
}

function hitCylinder(px: number, py: number, pz: number, dx: number, dy: number, dz: number, r: number, limit: number): number {
  const iz = 1 / dz;
  const az = Math.abs(iz) * r;
  let near = -pz * iz - az;
  let far = -pz * iz + az;
  const a = dx * dx + dy * dy;
  const b = px * dx + py * dy;
  const c = px * px + py * py - r * r;
  if (a > 1e-12) {
    const root = b * b - a * c;
    if (root < 0) return Infinity;
    const half = Math.sqrt(root);
    if ((-b - half) / a > near) near = (-b - half) / a;
    if ((-b + half) / a < far) far = (-b + half) / a;
  } else if (c > 0) {
    return Infinity;
  }
  if (!(near < far) || far <= 0 || near > limit) return Infinity;
  const edge = CYLINDER_EDGE * r;
  const inner = r - edge;
  let t = near > 0 ? near : 0;
  for (let step = 0; step < 32; step++) {
    const x = px + t * dx;
    const y = py + t * dy;
    let er = Math.sqrt(x * x + y * y) - inner;
    let ez = Math.abs(pz + t * dz) - inner;
    if (er < 0) er = 0;
    if (ez < 0) ez = 0;
    const d = Math.sqrt(er * er + ez * ez) - edge;
    if (d < 2e-4) return t;
    t += d;
    if (t > far) return Infinity;
  }
  return t;
}

/** The outward unit normal of object i at a point on its surface, written to `out`. */
export function surfaceNormal(g: Geometry, i: number, x: number, y: number, z: number, out: Float64Array): void {
  const px = x - (g.x[i] as number);
  const py = y - (g.y[i] as number);
  const pz = z - (g.z[i] as number);
  const r = g.radius[i] as number;
  const shape = g.shape[i] as number;
  let nx = px;
  let ny = py;
  let nz = pz;
  if (shape !== SPHERE) {
    const c = g.cos[i] as number;
    const s = g.sin[i] as number;
    const lx = px * c + py * s;
    const ly = py * c - px * s;
    let mx: number;
    let my: number;
    if (shape === CUBE) {
      const inner = r * (1 - CUBE_EDGE);
      mx = lx > inner ? lx - inner : lx < -inner ? lx + inner : 0;
      my = ly > inner ? ly - inner : ly < -inner ? ly + inner : 0;
      nz = pz > inner ? pz - inner : pz < -inner ? pz + inner : 0;
    } else {
      const inner = r * (1 - CYLINDER_EDGE);
      const flat = Math.sqrt(lx * lx + ly * ly);
      const scale = flat > inner ? (flat - inner) / flat : 0;
      mx = lx * scale;
      my = ly * scale;
      nz = pz > inner ? pz - inner : pz < -inner ? pz + inner : 0;
    }
    nx = mx * c - my * s;
    ny = mx * s + my * c;
  }
  const length = Math.sqrt(nx * nx + ny * ny + nz * nz);
  if (length === 0) {
    out[0] = 0;
    out[1] = 0;
    out[2] = 1;
    return;
  }
  out[0] = nx / length;
  out[1] = ny / length;
  out[2] = nz / length;
}
