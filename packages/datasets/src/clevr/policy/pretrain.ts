/**
 * @file What a tiny base model is pre-trained on, in compact words: captions, near-miss existence questions, and random
 * policies in context. All scenes and names come from streams of their own.
 */
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { requireInteger } from '../../core/error.ts';
import { lazyImage } from '../../core/example.ts';
import { resolveCrop, type Crop, type RgbImage } from '../../core/image.ts';
import { ATTRIBUTE_VALUES, ATTRIBUTES, filterWords, matches, type Filter, type ObjectType } from '../attributes.ts';
import { renderScene } from '../render/render.ts';
import { project, sceneCamera } from '../scene/camera.ts';
import { generateScene } from '../scene/generate.ts';
import type { Scene, SceneObject } from '../scene/types.ts';
import { compactAnswer, compactPolicyText, compactQuery, compactQuestion, compactReasoning, compactResponse } from './compact.ts';
import { resolveClevrPolicyConfig, type ClevrPolicyConfig } from './config.ts';
import { sceneForPolicy } from './dataset.ts';
import { compactName } from './names.ts';
import { makePolicy } from './policy.ts';
import type { PolicyTree, TreeNode } from './types.ts';

export interface ExistenceQuestion {
  readonly filter: Filter;
  /** `ask small red metal sphere ?` */
  readonly question: string;
  readonly answer: 'yes' | 'no';
}

function restrict(object: ObjectType, count: number, random: Random): Filter {
  return Object.fromEntries(random.sample(ATTRIBUTES, count).map((attribute) => [attribute, object[attribute]]));
}

/**
 * Existence questions about a scene, as many yes as no (one more yes when `count` is odd), in random order. A yes names
 * one to four attributes of an object; a no changes one of them and matches no object.
 */
export function existenceQuestions(scene: { readonly objects: readonly ObjectType[] }, options: { readonly seed: StreamKey; readonly count: number }): ExistenceQuestion[] {
  const count = requireInteger('count', options.count, 0, 10000);
  const random = randomStream(options.seed, 'existence');
  const out: ExistenceQuestion[] = [];
  while (out.length < count) {
    const yes = out.length % 2 === 0;
    const filter = yes ? restrict(random.pick(scene.objects), random.between(1, 4), random) : nearMissFilter(scene.objects, random);
    out.push({ filter, question: compactQuestion(filter), answer: yes ? 'yes' : 'no' });
  }
  return random.shuffle(out);
}

function nearMissFilter(objects: readonly ObjectType[], random: Random): Filter {
  for (;;) {
    const filter = restrict(random.pick(objects), random.between(1, 4), random);
    const attribute = random.pick(ATTRIBUTES.filter((a) => filter[a] !== undefined));
    const value = random.pick(ATTRIBUTE_VALUES[attribute].filter((v) => v !== filter[attribute]));
    const miss = { ...filter, [attribute]: value };
    // With at most ten objects some of the 96 kinds is always absent, so this ends.
    if (!objects.some((object) => matches(object, miss))) return miss;
  }
}

/** Where objects are seen: image size, window, and the height of a raster row in pixels. */
export interface RasterOptions {
  readonly width: number;
  readonly height: number;
  readonly crop?: Crop | undefined;
  /** Side of a cell; 14 by default. */
  readonly cell?: number;
}

/** Indices of the objects in raster order of the cells that hold their centres: row by row, then from left to right. */
export function rasterOrder(scene: Pick<Scene, 'objects' | 'rig'>, options: RasterOptions): number[] {
  const cell = options.cell ?? 14;
  const y0 = options.crop?.y ?? 0;
  const camera = sceneCamera(scene, options.width, options.height);
  const seen = scene.objects.map((object, i) => {
    const [column, row] = project(camera, object['3d_coords']);
    return { i, row: Math.floor((row - y0) / cell), column };
  });
  return seen.toSorted((a, b) => a.row - b.row || a.column - b.column || a.i - b.i).map((item) => item.i);
}

/** `caption small red metal sphere ; large cyan rubber cube ;` with the objects in raster order. */
export function captionScene(scene: Pick<Scene, 'objects' | 'rig'>, options: RasterOptions): string {
  const words = rasterOrder(scene, options).flatMap((i) => [...filterWords(scene.objects[i] as SceneObject), ';']);
  return ['caption', ...words].join(' ');
}

