/** @file How the bases are made. */
import { compactGtaVocabulary, compactVocabulary } from '@trimpi/datasets';
import { type MixPhase, TextBatchMaker } from './batches.ts';
import type { KnownImages } from './rows.ts';
import type { TextTraining } from './text.ts';
import { makeTiny, SMALL_SIZES, TINY_SIZES, type TinySizes } from './tiny.ts';
import type { VisionTraining } from './vision.ts';
import { WordCodec } from './words.ts';

/** Everything about a base: what it is, what it is trained on, and by what it is measured. */
export interface PretrainRecipe {
  readonly seed: number;
  /** Default: the tiny base's. */
  readonly sizes?: TinySizes;
  /** The policies whose words it knows. Default: up to four deep, in words only. */
  readonly policies?: { readonly depth: number; readonly demonstrations: boolean; /** GTAPolicy's words too. */ readonly gta: boolean };
  readonly vision: Omit<VisionTraining, 'seed'> & { readonly scenes: number; /** Crops of objects in all; `crops` of a step are drawn from them. */ readonly cropPool?: number };
  readonly text: Omit<TextTraining, 'seed'> & { readonly scenes: number };
  /** Scenes never trained on, and policies of each depth, by which the base is measured. */
  readonly measure: { readonly scenes: number; readonly policies: number; readonly depths: readonly number[]; readonly shownDepths?: readonly number[]; readonly gta?: boolean };
}

export const recipeSizes = (recipe: PretrainRecipe): TinySizes => recipe.sizes ?? TINY_SIZES;
export const recipeWords = ({ policies }: PretrainRecipe): string[] => [...new Set([...compactVocabulary(policies), ...(policies?.gta === true ? compactGtaVocabulary() : [])])];

/** Makes the batches of a recipe. */
export function textBatchMaker(recipe: PretrainRecipe, known: KnownImages): TextBatchMaker {
  const words = recipeWords(recipe);
  const { config, tokenizer } = makeTiny(recipeSizes(recipe), words);
  return new TextBatchMaker(config, new WordCodec(tokenizer), known, { ...recipe.text, seed: recipe.seed }, words);
}

/**
 * What the tiny base is made by. Short questions come first (with questions of four attributes from the start it went on
 * guessing for over a million tokens), then policies of growing depth.
 */
const TINY_BASE_MIX: readonly MixPhase[] = [
  { tokens: 700_000, drill: 0.05, exist: 0.65, short: 0.8, caption: 0.01, depths: [0.5, 0.5] },
  { tokens: 1_300_000, drill: 0.05, exist: 0.4, short: 0.7, caption: 0.01, depths: [0.35, 0.6, 0.05] },
  { tokens: 3_000_000, drill: 0.04, exist: 0.33, short: 0.5, caption: 0.01, depths: [0.2, 0.4, 0.4] },
];

/** The base of the demo: two hours on two CPU cores with lavapipe, minutes on a GPU. */
export const TINY_BASE_RECIPE: PretrainRecipe = {
  seed: 20261121,
  vision: { scenes: 15_000, steps: 3_000, batch: 32, learningRate: 2e-3 },
  text: { scenes: 6_000, learningRate: 2e-3, batchTokens: 3_000, repeatTokens: 700_000, drillTokens: 500_000, drillDepth: 3, mix: TINY_BASE_MIX },
  measure: { scenes: 320, policies: 192, depths: [1, 2, 3] },
};

const SMALL_BASE_MIX: readonly MixPhase[] = [
  { tokens: 4_000_000, drill: 0.08, exist: 0.52, short: 0.8, caption: 0.01, depths: [0.4, 0.4, 0.2], shown: 0.1, gta: 0.1, rules: 0.2 },
  { tokens: 12_000_000, drill: 0.05, exist: 0.28, short: 0.5, caption: 0.01, depths: [0.2, 0.3, 0.25, 0.15, 0.1], shown: 0.35, gta: 0.15, rules: 0.14 },
  { tokens: 7_000_000, drill: 0.03, exist: 0.2, short: 0.3, caption: 0.01, depths: [0.1, 0.2, 0.2, 0.25, 0.1, 0.15], shown: 0.5, gta: 0.2, rules: 0.1 },
  { tokens: 1_200_000, drill: 0.02, exist: 0.15, short: 0.2, caption: 0.01, depths: [0.05, 0.15, 0.2, 0.25, 0.15, 0.2], shown: 0.6, gta: 0.3, rules: 0.06 },
];

/** The base for a GPU: policies up to six deep, in words or with pictures. */
export const SMALL_BASE_RECIPE: PretrainRecipe = {
  seed: 20261127,
  sizes: SMALL_SIZES,
  policies: { depth: 6, demonstrations: true, gta: true },
  vision: { scenes: 12_000, steps: 3_000, batch: 64, crops: 24, cropPool: 1_920, learningRate: 2e-3 },
  text: { scenes: 12_000, learningRate: 1.5e-3, batchTokens: 12_000, repeatTokens: 8_000_000, drillTokens: 8_000_000, drillDepth: 6, decayTokens: 7_000_000, mix: SMALL_BASE_MIX },
  measure: { scenes: 320, policies: 96, depths: [1, 2, 3, 4, 6], shownDepths: [2, 4, 6], gta: true },
};
