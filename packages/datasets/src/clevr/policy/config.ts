import { DatasetError, requireInteger, requireOneOf } from '../../core/error.ts';
import type { StreamKey } from '../../core/random.ts';
import { resolveSceneConfig, type ResolvedSceneConfig, type SceneConfig } from '../scene/generate.ts';
import { COMPACT_MAX_DEPTH } from './compact.ts';
import type { TreeMode, TreeSemantics } from './types.ts';

/** What a ClevrPolicy dataset is; every field has the paper's value as default. */
export interface ClevrPolicyConfig {
  readonly seed?: StreamKey;
  /** Depth N of the trees; several mix policies of several depths. */
  readonly n?: number | readonly number[];
  /** Policies for each depth; 10 by default. */
  readonly policies?: number;
  /** `t`: text only; `m`: some conditions are shown as image crops. */
  readonly variant?: 't' | 'm';
  /** `canonical`: the paper's prose; `compact`: words of a closed vocabulary, for small models. */
  readonly style?: 'canonical' | 'compact';
  readonly tree?: TreeMode;
  readonly semantics?: TreeSemantics;
  /** `balanced`: every reachable leaf equally often; `natural`: random scenes, labelled. */
  readonly sampling?: 'balanced' | 'natural';
  /** `canonical`: one wording of the question; `paraphrased`: several, and none in both splits. */
  readonly queries?: 'canonical' | 'paraphrased';
  /** Examples in each split; 20,000 and 2,000 by default. */
  readonly train?: number;
  readonly test?: number;
  /** Train examples that count as having reasoning (the first ones); 2,526 by default. */
  readonly reasoned?: number;
  /** Objects, visibility and margins; visibility is judged at the image size unless it is given. */
  readonly scene?: Omit<SceneConfig, 'split'>;
  /** Image size and window; 224x168 by default. */
  readonly width?: number;
  readonly height?: number;
  readonly crop?: SceneConfig['crop'];
}

export interface ResolvedClevrPolicyConfig {
  readonly seed: StreamKey;
  readonly depths: readonly number[];
  readonly policies: number;
  readonly variant: 't' | 'm';
  readonly style: 'canonical' | 'compact';
  readonly tree: TreeMode;
  readonly semantics: TreeSemantics;
  readonly sampling: 'balanced' | 'natural';
  readonly queries: 'canonical' | 'paraphrased';
  readonly train: number;
  readonly test: number;
  readonly reasoned: number;
  readonly scene: ResolvedSceneConfig;
  readonly width: number;
  readonly height: number;
  readonly crop: SceneConfig['crop'];
}

/** Scenes that a model of a million parameters can see: 112x84 cut to 112x56, 3 to 5 objects of at least 16 pixels. */
export const TINY_SCENES = {
  width: 112,
  height: 84,
  crop: { x: 0, y: 14, width: 112, height: 56 },
  scene: { minObjects: 3, maxObjects: 5, minPixels: 16 },
} as const satisfies ClevrPolicyConfig;

/** The paper's dataset: 10 policies for each N, 20,000 train, 2,000 test, 2,526 of them with reasoning; CLEVR's 480x320. */
export function paperPreset(n: 2 | 4 | 6, variant: 't' | 'm' = 't', seed: StreamKey = 0): ClevrPolicyConfig {
  return {
    seed, n, policies: 10, variant, train: 20000, test: 2000, width: 480, height: 320,
    reasoned: variant === 't' ? 2526 : n === 4 ? 2282 : 2472,
  };
}

/** Fills in defaults. Throws `invalidArgument` that names the field, its value and what to pass instead. */
export function resolveClevrPolicyConfig(config: ClevrPolicyConfig): ResolvedClevrPolicyConfig {
  const width = config.width ?? 224;
  const height = config.height ?? 168;
  const style = requireOneOf('style', config.style ?? 'canonical', ['canonical', 'compact']);
  const tree = requireOneOf('tree', config.tree ?? 'paper', ['paper', 'reachable', 'rich']);
  const variant = requireOneOf('variant', config.variant ?? 't', ['t', 'm']);
  const given = config.n ?? 6;
  const depths = typeof given === 'number' ? [given] : [...given];
  if (depths.length === 0) throw new DatasetError('invalidArgument', 'n is empty; pass at least one depth.');
  for (const depth of depths) requireInteger('n', depth, 1, style === 'compact' ? COMPACT_MAX_DEPTH : 8);
  if (style === 'compact' && tree === 'rich') {
    throw new DatasetError('invalidArgument', `style "compact" writes existence conditions only; use tree "paper" or "reachable" (got ${tree}).`);
  }
  const train = requireInteger('train', config.train ?? 20000, 0, 1e9);
  const minObjects = config.scene?.minObjects ?? 3;
  return {
    seed: config.seed ?? 0,
    depths,
    policies: requireInteger('policies', config.policies ?? 10, 1, 500),
    variant,
    style,
    tree,
    semantics: tree === 'rich' ? 'independent' : requireOneOf('semantics', config.semantics ?? 'refine', ['refine', 'independent']),
    sampling: requireOneOf('sampling', config.sampling ?? 'balanced', ['balanced', 'natural']),
    queries: requireOneOf('queries', config.queries ?? 'canonical', ['canonical', 'paraphrased']),
    train,
    test: requireInteger('test', config.test ?? 2000, 0, 1e9),
    reasoned: Math.min(train, requireInteger('reasoned', config.reasoned ?? Math.min(train, 2526), 0, 1e9)),
    scene: resolveSceneConfig({ width, height, ...(config.crop ? { crop: config.crop } : {}), maxObjects: Math.max(10, minObjects), ...config.scene }),
    width: requireInteger('width', width, 16, 4096),
    height: requireInteger('height', height, 16, 4096),
    crop: config.crop,
  };
}
