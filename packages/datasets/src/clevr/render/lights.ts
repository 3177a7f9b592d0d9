/**
 * @file CLEVR's lights and surfaces, in Blender's units. Direct light of an area lamp of strength S:
 * E = 0.25 S cos_light cos_surface / d^2; of the sun: E = S cos_surface.
 */
import type { SceneRig, Vector3 } from '../scene/types.ts';

/** A square lamp that shines towards the origin, with the two half-edges of its square. */
export interface AreaLight {
  readonly position: Vector3;
  readonly normal: Vector3;
  readonly u: Vector3;
  readonly v: Vector3;
  readonly half: number;
  /** Colour times 0.25 S. */
  readonly power: Vector3;
  /** Radiance of the lamp's face, as a mirror sees it. */
  readonly radiance: Vector3;
}

const scale = (vector: Vector3, k: number): Vector3 => [vector[0] * k, vector[1] * k, vector[2] * k];

function areaLight(position: Vector3, size: number, strength: number, colour: Vector3): AreaLight {
  const [x, y, z] = position;
  const length = Math.sqrt(x * x + y * y + z * z);
  const normal: Vector3 = [-x / length, -y / length, -z / length];
  const flat = Math.sqrt(normal[0] * normal[0] + normal[1] * normal[1]);
  const a: Vector3 = flat > 1e-9 ? [normal[1] / flat, -normal[0] / flat, 0] : [1, 0, 0];
  const b: Vector3 = [a[1] * normal[2] - a[2] * normal[1], a[2] * normal[0] - a[0] * normal[2], a[0] * normal[1] - a[1] * normal[0]];
  const half = size / 2;
  return {
    position,
    normal,
    u: scale(a, half),
    v: scale(b, half),
    half,
    power: scale(colour, 0.25 * strength),
    radiance: scale(colour, (0.25 * strength) / (size * size)),
  };
}

/** Key, fill and back lamp of a rig. */
export function areaLights(rig: SceneRig): readonly AreaLight[] {
  return [
    areaLight(rig.key, 0.5, 100, [1, 0.93231, 0.81666]),
    areaLight(rig.fill, 0.5, 30, [0.76167, 0.81772, 1]),
    areaLight(rig.back, 1, 50, [1, 1, 1]),
  ];
}

export const SUN_DIRECTION: Vector3 = [0.4145, -0.19458, 0.88901];
export const SUN_STRENGTH = 0.45;
/** Tangent of the sun's angular radius. */
export const SUN_SPREAD = 0.05;

export const GROUND_ALBEDO = 0.8;
