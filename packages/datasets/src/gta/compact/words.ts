/** @file The words of GTAPolicy in compact style: tools, grids of the user's numbers, ids, versions and arguments. */
import { DatasetError } from '../../core/error.ts';
import { ATTRIBUTE_VALUES, ATTRIBUTES, type AttributeValue } from '../../clevr/attributes.ts';
import { compactVocabulary } from '../../clevr/policy/compact.ts';

/** The tools with versions, each in one word. */
export const COMPACT_GTA_TOOLS = ['ocr', 'describe', 'count', 'search', 'draw', 'attribute', 'restyle'] as const;
export type CompactGtaTool = (typeof COMPACT_GTA_TOOLS)[number];

/** What can be called: the tools with versions, and `box`, which has one. */
export type CompactGtaCallable = CompactGtaTool | 'box';

/** The names of the tools in the paper's policy. */
export const COMPACT_GTA_TYPES: Readonly<Record<CompactGtaTool, string>> = {
  ocr: 'OCR',
  describe: 'ImageDescription',
  count: 'CountGivenObject',
  search: 'GoogleSearch',
  draw: 'TextToImage',
  attribute: 'RegionAttributeDescription',
  restyle: 'ImageStylization',
};

export type CompactGtaField = 'image' | 'attribute' | 'object' | 'style' | 'keyword';

/** The arguments of each tool in the order in which a call writes them. */
export const COMPACT_GTA_FIELDS: Readonly<Record<CompactGtaCallable, readonly CompactGtaField[]>> = {
  ocr: ['image'],
  describe: ['image'],
  count: ['image', 'object'],
  search: ['keyword'],
  draw: ['keyword'],
  attribute: ['image', 'attribute', 'object'],
  restyle: ['image', 'style'],
  box: ['image', 'object'],
};

const grid = (low: number, high: number, step: number): number[] => Array.from({ length: (high - low) / step + 1 }, (_, i) => low + step * i);

/** The values that a profile can have; thresholds are such values too, so `<=` loses nothing. */
export const CREDITS_GRID: readonly number[] = grid(0, 1000, 50);
export const AGE_GRID: readonly number[] = grid(15, 85, 5);
export const ACCOUNTS = ['A', 'B', 'C', 'D'] as const;
export type Account = (typeof ACCOUNTS)[number];

/** Node ids `n0` to `n95`, and versions `v1` to `v16`. */
export const COMPACT_GTA_IDS = 96;
export const COMPACT_GTA_VERSIONS = 16;
/** The version word of the paper's MathOCR. */
export const MATH_WORD = 'math';

export const COMPACT_GTA_IMAGES = ['image1', 'image2', 'image3'] as const;
export const STYLES: readonly string[] = ['sketch', 'watercolor', 'comic', 'mosaic', 'neon', 'vintage', 'pastel', 'pixel'];
export const KEYWORDS: readonly string[] = ['river', 'castle', 'garden', 'robot', 'dragon', 'harbor', 'forest', 'market', 'comet', 'lantern', 'violin', 'desert'];

export const IMAGE_VALUES: readonly AttributeValue[] = ATTRIBUTES.flatMap((attribute) => ATTRIBUTE_VALUES[attribute]);

/** Whether a tool works on an image, so that its version may depend on what the image shows. */
export function takesImage(tool: CompactGtaCallable): boolean {
  return COMPACT_GTA_FIELDS[tool].includes('image');
}

/** `image2` for 1. Throws `invalidArgument` outside the three images. */
export function imageWord(index: number): string {
  const word = COMPACT_GTA_IMAGES[index];
  if (word === undefined) throw new DatasetError('invalidArgument', `image ${index} has no word; use 0 to ${COMPACT_GTA_IMAGES.length - 1}.`);
  return word;
}

/** Every word that compact GTAPolicy text can hold beyond those of `compactVocabulary`, each once. */
export function compactGtaVocabulary(): string[] {
  const known = new Set(compactVocabulary());
  const words = [
    ...COMPACT_GTA_TOOLS, 'box', 'tip', 'user', 'account', 'credits', 'age', 'image', 'need', 'done', MATH_WORD,
    ...ATTRIBUTES, ...COMPACT_GTA_IMAGES, ...ACCOUNTS,
    ...CREDITS_GRID.map((value) => `c${value}`), ...AGE_GRID.map((value) => `a${value}`),
    ...Array.from({ length: COMPACT_GTA_IDS }, (_, i) => `n${i}`),
    ...Array.from({ length: COMPACT_GTA_VERSIONS }, (_, i) => `v${i + 1}`),
    ...STYLES, ...KEYWORDS,
  ];
  return [...new Set(words)].filter((word) => !known.has(word));
}
