/**
 * @file Light on a surface: direct light of four lamps with soft shadows, a constant bounce term, rubber (Lambert with a
 * Fresnel coat) and metal (a mirror of the scene plus broad highlights). One Shader per scene; results are left in
 * `red`, `green`, `blue` so that the inner loop allocates nothing.
 */
import { COLOR_RGB } from '../attributes.ts';
import { MEAN_RIG } from '../scene/camera.ts';
import { PI } from '../../core/math.ts';
import type { Scene } from '../scene/types.ts';
import { hitBackdrop } from './backdrop.ts';
import { hitObject, makeGeometry, surfaceNormal, type Geometry } from './geometry.ts';
import { areaLights, GROUND_ALBEDO, SUN_DIRECTION, SUN_SPREAD, SUN_STRENGTH, type AreaLight } from './lights.ts';

/** Light that reaches a downward-facing surface from the ground, and any surface from the surroundings. */
const GROUND_BOUNCE = 0.2;
const SURROUND = 0.038;
/** What the rough lobe of metal sees, on average, of the wall and of the ground. */
const WALL_RADIANCE = 0.12;
const GROUND_RADIANCE = 0.2;
const RUBBER_ALPHA2 = 0.35 * 0.35 * 0.35 * 0.35;
const METAL_ALPHA2 = 0.2 * 0.2 * 0.2 * 0.2;

