/**
 * @file Policies of variant M: some conditions show the attribute value, or the whole object, as an image crop.
 * The crop is a scene of one object from its own stream, so no image of the data appears in a policy. Size is never
 * shown by a crop (scale is lost); when a value is shown, the other attributes of the shown object vary.
 */
import { lazyImage } from '../../core/example.ts';
import type { Crop, RgbImage } from '../../core/image.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { ATTRIBUTES, filterPhrase, filterWords, OBJECT_TYPES, matches, SHOWABLE, type Attribute, type Filter, type ObjectType } from '../attributes.ts';
import { renderScene } from '../render/render.ts';
import { placeScene, resolveSceneConfig } from '../scene/generate.ts';
import { project, sceneCamera } from '../scene/camera.ts';
import type { DecisionNode, PolicyTree, TreeNode } from './types.ts';
import { compactPolicyText } from './compact.ts';
import { policyText } from './text.ts';

/** Side of a crop in pixels: a multiple of 28. */
export const CROP_SIDE = 84;
const SHARE = 0.5;

/** A picture of one object, cut around it. */
export function objectCrop(type: ObjectType, seed: StreamKey, side = CROP_SIDE): RgbImage {
  const draw = (): Uint8Array => {
    const config = resolveSceneConfig({ minObjects: 1, maxObjects: 1, width: 320, height: 240, split: 'crop' });
    const random = randomStream(seed, 'crop');
    const scene = placeScene([type], config, random, 0);
    const object = scene.objects[0] as (typeof scene.objects)[number];
    const radius = type.size === 'large' ? 0.7 : 0.35;
    const unit = sceneCamera(scene, 320, 240);
    const depth = project(unit, object['3d_coords'])[2];
    // The image is as wide as makes the object and a margin of a fifth fill the crop.
    const width = Math.max(side, Math.min(4000, Math.floor((side * depth) / (2.9 * radius * (35 / 32)))));
    const height = Math.max(side, Math.floor((width * 3) / 4));
    const [column, row] = project(sceneCamera(scene, width, height), object['3d_coords']);
    const at = (value: number, most: number): number => Math.max(0, Math.min(most - side, Math.floor(value - side / 2)));
    const crop: Crop = { x: at(column, width), y: at(row, height), width: side, height: side };
    return renderScene(scene, { width, height, crop }).rgb;
  };
  return lazyImage(side, side, draw);
}

/** Side of a crop of compact style: two by two cells of 16 pixels. */
export const COMPACT_CROP_SIDE = 32;
/** Where the centre of the object is in it, from the left and the top: inside the last cell. */
const COMPACT_CENTRE = 20;

/** A picture of one object as large as it is in scenes of this size, its centre in the last of four cells. */
export function compactCrop(type: ObjectType, seed: StreamKey, { width, height }: { readonly width: number; readonly height: number }): RgbImage {
  const side = COMPACT_CROP_SIDE;
  return lazyImage(side, side, () => {
    const random = randomStream(seed, 'compactCrop');
    // Objects near the edge have no room around them.
    for (;;) {
      const scene = placeScene([type], resolveSceneConfig({ minObjects: 1, maxObjects: 1, width, height, split: 'crop' }), random, 0);
      const object = scene.objects[0] as (typeof scene.objects)[number];
      const [column, row] = project(sceneCamera(scene, width, height), object['3d_coords']);
      const crop: Crop = { x: Math.floor(column) - COMPACT_CENTRE, y: Math.floor(row) - COMPACT_CENTRE, width: side, height: side };
      if (crop.x >= 0 && crop.y >= 0 && crop.x + side <= width && crop.y + side <= height) return renderScene(scene, { width, height, crop }).rgb;
    }
  });
}

/** The compact text of a variant M policy and its images: at least one value is shown, else each with one chance in two. */
export function demonstrateCompact(tree: PolicyTree, name: string, seed: StreamKey, size: { readonly width: number; readonly height: number }): { text: string; images: RgbImage[] } {
  const shown = chooseShown(tree, randomStream(seed, 'demonstrate'));
  return {
    text: compactPolicyText(tree, name, new Set(shown.map((item) => item.node.id))),
    images: shown.map((item) => compactCrop(item.type, `${seed}/${item.node.id}`, size)),
  };
}

