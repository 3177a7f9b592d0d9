/** @file The policies of a ClevrPolicy dataset: tree, name, text, and how to reach each leaf. */
import type { Part } from '../../core/example.ts';
import { interleave } from '../../core/example.ts';
import type { RgbImage } from '../../core/image.ts';
import type { StreamKey } from '../../core/random.ts';
import { compactNames, policyNames } from './names.ts';
import { compactPolicyText, compactQuery } from './compact.ts';
import type { ResolvedClevrPolicyConfig } from './config.ts';
import { leafDirectors, type LeafDirector } from './direct.ts';
import { demonstrate, demonstrateCompact } from './demonstrate.ts';
import { policyQuery, policyText } from './text.ts';
import { sampleTree } from './tree.ts';
import { richReachable } from './directrich.ts';
import type { PolicyTree } from './types.ts';

export interface ClevrPolicy {
  readonly id: string;
  readonly name: string;
  readonly tree: PolicyTree;
  /** Canonical or compact text; `<image>` stands for each of `images`. */
  readonly text: string;
  readonly images: readonly RgbImage[];
  readonly parts: readonly Part[];
  readonly query: string;
  /** Indices into `tree.leaves` of the leaves that some scene reaches. */
  readonly reachable: readonly number[];
  /** For existence trees: how to reach each leaf. */
  readonly directors: readonly LeafDirector[];
}

/** One policy of the given name and seed. */
export function makePolicy(id: string, name: string, depth: number, seed: StreamKey, config: ResolvedClevrPolicyConfig): ClevrPolicy {
  const tree = sampleTree({ depth, seed, mode: config.tree, semantics: config.semantics });
  return policyFromTree(id, name, tree, seed, config);
}

/** A policy around a given tree. */
export function policyFromTree(id: string, name: string, tree: PolicyTree, seed: StreamKey, config: ResolvedClevrPolicyConfig): ClevrPolicy {
  const compact = config.style === 'compact';
  const { text, images } = compact
    ? config.variant === 'm' ? demonstrateCompact(tree, name, seed, config) : { text: compactPolicyText(tree, name), images: [] }
    : config.variant === 'm'
      ? demonstrate(tree, name, seed)
      : { text: policyText(tree, name), images: [] };
  const directors = tree.mode === 'rich' ? [] : leafDirectors(tree);
  const most = config.scene.maxObjects;
  const reachable =
    tree.mode === 'rich'
      ? richReachable(tree, config.scene, seed)
      : directors.flatMap((director, i) => (director.reachable && director.demand.positives.length <= most ? [i] : []));
  return {
    id, name, tree, text, images,
    parts: interleave(text, images),
    query: compact ? compactQuery(name) : policyQuery(name),
    reachable,
    directors,
  };
}

/** All policies of a dataset, in order of depth. */
export function makePolicies(config: ResolvedClevrPolicyConfig): ClevrPolicy[] {
  const compact = config.style === 'compact' ? compactNames(config.seed, config.policies * config.depths.length) : [];
  return config.depths.flatMap((depth, d) => {
    const level = Math.ceil(depth / 2);
    // Depths 1 and 2 share a level: names are drawn for both and divided, so that they stay unique.
    const before = config.depths.slice(0, d).filter((other) => Math.ceil(other / 2) === level).length;
    const names = compact.length > 0
      ? compact.slice(d * config.policies)
      : policyNames(config.seed, level, config.policies * (before + 1)).slice(before * config.policies);
    return Array.from({ length: config.policies }, (_, i) =>
      makePolicy(`n${depth}-${i}`, names[i] as string, depth, `${config.seed}/policy/${depth}/${i}`, config),
    );
  });
}
