/** @file The two plans of sampling: prompts into the cache, and one token for every row. */
import { decodeAdvance, decodeInputs, Graph, markSeen, penaliseSeen, sample, scatterRowsInto, seenWords, SETTINGS_WIDTH, STATE_WIDTH, type Storage, type Tensor } from '@trimpi/runtime';
import type { VisionLanguageModel } from '../vl/model.ts';
import { type BatchShape, embedTokens, visualInputs } from '../vl/plans.ts';
import { languageHead, textTower } from '../vl/towers.ts';
import { cacheWidth, type GenerationCache } from './cache.ts';

/** Inputs as `batchInputs` makes them, and `cacheRows` i32 [tokens]: where keys and values of each token go, or -1. */
export function recordPrefill(model: VisionLanguageModel, cache: GenerationCache, shape: BatchShape, adapter: string | undefined): Graph {
  const g = new Graph();
  const parameters = model.parameters(g, adapter === undefined ? undefined : model.adapter(adapter));
  const visual = visualInputs(model, g, shape, parameters);
  const cacheRows = g.input('cacheRows', [shape.tokens], 'i32');
  // What comes of the last layer is not needed, so the plan leaves it out: only keys and values count.
  textTower(model.config, parameters, {
    embedded: embedTokens(model, g, g.input('ids', [shape.tokens], 'i32'), visual),
    positions: g.input('positions', [3, shape.tokens], 'i32'),
    rotary: model.textRotary(g),
    queryRanges: g.input('queryRanges', [shape.tokens, 6], 'u32'),
    ...(visual === undefined ? {} : { deep: { ...visual, levels: visual.deep } }),
    cache: (layer, qkv) => {
      putInto(model, cache, g, layer, qkv, cacheRows);
      return undefined;
    },
  });
  return g;
}

/** What the rows of a decoding plan are: state i32 [R, STATE_WIDTH], sampling settings f32 [R, SETTINGS_WIDTH]. */
export interface DecodeRows {
  readonly state: Storage;
  readonly settings: Storage;
}

/** For rows with a repetition penalty: u32 [R, seenWords(V)], which tokens they have, and f32 [R], by what these are penalised. */
export interface SeenTokens {
  readonly seen: Storage;
  readonly penalties: Storage;
}

/** One step of the first `rows` rows, with their penalties if `seenTokens` is given. No inputs: all it needs is on the device. */
export function recordDecode(model: VisionLanguageModel, cache: GenerationCache, { state, settings }: DecodeRows, rows: number, adapter: string | undefined, stopIds: readonly number[], seenTokens?: SeenTokens): Graph {
  const g = new Graph();
  const { config } = model;
  const width = cacheWidth(config);
  const stateRows = g.view(state, 0, [rows, STATE_WIDTH]);
  const inputs = decodeInputs(g, stateRows);
  const parameters = model.parameters(g, adapter === undefined ? undefined : model.adapter(adapter));
  const x = textTower(config, parameters, {
    embedded: embedTokens(model, g, inputs.ids, undefined),
    positions: inputs.positions,
    rotary: model.textRotary(g),
    queryRanges: inputs.ranges,
    cache: (layer, qkv) => ({ keys: putInto(model, cache, g, layer, qkv, inputs.cacheRows), kColumn: 0, vColumn: width / 2 }),
  });
  const logits = languageHead(config, parameters, x);
  const seen = seenTokens === undefined ? undefined : g.view(seenTokens.seen, 0, [rows, seenWords(config.vocabSize)]);
  const wanted = seen === undefined ? logits : penaliseSeen(logits, seen, g.view(seenTokens!.penalties, 0, [rows]));
  const sampled = sample(wanted, inputs.draws, g.view(settings, 0, [rows, SETTINGS_WIDTH]));
  if (seen !== undefined) markSeen(sampled.token, seen);
  decodeAdvance(
    sampled,
    { state: g.view(state, 0, [rows, STATE_WIDTH]), history: g.view(cache.history, 0, [cache.space.length]), trace: g.view(cache.trace, 0, [cache.space.length, 2]) },
    { rows, stopIds },
  );
  return g;
}

/** Puts a layer's keys and values into the cache. */
function putInto(model: VisionLanguageModel, cache: GenerationCache, g: Graph, layer: number, qkv: Tensor, rows: Tensor): Tensor {
  const { config } = model;
  const width = cacheWidth(config);
  const into = g.view(cache.layers[layer]!, 0, [cache.space.length, width], `cache ${layer}`);
  scatterRowsInto(into, qkv, rows, config.numAttentionHeads * config.headDim, width);
  return into;
}