function mix32(h: number): number {
  let x = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Reflectance of unpolarised light at a dielectric. */
function fresnel(cosine: number, ior: number): number {
  const g = Math.sqrt(ior * ior - 1 + cosine * cosine);
  const a = (g - cosine) / (g + cosine);
  const b = (cosine * (g + cosine) - 1) / (cosine * (g - cosine) + 1);
  return 0.5 * a * a * (1 + b * b);
}

export class Shader {
  red = 0;
  green = 0;
  blue = 0;
  readonly geometry: Geometry;
  readonly #lights: readonly AreaLight[];
  readonly #metal: Uint8Array;
  readonly #albedo: Float64Array;
  readonly #normal = new Float64Array(3);
  readonly #candidates: Int32Array;
  #irradianceRed = 0;
  #irradianceGreen = 0;
  #irradianceBlue = 0;
  #glossRed = 0;
  #glossGreen = 0;
  #glossBlue = 0;

  constructor(scene: Pick<Scene, 'objects' | 'rig'>) {
    this.geometry = makeGeometry(scene.objects);
    this.#lights = areaLights(scene.rig ?? MEAN_RIG);
    this.#metal = Uint8Array.from(scene.objects, (object) => (object.material === 'metal' ? 1 : 0));
    this.#albedo = Float64Array.from(scene.objects.flatMap((object) => COLOR_RGB[object.color].map((value) => value / 255)));
    this.#candidates = new Int32Array(scene.objects.length + 1);
  }

  isMetal(object: number): boolean {
    return this.#metal[object] === 1;
  }

  /** Index of the first object on the ray, or -1; `limit` bounds the distance. The distance is left in `distance`. */
  distance = Infinity;
  firstObject(ox: number, oy: number, oz: number, dx: number, dy: number, dz: number, skip: number): number {
    const g = this.geometry;
    let best = Infinity;
    let index = -1;
    for (let i = 0; i < g.count; i++) {
      if (i === skip) continue;
      const t = hitObject(g, i, ox, oy, oz, dx, dy, dz, best);
      if (t < best) {
        best = t;
        index = i;
      }
    }
    this.distance = best;
    return index;
  }

  /**
   * Shades what a camera ray meets (object index from `firstObject`, or -1 for the backdrop).
   * `grid` x `grid` shadow samples a lamp; `hash` moves them from pixel to pixel.
   */
  shade(object: number, ox: number, oy: number, oz: number, dx: number, dy: number, dz: number, grid: number, hash: number): void {
    if (object < 0) {
      this.#shadeBackdrop(ox, oy, oz, dx, dy, dz, grid, hash);
      return;
    }
    const t = this.distance;
    const x = ox + t * dx;
    const y = oy + t * dy;
    const z = oz + t * dz;
    const normal = this.#normal;
    surfaceNormal(this.geometry, object, x, y, z, normal);
    const nx = normal[0] as number;
    const ny = normal[1] as number;
    const nz = normal[2] as number;
    if (this.#metal[object] === 1) this.#shadeMetal(object, x, y, z, nx, ny, nz, dx, dy, dz, grid, hash);
    else this.#shadeRubber(object, x, y, z, nx, ny, nz, dx, dy, dz, grid, hash);
  }

  #shadeBackdrop(ox: number, oy: number, oz: number, dx: number, dy: number, dz: number, grid: number, hash: number): void {
    const normal = this.#normal;
    const t = hitBackdrop(ox, oy, oz, dx, dy, dz, normal);
    if (t === Infinity) {
      this.red = this.green = this.blue = 0;
      return;
    }
    this.#light(ox + t * dx, oy + t * dy, oz + t * dz, normal[0] as number, normal[1] as number, normal[2] as number, -1, grid, hash, 0, 0, 0, 0);
    const k = GROUND_ALBEDO / PI;
    this.red = k * (this.#irradianceRed + SURROUND);
    this.green = k * (this.#irradianceGreen + SURROUND);
    this.blue = k * (this.#irradianceBlue + SURROUND);
  }

  #shadeRubber(
    object: number, x: number, y: number, z: number, nx: number, ny: number, nz: number,
    dx: number, dy: number, dz: number, grid: number, hash: number,
  ): void {
    let cosine = -(nx * dx + ny * dy + nz * dz);
    if (cosine < 0.02) cosine = 0.02;
    const coat = fresnel(cosine, 1.25);
    const sheen = fresnel(cosine, 1.45);
    this.#light(x, y, z, nx, ny, nz, object, grid, hash, dx, dy, dz, RUBBER_ALPHA2);
    const bounce = GROUND_BOUNCE * (1 - nz) + SURROUND;
    // Velvet scatters about as much as Lambert where its Fresnel weight matters (grazing views); half is a fair mean.
    const diffuse = ((1 - coat) * (1 - 0.5 * sheen)) / PI;
    const gloss = 0.8 * coat;
    const mirror = 0.8 * coat * 0.12;
    const a = this.#albedo;
    this.red = diffuse * (a[3 * object] as number) * (this.#irradianceRed + bounce) + gloss * this.#glossRed + mirror;
    this.green = diffuse * (a[3 * object + 1] as number) * (this.#irradianceGreen + bounce) + gloss * this.#glossGreen + mirror;
    this.blue = diffuse * (a[3 * object + 2] as number) * (this.#irradianceBlue + bounce) + gloss * this.#glossBlue + mirror;
  }

  #shadeMetal(
    object: number, x: number, y: number, z: number, nx: number, ny: number, nz: number,
    dx: number, dy: number, dz: number, grid: number, hash: number,
  ): void {
    this.#light(x, y, z, nx, ny, nz, object, grid, hash, dx, dy, dz, METAL_ALPHA2);
    const glossRed = this.#glossRed;
    const glossGreen = this.#glossGreen;
    const glossBlue = this.#glossBlue;
    const d = 2 * (nx * dx + ny * dy + nz * dz);
    const rx = dx - d * nx;
    const ry = dy - d * ny;
    const rz = dz - d * nz;
    const next = this.firstObject(x, y, z, rx, ry, rz, object);
    if (next >= 0) {
      const t = this.distance;
      const hx = x + t * rx;
      const hy = y + t * ry;
      const hz = z + t * rz;
      surfaceNormal(this.geometry, next, hx, hy, hz, this.#normal);
      const mx = this.#normal[0] as number;
      const my = this.#normal[1] as number;
      const mz = this.#normal[2] as number;
      if (this.#metal[next] === 1) {
        const a = this.#albedo;
        const bounce = mz < 0 ? GROUND_BOUNCE : GROUND_BOUNCE * 0.6;
        this.red = (a[3 * next] as number) * bounce;
        this.green = (a[3 * next + 1] as number) * bounce;
        this.blue = (a[3 * next + 2] as number) * bounce;
      } else {
        this.#shadeRubber(next, hx, hy, hz, mx, my, mz, rx, ry, rz, 1, hash);
      }
    } else {
      this.#shadeBackdrop(x, y, z, rx, ry, rz, 1, hash);
      this.#addLamps(x, y, z, rx, ry, rz);
    }
    // The rough lobe sees the surroundings blurred: bright ground below the horizon, the dim wall above it.
    let down = 0.5 - 1.6 * rz;
    down = down < 0 ? 0 : down > 1 ? 1 : down;
    const blurred = 0.4 * (WALL_RADIANCE + (GROUND_RADIANCE - WALL_RADIANCE) * down * down * (3 - 2 * down));
    const a = this.#albedo;
    this.red = (a[3 * object] as number) * (0.6 * this.red + blurred + 0.4 * glossRed);
    this.green = (a[3 * object + 1] as number) * (0.6 * this.green + blurred + 0.4 * glossGreen);
    this.blue = (a[3 * object + 2] as number) * (0.6 * this.blue + blurred + 0.4 * glossBlue);
  }

  /** Adds the faces of lamps that a mirror ray meets (unweighted). */
  #addLamps(x: number, y: number, z: number, rx: number, ry: number, rz: number): void {
    for (const light of this.#lights) {
      const facing = -(rx * light.normal[0] + ry * light.normal[1] + rz * light.normal[2]);
      if (facing <= 0) continue;
      const qx = light.position[0] - x;
      const qy = light.position[1] - y;
      const qz = light.position[2] - z;
      const t = -(qx * light.normal[0] + qy * light.normal[1] + qz * light.normal[2]) / facing;
      if (t <= 0) continue;
      const ex = rx * t - qx;
      const ey = ry * t - qy;
      const ez = rz * t - qz;
      const half2 = light.half * light.half;
      const a = ex * light.u[0] + ey * light.u[1] + ez * light.u[2];
      const b = ex * light.v[0] + ey * light.v[1] + ez * light.v[2];
      if (a > half2 || a < -half2 || b > half2 || b < -half2) continue;
      this.red += light.radiance[0];
      this.green += light.radiance[1];
      this.blue += light.radiance[2];
    }
  }

  /** Irradiance at a point from all lamps, and (alpha2 > 0) the highlight towards the viewer, without its tint. */
  #light(
    x: number, y: number, z: number, nx: number, ny: number, nz: number, self: number, grid: number, hash: number,
    dx: number, dy: number, dz: number, alpha2: number,
  ): void {
    let er = 0;
    let eg = 0;
    let eb = 0;
    let gr = 0;
    let gg = 0;
    let gb = 0;
    const lights = this.#lights;
    for (let l = 0; l < lights.length; l++) {
      const light = lights[l] as AreaLight;
      let lx = light.position[0] - x;
      let ly = light.position[1] - y;
      let lz = light.position[2] - z;
      const d2 = lx * lx + ly * ly + lz * lz;
      const d = Math.sqrt(d2);
      lx /= d;
      ly /= d;
      lz /= d;
      const cosLight = -(lx * light.normal[0] + ly * light.normal[1] + lz * light.normal[2]);
      const cosSurface = lx * nx + ly * ny + lz * nz;
      if (cosLight <= 0 || cosSurface <= 0) continue;
      const seen = this.#visibleLamp(x, y, z, lx, ly, lz, d, light, self, grid, hash + l);
      if (seen === 0) continue;
      const e = (seen * cosLight * cosSurface) / d2;
      er += e * light.power[0];
      eg += e * light.power[1];
      eb += e * light.power[2];
      if (alpha2 > 0) {
        const lobe = e * highlight(nx, ny, nz, lx, ly, lz, dx, dy, dz, cosSurface, alpha2);
        gr += lobe * light.power[0];
        gg += lobe * light.power[1];
        gb += lobe * light.power[2];
      }
    }
    const cosSun = nx * SUN_DIRECTION[0] + ny * SUN_DIRECTION[1] + nz * SUN_DIRECTION[2];
    if (cosSun > 0) {
      const e = cosSun * SUN_STRENGTH * this.#visibleSun(x, y, z, self, grid, hash + 7);
      er += e;
      eg += e;
      eb += e;
      if (alpha2 > 0 && e > 0) {
        const lobe = e * highlight(nx, ny, nz, SUN_DIRECTION[0], SUN_DIRECTION[1], SUN_DIRECTION[2], dx, dy, dz, cosSun, alpha2);
        gr += lobe;
        gg += lobe;
        gb += lobe;
      }
    }
    this.#irradianceRed = er;
    this.#irradianceGreen = eg;
    this.#irradianceBlue = eb;
    this.#glossRed = gr;
    this.#glossGreen = gg;
    this.#glossBlue = gb;
  }

  /** The share of a lamp that is seen: objects near the segment to its centre are tried, the others cannot shade. */
  #visibleLamp(
    x: number, y: number, z: number, lx: number, ly: number, lz: number, d: number, light: AreaLight, self: number, grid: number, hash: number,
  ): number {
    const g = this.geometry;
    const list = this.#candidates;
    let count = 0;
    const spread = (light.half * 1.4143) / d;
    for (let i = 0; i < g.count; i++) {
      if (i === self) continue;
      const px = (g.x[i] as number) - x;
      const py = (g.y[i] as number) - y;
      const pz = (g.z[i] as number) - z;
      const along = px * lx + py * ly + pz * lz;
      const bound = g.bound[i] as number;
      if (along < -bound) continue;
      const reach = bound + spread * (along + bound);
      if (px * px + py * py + pz * pz - along * along < reach * reach) list[count++] = i;
    }
    if (count === 0) return 1;
    let seen = 0;
    const cells = grid * grid;
    for (let s = 0; s < cells; s++) {
      const h = mix32(Math.imul(hash, 0x9e3779b1) + s);
      const a = (2 * ((s % grid) + (h & 0xffff) / 65536)) / grid - 1;
      const b = (2 * (Math.floor(s / grid) + (h >>> 16) / 65536)) / grid - 1;
      let sx = light.position[0] + a * light.u[0] + b * light.v[0] - x;
      let sy = light.position[1] + a * light.u[1] + b * light.v[1] - y;
      let sz = light.position[2] + a * light.u[2] + b * light.v[2] - z;
      const length = Math.sqrt(sx * sx + sy * sy + sz * sz);
      sx /= length;
      sy /= length;
      sz /= length;
      if (!this.#blocked(x, y, z, sx, sy, sz, length, count)) seen++;
    }
    return seen / cells;
  }

  #visibleSun(x: number, y: number, z: number, self: number, grid: number, hash: number): number {
    const g = this.geometry;
    const list = this.#candidates;
    const [lx, ly, lz] = SUN_DIRECTION;
    let count = 0;
    for (let i = 0; i < g.count; i++) {
      if (i === self) continue;
      const px = (g.x[i] as number) - x;
      const py = (g.y[i] as number) - y;
      const pz = (g.z[i] as number) - z;
      const along = px * lx + py * ly + pz * lz;
      const bound = g.bound[i] as number;
      if (along < -bound) continue;
      const reach = bound + SUN_SPREAD * 1.4143 * (along + bound);
      if (px * px + py * py + pz * pz - along * along < reach * reach) list[count++] = i;
    }
    if (count === 0) return 1;
    let seen = 0;
    const cells = grid * grid;
    for (let s = 0; s < cells; s++) {
      const h = mix32(Math.imul(hash, 0x9e3779b1) + s);
      const a = SUN_SPREAD * ((2 * ((s % grid) + (h & 0xffff) / 65536)) / grid - 1);
      const b = SUN_SPREAD * ((2 * (Math.floor(s / grid) + (h >>> 16) / 65536)) / grid - 1);
      let sx = lx + a * lz;
      let sy = ly + b;
      let sz = lz - a * lx;
      const length = Math.sqrt(sx * sx + sy * sy + sz * sz);
      sx /= length;
      sy /= length;
      sz /= length;
      if (!this.#blocked(x, y, z, sx, sy, sz, Infinity, count)) seen++;
    }
    return seen / cells;
  }

  #blocked(x: number, y: number, z: number, sx: number, sy: number, sz: number, limit: number, count: number): boolean {
    const list = this.#candidates;
    for (let k = 0; k < count; k++) {
      if (hitObject(this.geometry, list[k] as number, x, y, z, sx, sy, sz, limit) < limit) return true;
    }
    return false;
  }
}

/** GGX lobe D G / (4 cosView cosLight) without Fresnel. */
function highlight(
  nx: number, ny: number, nz: number, lx: number, ly: number, lz: number, dx: number, dy: number, dz: number,
  cosLight: number, alpha2: number,
): number {
  let hx = lx - dx;
  let hy = ly - dy;
  let hz = lz - dz;
  const length = Math.sqrt(hx * hx + hy * hy + hz * hz);
  hx /= length;
  hy /= length;
  hz /= length;
  const cosHalf = nx * hx + ny * hy + nz * hz;
  const cosView = -(nx * dx + ny * dy + nz * dz);
  if (cosHalf <= 0 || cosView <= 0) return 0;
  const root = cosHalf * cosHalf * (alpha2 - 1) + 1;
  const distribution = alpha2 / (PI * root * root);
  const gl = cosLight + Math.sqrt(alpha2 + (1 - alpha2) * cosLight * cosLight);
  const gv = cosView + Math.sqrt(alpha2 + (1 - alpha2) * cosView * cosView);
  return distribution / (gl * gv);
}
