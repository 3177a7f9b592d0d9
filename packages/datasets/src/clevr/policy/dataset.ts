/**
 * @file ClevrPolicy: item i is a pure function of the config and i. The policy is i mod P; with balanced sampling, the
 * leaf comes from a permutation of the reachable leaves (a new one for every round), and the scene is made for it.
 */
import { RecentCache } from '../../core/cache.ts';
import { DatasetError, requireInteger, requireOneOf } from '../../core/error.ts';
import { lazyImage, type Example, type Split } from '../../core/example.ts';
import { formatResponse } from '../../core/answer.ts';
import { randomStream } from '../../core/random.ts';
import { resolveCrop } from '../../core/image.ts';
import { placeScene } from '../scene/generate.ts';
import { renderScene } from '../render/render.ts';
import type { Scene } from '../scene/types.ts';
import { compactAnswer, compactReasoning, compactResponse, compactReverseReasoning } from './compact.ts';
import { resolveClevrPolicyConfig, type ClevrPolicyConfig, type ResolvedClevrPolicyConfig } from './config.ts';
import { directTypes, type LeafDirector } from './direct.ts';
import { richSceneForLeaf } from './directrich.ts';
import { evaluateTree } from './evaluate.ts';
import { makePolicies, type ClevrPolicy } from './policy.ts';
import { paraphrasedQuery } from './paraphrase.ts';
import { forwardReasoning, reverseReasoning } from './trace.ts';
import type { TreeEvaluation } from './types.ts';

/** One question about one image under one policy. */
export interface ClevrPolicyExample extends Example {
  readonly index: number;
  readonly scene: Scene;
  /** Index into `policy.tree.leaves`. */
  readonly leaf: number;
  readonly leafId: string;
  /** Ids of the decision nodes on the way. */
  readonly path: readonly string[];
  /** Reasoning that begins with the answer. */
  readonly reverseReasoning: string;
  /** Whether this example belongs to the subset that is trained with reasoning. */
  readonly reasoned: boolean;
}

export interface ClevrPolicyDataset {
  readonly config: ResolvedClevrPolicyConfig;
  readonly policies: readonly ClevrPolicy[];
  /** Number of examples in a split. */
  size(split: Split): number;
  /** Example `index` of a split. Throws `invalidArgument` outside `[0, size)`. */
  example(split: Split, index: number): ClevrPolicyExample;
  /** Examples one by one; nothing is kept. */
  stream(split: Split): Generator<ClevrPolicyExample>;
}

/** The scene of an example and where it leads, for a policy and a position within it. */
export function sceneForPolicy(policy: ClevrPolicy, config: ResolvedClevrPolicyConfig, split: string, index: number, round: number): { scene: Scene; result: TreeEvaluation } {
  const sceneConfig = { ...config.scene, split };
  const random = randomStream(config.seed, 'example', split, policy.id, index);
  let scene: Scene;
  let wanted: number | undefined;
  if (config.sampling === 'natural') {
    const count = random.between(sceneConfig.minObjects, sceneConfig.maxObjects);
    scene = placeScene(Array.from({ length: count }, () => random.pick(sceneConfig.types)), sceneConfig, random, index);
  } else {
    const leaves = policy.reachable;
    if (leaves.length === 0) throw new DatasetError('unreachableLeaf', `policy ${policy.id} has no reachable leaf; allow more objects (scene.maxObjects).`);
    const order = randomStream(config.seed, 'leaves', split, policy.id, Math.floor(round / leaves.length)).shuffle(leaves);
    wanted = order[round % leaves.length] as number;
    scene =
      policy.tree.mode === 'rich'
        ? richSceneForLeaf(policy.tree, wanted, sceneConfig, random, index)
        : placeScene(
            directTypes(policy.directors[wanted] as LeafDirector, random.between(sceneConfig.minObjects, sceneConfig.maxObjects), random),
            sceneConfig, random, index,
          );
  }
  const result = evaluateTree(policy.tree, scene);
  if (wanted !== undefined && result.leaf.index !== wanted) {
    throw new DatasetError('invalidScene', `example ${split}/${index} reached leaf ${result.leaf.index} instead of ${wanted}; this is a defect of the generator.`);
  }
  return { scene, result };
}

/**
 * ClevrPolicy: a dataset of policies, scenes, questions and answers. Throws `invalidArgument` for a bad config.
 * @example clevrPolicy({ n: 6, policies: 10, seed: 1 }).example('train', 0).answer // 'Case 12'
 */
export function clevrPolicy(config: ClevrPolicyConfig = {}): ClevrPolicyDataset {
  const resolved = resolveClevrPolicyConfig(config);
  const policies = makePolicies(resolved);
  const pictures = new RecentCache<Uint8Array>(64);
  const size = (split: Split): number => (requireOneOf('split', split, ['train', 'test']) === 'train' ? resolved.train : resolved.test);
  const example = (split: Split, index: number): ClevrPolicyExample => {
    requireInteger('index', index, 0, size(split) - 1);
    const policy = policies[index % policies.length] as ClevrPolicy;
    const built = sceneForPolicy(policy, resolved, split, index, Math.floor(index / policies.length));
    return makeExample(policy, resolved, split, index, built.scene, built.result, pictures);
  };
  return {
    config: resolved,
    policies,
    size,
    example,
    *stream(split) {
      for (let i = 0; i < size(split); i++) yield example(split, i);
    },
  };
}

/** An example around a scene and its evaluation. */
export function makeExample(
  policy: ClevrPolicy, config: ResolvedClevrPolicyConfig, split: Split, index: number, scene: Scene, result: TreeEvaluation,
  pictures?: RecentCache<Uint8Array>,
): ClevrPolicyExample {
  const { width, height, crop } = config;
  const window = resolveCrop(crop, width, height);
  const { leaf, path } = result;
  const compact = config.style === 'compact';
  const answer = compact ? compactAnswer(leaf) : result.answer;
  const id = `clevr-${split}-${index}`;
  const draw = (): Uint8Array => renderScene(scene, { width, height, crop }).rgb;
  const image = lazyImage(window.width, window.height, () => (pictures ? pictures.get(id, draw) : draw()));
  return {
    id, split, index,
    policyId: policy.id,
    policyName: policy.name,
    images: [image],
    scene,
    query: config.queries === 'paraphrased' && !compact ? paraphrasedQuery(policy.name, split, randomStream(config.seed, 'query', split, index)) : policy.query,
    answer,
    get reasoning() {
      return compact ? compactReasoning(path, leaf) : forwardReasoning(path, leaf, scene);
    },
    get reverseReasoning() {
      return compact ? compactReverseReasoning(path, leaf) : reverseReasoning(path, leaf, scene);
    },
    get response() {
      return compact ? compactResponse(this.reasoning, answer) : formatResponse(this.reasoning, answer);
    },
    reasoned: split === 'train' && index < config.reasoned,
    policyText: policy.text,
    policyParts: policy.parts,
    leaf: leaf.index,
    leafId: leaf.id,
    path: path.map((step) => step.node.id),
  };
}