/** The nodes that compact style shows by a picture, depth first, and the object in it. */
export function chooseShown(tree: PolicyTree, random: Random): { readonly node: DecisionNode; readonly type: ObjectType }[] {
  const possible = tree.nodes.flatMap((node) => {
    const { asked } = node;
    if (asked === undefined || !SHOWABLE.includes(asked.attribute)) return [];
    return [{ node, type: random.pick(OBJECT_TYPES.filter((type) => type[asked.attribute] === asked.value)) }];
  });
  const must = possible.length > 0 ? random.int(possible.length) : -1;
  return possible.filter((_, i) => i === must || random.chance(SHARE));
}

interface Shown {
  readonly node: DecisionNode;
  readonly whole: boolean;
  readonly type: ObjectType;
}

function choose(node: DecisionNode, random: Random): Shown | undefined {
  if (node.condition.kind !== 'exist') return undefined;
  const filter = node.condition.filter;
  const words = filterWords(filter);
  if (words.length === 4) return { node, whole: true, type: filter as ObjectType };
  const asked = askedAttribute(node);
  if (asked === undefined || !SHOWABLE.includes(asked)) return undefined;
  const types = OBJECT_TYPES.filter((type) => matches(type, { [asked]: filter[asked] as never }));
  return { node, whole: false, type: random.pick(types) };
}

/** Attributes that an ancestor shows by an image instead of naming them, with the condition that shows them. */
type Hidden = readonly (readonly [Attribute, string])[];

function phrase(node: DecisionNode, shown: Shown | undefined, hidden: Hidden): string | undefined {
  if (node.condition.kind !== 'exist') return undefined;
  const { filter } = node.condition;
  if (shown?.whole) return `the image contains any ${filter.size} object that looks like the one shown here: <image> (same color, material and shape)`;
  const asked = shown === undefined ? undefined : askedAttribute(node);
  const away = hidden.filter(([attribute]) => attribute !== asked);
  if (asked === undefined && away.length === 0) return undefined;
  const named: Filter = Object.fromEntries(Object.entries(filter).filter(([key]) => key !== asked && !away.some(([attribute]) => attribute === key)));
  const likenesses = [
    ...away.map(([attribute, id]) => `the same ${attribute} as shown in Condition ${id}`),
    ...(asked === undefined ? [] : [`the same ${asked} as the object shown here: <image>`]),
  ];
  return `the image contains any ${filterPhrase(named, true)} of ${likenesses.join(' and of ')}`;
}

function askedAttribute(node: DecisionNode): Attribute | undefined {
  return node.asked?.attribute ?? (node.condition.kind === 'exist' ? ATTRIBUTES.find((a) => node.condition.kind === 'exist' && node.condition.filter[a] !== undefined) : undefined);
}

/** The text of a variant M policy and its images, in the order of their `<image>` slots; at least one where possible. */
export function demonstrate(tree: PolicyTree, name: string, seed: StreamKey): { text: string; images: RgbImage[] } {
  const random = randomStream(seed, 'demonstrate');
  const possible = tree.nodes.flatMap((node) => choose(node, random) ?? []);
  const must = possible.length > 0 ? random.int(possible.length) : -1;
  const shown = possible.filter((_, i) => i === must || random.chance(SHARE));
  const phrases = new Map<string, string>();
  const walk = (node: TreeNode, hidden: Hidden): void => {
    if (node.kind === 'leaf') return;
    const own = shown.find((item) => item.node === node);
    const text = phrase(node, own, hidden);
    if (text !== undefined) phrases.set(node.id, text);
    const asked = own === undefined || own.whole ? undefined : askedAttribute(node);
    walk(node.yes, asked === undefined || tree.semantics === 'independent' ? hidden : [...hidden, [asked, node.id]]);
    walk(node.no, hidden);
  };
  walk(tree.root, []);
  return {
    text: policyText(tree, name, phrases),
    images: shown.map((item) => objectCrop(item.type, `${seed}/${item.node.id}`)),
  };
}
