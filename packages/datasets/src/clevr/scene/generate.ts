/**
 * @file Scenes after CLEVR's generator: number of objects, placement with margins, visibility, relations.
 * Unlike CLEVR, the kinds of the objects are drawn first and only the geometry is redrawn when it fails, so that a scene
 * can be asked for with given objects and rejections do not bias which objects appear.
 */
import { DatasetError, requireInteger } from '../../core/error.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { resolveCrop, type Crop } from '../../core/image.ts';
import { OBJECT_TYPES, SIZE_RADIUS, type ObjectType } from '../attributes.ts';
import { makeCamera, MEAN_RIG, project } from './camera.ts';
import { computeRelationships, DIRECTIONS } from './relations.ts';
import { allVisible } from './visibility.ts';
import type { Scene, SceneObject, SceneRig, Vector3 } from './types.ts';

/** What scenes are like. Defaults are CLEVR's. */
export interface SceneConfig {
  /** Fewest and most objects; CLEVR's are 3 and 10. */
  readonly minObjects?: number;
  readonly maxObjects?: number;
  /** Kinds of object to draw from (CoGenT, or a subset); all 96 by default. */
  readonly types?: readonly ObjectType[];
  /** Smallest gap between surfaces, and along each ground direction. */
  readonly minDistance?: number;
  readonly margin?: number;
  /** Image size at which visibility is judged and `pixel_coords` are written; 320x240 by default. */
  readonly width?: number;
  readonly height?: number;
  /** Objects are judged inside this window of the image. */
  readonly crop?: Crop;
  /** Visible pixels that every object must have; by default CLEVR's 200 at 320x240, scaled by area. */
  readonly minPixels?: number;
  /** Recorded in the scene. */
  readonly split?: string;
}

/** A {@link SceneConfig} with every default filled in and every value checked. */
export interface ResolvedSceneConfig {
  readonly minObjects: number;
  readonly maxObjects: number;
  readonly types: readonly ObjectType[];
  readonly minDistance: number;
  readonly margin: number;
  readonly width: number;
  readonly height: number;
  readonly crop: Crop;
  readonly minPixels: number;
  readonly split: string;
}

function nonNegative(name: string, value: number): number {
  if (!(value >= 0 && value <= 3)) throw new DatasetError('invalidArgument', `${name} is ${value}; pass a number from 0 to 3.`);
  return value;
}

/** Fills in defaults. Throws `invalidArgument` that names the value and what is allowed. */
export function resolveSceneConfig(config: SceneConfig = {}): ResolvedSceneConfig {
  const width = requireInteger('width', config.width ?? 320, 16, 4096);
  const height = requireInteger('height', config.height ?? 240, 16, 4096);
  const minObjects = requireInteger('minObjects', config.minObjects ?? 3, 1, 10);
  const types = config.types ?? OBJECT_TYPES;
  if (types.length === 0) throw new DatasetError('invalidArgument', 'types is empty; pass at least one kind of object.');
  return {
    minObjects,
    maxObjects: requireInteger('maxObjects', config.maxObjects ?? Math.max(10, minObjects), minObjects, 10),
    types,
    minDistance: nonNegative('minDistance', config.minDistance ?? 0.25),
    margin: nonNegative('margin', config.margin ?? 0.4),
    width,
    height,
    crop: resolveCrop(config.crop, width, height),
    minPixels: requireInteger('minPixels', config.minPixels ?? Math.ceil((200 * width * height) / 76800), 0, width * height),
    split: config.split ?? 'train',
  };
}

/**
 * A random scene. The same config and seed give the same scene in every engine.
 * Throws `invalidArgument` for a bad config and `unsatisfiable` when no placement meets it.
 */
export function generateScene(config: SceneConfig, seed: StreamKey, index = 0): Scene {
  const resolved = resolveSceneConfig(config);
  const random = randomStream(seed, 'scene', resolved.split, index);
  const count = random.between(resolved.minObjects, resolved.maxObjects);
  const types = Array.from({ length: count }, () => random.pick(resolved.types));
  return placeScene(types, resolved, random, index);
}

const MAX_SCENES = 2000;
const MAX_DARTS = 50;

/** A scene of given objects: draws geometry until margins and visibility hold; the objects never change. */
export function placeScene(types: readonly ObjectType[], config: ResolvedSceneConfig, random: Random, index: number): Scene {
  for (let attempt = 0; attempt < MAX_SCENES; attempt++) {
    const positions = throwDarts(types, config, random);
    if (positions === undefined) continue;
    const rig = drawRig(random);
    const camera = makeCamera(rig.camera, config.width, config.height);
    const objects = types.map((type, i): SceneObject => {
      const position = positions[i] as Vector3;
      const [column, row, depth] = project(camera, position);
      return {
        shape: type.shape,
        size: type.size,
        material: type.material,
        color: type.color,
        '3d_coords': position,
        rotation: 360 * random.float(),
        pixel_coords: [Math.floor(column + 0.5), Math.floor(row + 0.5), depth],
      };
    });
    if (!allVisible({ objects, rig }, { width: config.width, height: config.height, crop: config.crop }, config.minPixels)) continue;
    return {
      split: config.split,
      image_index: index,
      image_filename: `CLEVR_${config.split}_${String(index).padStart(6, '0')}.png`,
      objects,
      directions: DIRECTIONS,
      relationships: computeRelationships(positions),
      rig,
    };
  }
  throw new DatasetError(
    'unsatisfiable',
    `no placement of ${types.length} objects with minPixels ${config.minPixels} in ${config.crop.width}x${config.crop.height} was found in ${MAX_SCENES} attempts; lower minPixels, margin or the number of objects.`,
  );
}

function drawRig(random: Random): SceneRig {
  const jitter = (mean: Vector3, amount: number): Vector3 => [
    mean[0] + amount * (2 * random.float() - 1),
    mean[1] + amount * (2 * random.float() - 1),
    mean[2] + amount * (2 * random.float() - 1),
  ];
  return { camera: jitter(MEAN_RIG.camera, 0.5), key: jitter(MEAN_RIG.key, 1), fill: jitter(MEAN_RIG.fill, 1), back: jitter(MEAN_RIG.back, 1) };
}

function throwDarts(types: readonly ObjectType[], config: ResolvedSceneConfig, random: Random): Vector3[] | undefined {
  const [rx, ry] = DIRECTIONS.right;
  const [bx, by] = DIRECTIONS.behind;
  const placed: Vector3[] = [];
  const radii: number[] = [];
  for (const type of types) {
    const radius = SIZE_RADIUS[type.size];
    let found: Vector3 | undefined;
    for (let dart = 0; dart < MAX_DARTS && found === undefined; dart++) {
      const x = random.range(-3, 3);
      const y = random.range(-3, 3);
      let free = true;
      for (let i = 0; i < placed.length && free; i++) {
        const other = placed[i] as Vector3;
        const dx = x - other[0];
        const dy = y - other[1];
        const gap = Math.sqrt(dx * dx + dy * dy) - radius - (radii[i] as number);
        free =
          gap >= config.minDistance &&
          Math.abs(dx * rx + dy * ry) >= config.margin &&
          Math.abs(dx * bx + dy * by) >= config.margin;
      }
      if (free) found = [x, y, radius];
    }
    if (found === undefined) return undefined;
    placed.push(found);
    radii.push(radius);
  }
  return placed;
}
