/**
 * @file GTAPolicy in compact words over CLEVR scenes, for models of a few million parameters. Item i is a pure function of
 * the config, the split and i, with scenes of its own.
 */
import { DatasetError, requireInteger, requireOneOf } from '../../core/error.ts';
import { lazyImage, type Example, type Split } from '../../core/example.ts';
import { resolveCrop } from '../../core/image.ts';
import { hashKeys, randomStream, type StreamKey } from '../../core/random.ts';
import { resolveClevrPolicyConfig, type ClevrPolicyConfig } from '../../clevr/policy/config.ts';
import { renderScene } from '../../clevr/render/render.ts';
import { generateScene } from '../../clevr/scene/generate.ts';
import type { Scene } from '../../clevr/scene/types.ts';
import type { CompactGtaCall } from './call.ts';
import { compactPaperGta, sampleCompactGta, type SampleCompactGtaOptions } from './policy.ts';
import { drawCompactGta, type CompactGtaQuestion, type CompactGtaQuestionOptions } from './question.ts';
import { GRIDS } from './region.ts';
import type { CompactGtaCase, CompactGtaPolicy } from './types.ts';
import { COMPACT_GTA_IMAGES } from './words.ts';

/** `unseenCell`: the user falls in a case that the policy decides but that no training example shows. */
export const COMPACT_GTA_SLICES = ['iid', 'boundary', 'unseenCell'] as const;
export type CompactGtaSlice = (typeof COMPACT_GTA_SLICES)[number];

export interface CompactGtaConfig extends Pick<ClevrPolicyConfig, 'seed' | 'train' | 'test' | 'reasoned' | 'scene' | 'width' | 'height' | 'crop'> {
  /** `paper` (the default), or a random policy. */
  readonly policy?: 'paper' | SampleCompactGtaOptions;
  /** Most images of an example, 1 to 3; 3 by default. */
  readonly images?: number;
}

export interface CompactGtaExample extends Example {
  readonly index: number;
  readonly scenes: readonly Scene[];
  readonly gold: CompactGtaCall;
  readonly tool: CompactGtaQuestion['tool'];
  readonly tip: CompactGtaQuestion['tip'];
  readonly leaf: CompactGtaQuestion['leaf'];
  readonly profile: CompactGtaQuestion['profile'];
  readonly slice: CompactGtaSlice;
  /** Whether this example belongs to the subset that is trained with reasoning. */
  readonly reasoned: boolean;
}

export interface CompactGtaDataset {
  readonly seed: StreamKey;
  readonly policy: CompactGtaPolicy;
  /** Node ids of the leaves that no training example shows. */
  readonly heldOut: ReadonlySet<string>;
  /** The slices that test examples take turns through: those that the policy has. */
  readonly slices: readonly CompactGtaSlice[];
  size(split: Split): number;
  /** Example `index` of a split. Throws `invalidArgument` outside `[0, size)`. */
  example(split: Split, index: number): CompactGtaExample;
  stream(split: Split): Generator<CompactGtaExample>;
}

const ATTEMPTS = 400;

/** Of each tool with three or more leaves one, if it can be a leaf that any image reaches. */
function heldOutLeaves(policy: CompactGtaPolicy, seed: StreamKey): Set<string> {
  const out = new Set<string>();
  for (const { tool, cases } of policy.tools) {
    if (cases.length < 3) continue;
    const free = cases.filter((own) => own.region.shown.size === 0);
    const from = free.length > 0 ? free : cases;
    const held = from[hashKeys([seed, 'heldOut', tool]) % from.length];
    if (held) out.add(held.leaf.id);
  }
  return out;
}

function hasEdge({ region }: CompactGtaCase): boolean {
  return (['credits', 'age'] as const).some((kind) => region[kind][0] > 0 || region[kind][1] < GRIDS[kind].length - 1);
}

function leafIds(cases: readonly CompactGtaCase[]): Set<string> {
  return new Set(cases.map((own) => own.leaf.id));
}

/** Compact GTAPolicy as a dataset. Throws `invalidArgument` for a bad config. */
export function compactGta(config: CompactGtaConfig = {}): CompactGtaDataset {
  const { policy: given = 'paper', images: most = 3, ...rest } = config;
  const resolved = resolveClevrPolicyConfig(rest);
  const { seed, width, height, crop } = resolved;
  const images = requireInteger('images', most, 1, COMPACT_GTA_IMAGES.length);
  if (typeof given === 'string') requireOneOf('policy', given, ['paper']);
  const policy = typeof given === 'string' ? compactPaperGta(seed) : sampleCompactGta(given);
  const window = resolveCrop(crop, width, height);
  const heldOut = heldOutLeaves(policy, seed);
  const trained = policy.tools.flatMap((rules) => rules.cases).filter((own) => !heldOut.has(own.leaf.id));
  const edges = trained.filter(hasEdge);
  const asked: Readonly<Record<CompactGtaSlice, CompactGtaQuestionOptions & { readonly leaves: ReadonlySet<string> }>> = {
    iid: { leaves: leafIds(trained) },
    boundary: { leaves: leafIds(edges), boundary: true, box: false },
    unseenCell: { leaves: heldOut, box: false },
  };
  const slices = COMPACT_GTA_SLICES.filter((slice) => asked[slice].leaves.size > 0);
  const size = (split: Split): number => (requireOneOf('split', split, ['train', 'test']) === 'train' ? resolved.train : resolved.test);

  const prepare = (split: Split, index: number, slice: CompactGtaSlice): { scenes: Scene[]; question: CompactGtaQuestion } => {
    const random = randomStream(seed, 'compactGta', split, index);
    const count = random.between(1, images);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const scenes = Array.from({ length: count }, (_, k) => generateScene({ ...resolved.scene, split }, `${String(seed)}/compactGta/${attempt}`, index * COMPACT_GTA_IMAGES.length + k));
      const question = drawCompactGta(policy, scenes, random, asked[slice]);
      if (question !== undefined) return { scenes, question };
    }
    throw new DatasetError('unsatisfiable', `no scene for ${split}/${index} reaches a leaf of slice ${slice}; allow more objects (scene.maxObjects) or use another policy.`);
  };

  const example = (split: Split, index: number): CompactGtaExample => {
    requireInteger('index', index, 0, size(split) - 1);
    const slice = split === 'test' ? (slices[index % slices.length] as CompactGtaSlice) : 'iid';
    const { scenes, question } = prepare(split, index, slice);
    const { query, answer, reasoning, response, gold, tool, tip, leaf, profile } = question;
    return {
      id: `compactGta-${split}-${index}`, split, index,
      policyId: policy.id, policyName: policy.name,
      images: scenes.map((scene) => lazyImage(window.width, window.height, () => renderScene(scene, { width, height, crop }).rgb)),
      scenes, query, answer, reasoning, response,
      policyText: policy.text,
      policyParts: [{ type: 'text', text: policy.text }],
      gold, tool, tip, leaf, profile, slice,
      reasoned: split === 'train' && index < resolved.reasoned,
    };
  };
  return {
    seed, policy, heldOut, slices, size, example,
    *stream(split) {
      for (let i = 0; i < size(split); i++) yield example(split, i);
    },
  };
}