/** Dense targets for a vision tower: for each cell, row by row, the index of the object whose centre lies in it, or -1 (the nearest, when two do). */
export function objectCells(scene: Pick<Scene, 'objects' | 'rig'>, options: RasterOptions): Int16Array {
  const cell = options.cell ?? 14;
  const window = resolveCrop(options.crop, options.width, options.height);
  const columns = Math.floor(window.width / cell);
  const rows = Math.floor(window.height / cell);
  const out = new Int16Array(columns * rows).fill(-1);
  const depths = new Float64Array(columns * rows).fill(Infinity);
  const camera = sceneCamera(scene, options.width, options.height);
  scene.objects.forEach((object, i) => {
    const [x, y, depth] = project(camera, object['3d_coords']);
    const column = Math.floor((x - window.x) / cell);
    const row = Math.floor((y - window.y) / cell);
    if (column < 0 || row < 0 || column >= columns || row >= rows) return;
    const at = row * columns + column;
    if (depth < (depths[at] as number)) {
      depths[at] = depth;
      out[at] = i;
    }
  });
  return out;
}

/** Every id of a tree with its content (a value or a case), for lookup drills. */
export function treeEntries(tree: PolicyTree): { readonly id: string; readonly content: string }[] {
  const out: { id: string; content: string }[] = [];
  const walk = (node: TreeNode): void => {
    if (node.kind === 'leaf') {
      out.push({ id: node.id, content: compactAnswer(node) });
      return;
    }
    out.push({ id: node.id, content: node.asked?.value ?? '' });
    walk(node.yes);
    walk(node.no);
  };
  walk(tree.root);
  return out;
}

/** A lookup drill: a policy with its sections shuffled, then every id (in another order) with its content. */
export function lookupDrill(options: { readonly depth: number; readonly seed: StreamKey; readonly index: number }): { policyText: string; pairs: { id: string; content: string }[] } {
  const random = randomStream(options.seed, 'drill', options.depth, options.index);
  const resolved = resolveClevrPolicyConfig({ style: 'compact', n: options.depth, seed: options.seed, width: 112, height: 84 });
  const name = compactName(random);
  const policy = makePolicy('drill', name, options.depth, `${options.seed}/drill/${options.index}`, resolved);
  const entries = random.shuffle(treeEntries(policy.tree));
  const words = ['policy', name, ':', ...entries.flatMap(({ id, content }) => [id, content, ';'])];
  return { policyText: words.join(' '), pairs: random.shuffle(entries) };
}

/** A fresh policy in context, with a scene for one of its leaves (leaf-balanced by chance). */
export interface RandomPolicyExample {
  readonly policyName: string;
  readonly policyText: string;
  readonly tree: PolicyTree;
  readonly scene: Scene;
  readonly image: RgbImage;
  readonly query: string;
  readonly answer: string;
  readonly reasoning: string;
  readonly response: string;
}

/** Item `index` of an endless set of policies in context: a new tree and a new name each time. */
export function randomPolicyExample(config: Omit<ClevrPolicyConfig, 'style' | 'variant'>, index: number): RandomPolicyExample {
  const resolved = resolveClevrPolicyConfig({ ...config, style: 'compact' });
  const random = randomStream(resolved.seed, 'randomPolicy', index);
  const name = compactName(random);
  const depth = random.pick(resolved.depths);
  const policy = makePolicy(`random-${index}`, name, depth, `${resolved.seed}/random/${index}`, resolved);
  const { scene, result } = sceneForPolicy(policy, resolved, 'pretrain', index, random.int(1 << 20));
  return { ...contextExample(policy.tree, name, scene, result), image: pretrainImage(scene, resolved) };
}

function contextExample(tree: PolicyTree, name: string, scene: Scene, result: ReturnType<typeof sceneForPolicy>['result']): Omit<RandomPolicyExample, 'image'> {
  const answer = compactAnswer(result.leaf);
  const reasoning = compactReasoning(result.path, result.leaf);
  return {
    policyName: name, policyText: compactPolicyText(tree, name), tree, scene, query: compactQuery(name), answer, reasoning,
    response: compactResponse(reasoning, answer),
  };
}

function pretrainImage(scene: Scene, size: { readonly width: number; readonly height: number; readonly crop: Crop | undefined }): RgbImage {
  const window = resolveCrop(size.crop, size.width, size.height);
  return lazyImage(window.width, window.height, () => renderScene(scene, size).rgb);
}

/** Scene `index` for pre-training with its image: objects at random, in the split `pretrain` that no dataset uses. */
export function pretrainScene(config: ClevrPolicyConfig, index: number): { scene: Scene; image: RgbImage } {
  const resolved = resolveClevrPolicyConfig(config);
  const scene = generateScene({ ...resolved.scene, split: 'pretrain' }, resolved.seed, index);
  return { scene, image: pretrainImage(scene, resolved) };
}
