/**
 * @file Scenes for a chosen leaf of a rich tree. Geometry is drawn first (relations and extremes depend on it), then the
 * kinds of the objects are changed one at a time until the path leads to the leaf; the leaf never changes.
 */
import { DatasetError } from '../../core/error.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { OBJECT_TYPES, type ObjectType } from '../attributes.ts';
import { computeRelationships } from '../scene/relations.ts';
import { placeScene, type ResolvedSceneConfig } from '../scene/generate.ts';
import { allVisible } from '../scene/visibility.ts';
import type { Scene } from '../scene/types.ts';
import { evaluateCondition } from './evaluate.ts';
import { leafPaths } from './tree.ts';
import type { PathStep, PolicyTree } from './types.ts';

const MAX_GEOMETRIES = 24;
const MAX_CHANGES = 160;

function broken(path: readonly PathStep[], scene: Pick<Scene, 'objects' | 'relationships'>): number {
  let count = 0;
  for (const { node, outcome } of path) if (evaluateCondition(node.condition, scene) !== outcome) count++;
  return count;
}

/** A scene whose path is `path`, or undefined when the search finds none. */
export function directRichScene(path: readonly PathStep[], config: ResolvedSceneConfig, random: Random, index: number): Scene | undefined {
  for (let geometry = 0; geometry < MAX_GEOMETRIES; geometry++) {
    const count = random.between(config.minObjects, config.maxObjects);
    const sizes = Array.from({ length: count }, () => random.pick(OBJECT_TYPES));
    const scene = placeScene(sizes, config, random, index);
    const objects = [...scene.objects];
    const current = { objects, relationships: scene.relationships };
    let cost = broken(path, current);
    for (let change = 0; change < MAX_CHANGES && cost > 0; change++) {
      const i = random.int(count);
      const old = objects[i] as Scene['objects'][number];
      const type: ObjectType = random.pick(config.types);
      // The size stays: it is part of the geometry.
      objects[i] = { ...old, color: type.color, material: type.material, shape: type.shape };
      const next = broken(path, current);
      if (next <= cost || random.chance(0.03)) cost = next;
      else objects[i] = old;
    }
    if (cost > 0) continue;
    if (!allVisible({ ...scene, objects }, { width: config.width, height: config.height, crop: config.crop }, config.minPixels)) continue;
    return { ...scene, objects, relationships: computeRelationships(objects.map((object) => object['3d_coords'])) };
  }
  return undefined;
}

/** The leaves for which the search finds a scene; the others are taken as contradictions. */
export function richReachable(tree: PolicyTree, config: ResolvedSceneConfig, seed: StreamKey): number[] {
  return leafPaths(tree).flatMap((path, i) => (directRichScene(path, config, randomStream(seed, 'reach', i), 0) === undefined ? [] : [i]));
}

/** A scene for a reachable leaf; tries several streams before it gives up with `unreachableLeaf`. */
export function richSceneForLeaf(tree: PolicyTree, leaf: number, config: ResolvedSceneConfig, random: Random, index: number): Scene {
  const path = leafPaths(tree)[leaf] as PathStep[];
  for (let attempt = 0; attempt < 20; attempt++) {
    const scene = directRichScene(path, config, random, index);
    if (scene !== undefined) return scene;
  }
  throw new DatasetError('unreachableLeaf', `no scene was found for leaf ${leaf}; allow more objects (scene.maxObjects) or use tree "paper".`);
}
