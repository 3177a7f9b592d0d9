/** @file Plans of a model, recorded once for each shape of a batch. */
import { backward, embed, embedQuantised, gatherRows, Graph, headLogProbabilities, add, type IdIndex, idIndex, idIndexInputs, isQuantised, logSoftmax, type Plan, rmsNorm, sizeOf, type PlanInputs, type Tensor } from '@trimpi/runtime';
import type { LoraAdapter } from '../lora/adapter.ts';
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { type BatchImage, type PackedBatch, packVision } from './batch.ts';
import type { VisionLanguageModel } from './model.ts';
import { patchLength } from './parameters.ts';
import { headName, languageHead, type Observer, type Parameters, rowsPerBinding, shardsOf, textTower, type VisionFeatures, type VisionInputs, visionTower } from './towers.ts';

/** Sizes of a plan: a batch is padded to them. */
export interface BatchShape {
  readonly tokens: number;
  readonly targets: number;
  readonly vision: 'none' | 'tower' | 'features';
  readonly patches: number;
  readonly cells: number;
}

/** The next of a series of sizes that grows by about an eighth, in multiples of `unit`: few plans, little padding. */
export function roundUp(n: number, unit: number): number {
  let step = unit;
  while (step * 8 < n) step *= 2;
  return Math.max(unit, Math.ceil(n / step) * step);
}

export function shapeOf(batch: PackedBatch, spatialMergeSize: number): BatchShape {
  const cells = batch.vision === undefined ? 0 : roundUp(batch.vision.cells, 16);
  const tower = batch.vision !== undefined && batch.vision.features === undefined;
  return {
    tokens: roundUp(batch.tokens, 32),
    targets: roundUp(Math.max(1, batch.targets.length), 16),
    vision: batch.vision === undefined ? 'none' : tower ? 'tower' : 'features',
    patches: tower ? cells * spatialMergeSize ** 2 : 0,
    cells,
  };
}

export interface PlanOptions {
  readonly adapter: LoraAdapter | undefined;
  readonly temperature: number;
  /** Also record the backward pass from `dLogp` (and `dEntropy`). */
  readonly backward: boolean;
  readonly entropyGradient: boolean;
  readonly observe?: Observer;
  readonly logits?: boolean;
}

/** Records forward (and backward) of a batch shape. Outputs: `logp` and `entropy` [targets], and what is observed. */
export function recordBatch(model: VisionLanguageModel, shape: BatchShape, options: PlanOptions): Graph {
  const { temperature } = options;
  if (!(temperature > 0 && Number.isFinite(temperature))) throw new ModelError('invalid-input', { argument: 'temperature', value: temperature, message: 'must be a number above 0', remedy: 'Use 1 for the probabilities of the model, also of what was sampled at 0.' });
  const g = new Graph();
  const { config } = model;
  const dropoutKey = options.backward && (options.adapter?.config.loraDropout ?? 0) > 0 ? g.input('dropoutKey', [2], 'u32') : undefined;
  const parameters = model.parameters(g, options.adapter, dropoutKey);
  const ids = g.input('ids', [shape.tokens], 'i32');
  const visual = visualInputs(model, g, shape, parameters, options.observe);
  const trainsTable = options.backward && model.text.trainable;
  const index: IdIndex | undefined = trainsTable ? idIndexInputs(g, 'idIndex', shape.tokens) : undefined;
  const embedded = embedTokens(model, g, ids, visual, index);
  const x = textTower(
    config,
    parameters,
    {
      embedded,
      checkpointing: options.backward && model.checkpointing,
      positions: g.input('positions', [3, shape.tokens], 'i32'),
      rotary: model.textRotary(g),
      queryRanges: g.input('queryRanges', [shape.tokens, 6], 'u32'),
      keyRanges: g.input('keyRanges', [shape.tokens, 2], 'u32'),
      ...(visual === undefined ? {} : { deep: { ...visual, levels: visual.deep } }),
    },
    options.observe,
  );
  const gathered = gatherRows(x, g.input('predictors', [shape.targets], 'i32'), g.input('predictorInverse', [shape.tokens], 'i32'));
  const targets = g.input('targets', [shape.targets], 'i32');
  const scored = () => {
    const logits = languageHead(config, parameters, gathered);
    if (options.logits === true) g.output('logits', logits);
    return logSoftmax(logits, targets, temperature);
  };
  // Adapters on the head need whole logits; else a large vocabulary, or a head larger than a binding, is gone through in chunks.
  const head = parameters.weight(headName(config));
  const chunk = Math.min(isQuantised(head) ? rowsPerBinding(head) : Infinity, Math.max(64, Math.floor(model.headElements / shape.targets)));
  const { logp, entropy } =
    options.logits === true || parameters.factors('lm_head') !== undefined || config.vocabSize <= chunk
      ? scored()
      : headLogProbabilities(rmsNorm(gathered, parameters.tensor('norm'), config.rmsNormEps), head, targets, { temperature, chunk });
  g.output('logp', logp);
  g.output('entropy', entropy);
  if (options.backward) {
    const seeds: [Tensor, Tensor][] = [[logp, g.input('dLogp', [shape.targets])]];
    if (options.entropyGradient) seeds.push([entropy, g.input('dEntropy', [shape.targets])]);
    backward(g, seeds);
  }
  return g;
}

/** Embedded tokens with the features of images in place; a quantised table is looked up shard by shard. */
export function embedTokens(model: VisionLanguageModel, g: Graph, ids: Tensor, visual: ReturnType<typeof visualInputs>, index?: IdIndex): Tensor {
  const table = model.weight(g, 'embed_tokens');
  if (!isQuantised(table)) {
    return embed(ids, table, {
      ...(visual === undefined ? {} : { features: visual.features, source: visual.source, featureTokens: visual.featureTokens }),
      ...(index === undefined ? {} : { ids: index }),
    });
  }
  const words = embedQuantised(ids, shardsOf(table));
  // The rows of image tokens are taken out before their features are put in.
  if (visual === undefined) return words;
  const kept = gatherRows(words, g.input('wordRows', [sizeOf(ids.shape)], 'i32'), g.input('wordRows.inverse', [sizeOf(ids.shape)], 'i32'));
  return add(kept, gatherRows(visual.features, visual.source, visual.featureTokens));
}

/** The features of a batch's images (from the tower, or handed in) and where they go: inputs `source` and `featureTokens`. */
export function visualInputs(model: VisionLanguageModel, g: Graph, shape: BatchShape, parameters: Parameters, observe?: Observer): (VisionFeatures & { readonly source: Tensor; readonly featureTokens: Tensor }) | undefined {
  if (shape.vision === 'none') return undefined;
  const given = (name: string) => g.input(name, [shape.cells, model.config.vision.outHiddenSize]);
  const { features, deep } =
    shape.vision === 'features'
      ? { features: given('features'), deep: model.config.vision.deepstackVisualIndexes.map((_, k) => given(`deep.${k}`)) }
      : recordVision(model, g, shape.patches, parameters.factors, observe);
  return { features, deep, source: g.input('source', [shape.tokens], 'i32'), featureTokens: g.input('featureTokens', [shape.cells], 'i32') };
}

export function recordVision(model: VisionLanguageModel, g: Graph, patches: number, factors: Parameters['factors'], observe?: Observer): VisionFeatures {
  const corners = model.config.vision.numPositionEmbeddings === 0 ? undefined : {
    ids: g.input('cornerIds', [4 * patches], 'i32'),
    weights: g.input('cornerWeights', [patches, 4]),
    ...(model.vision.trainable ? { index: idIndexInputs(g, 'cornerIndex', 4 * patches) } : {}),
  };
  const inputs: VisionInputs = {
    pixelValues: g.input('pixelValues', [patches, patchLength(model.config)]),
    positions: g.input('patchPositions', [2, patches], 'i32'),
    rotary: model.visionRotary(g),
    window: { queries: g.input('windowQueries', [patches, 6], 'u32'), keys: g.input('windowKeys', [patches, 2], 'u32') },
    frame: { queries: g.input('frameQueries', [patches, 6], 'u32'), keys: g.input('frameKeys', [patches, 2], 'u32') },
    ...(corners === undefined ? {} : { corners }),
  };
  return visionTower(model.config, { tensor: (name) => model.parameter(g, `visual.${name}`), weight: (name) => model.weight(g, `visual.${name}`), factors }, inputs, observe);
}

/** The inputs of a plan from a batch, padded: padding attends to nothing and predicts nothing. */
export function batchInputs(batch: PackedBatch, shape: BatchShape, graphInputs: ReadonlySet<string>): Record<string, PlanInputs[string]> {
  const t = shape.tokens;
  const r = shape.targets;
  const inputs: Record<string, PlanInputs[string]> = {
    ids: padded(batch.ids, new Int32Array(t)),
    positions: padAxes(batch.positions, 3, batch.tokens, t),
    queryRanges: padded(batch.queryRanges, new Uint32Array(6 * t)),
    keyRanges: padded(batch.keyRanges, new Uint32Array(2 * t)),
    predictors: padded(batch.predictors, new Int32Array(r).fill(-1)),
    predictorInverse: inverse(batch.predictors, t),
    targets: padded(batch.targets, new Int32Array(r).fill(-1)),
  };
  const vision = batch.vision;
  if (vision !== undefined) {
    inputs['source'] = padded(batch.source, new Int32Array(t).fill(-1));
    inputs['featureTokens'] = inverse(batch.source, shape.cells);
    // -1 where an image's feature stands: those words are not looked up. The map is its own inverse.
    inputs['wordRows'] = inputs['wordRows.inverse'] = Int32Array.from({ length: t }, (_, i) => ((batch.source[i] ?? -1) >= 0 ? -1 : i));
    // Parts of storage leave the rows of padding as they are: nothing reads those.
    vision.features?.forEach((level, k) => (inputs[k === 0 ? 'features' : `deep.${k - 1}`] = level instanceof Float32Array ? padded(level, new Float32Array((shape.cells * level.length) / vision.cells)) : level));
    if (vision.features === undefined) Object.assign(inputs, visionInputs(vision, shape.patches));
  }
  if (graphInputs.has('idIndex.order')) {
    const index = idIndex(inputs['ids'] as Int32Array, (token) => token >= batch.tokens || batch.source[token]! >= 0);
    inputs['idIndex.order'] = index.order;
    inputs['idIndex.starts'] = index.starts;
    inputs['idIndex.rows'] = index.rows;
  }
  return Object.fromEntries(Object.entries(inputs).filter(([name]) => graphInputs.has(name)));
}

export function visionInputs(vision: NonNullable<PackedBatch['vision']>, patches: number): Record<string, PlanInputs[string]> {
  const length = vision.pixelValues.length / vision.patches;
  const queries = (ranges: Uint32Array) => {
    const out = new Uint32Array(6 * patches);
    for (let i = 0; i < vision.patches; i++) out.set(ranges.subarray(2 * i, 2 * i + 2), 6 * i);
    return out;
  };
  const corners: Record<string, PlanInputs[string]> = {};
  if (vision.corners !== undefined) {
    const ids = padded(vision.corners.ids, new Int32Array(4 * patches));
    const index = idIndex(ids, (i) => i >= vision.corners!.ids.length);
    Object.assign(corners, { cornerIds: ids, cornerWeights: padded(vision.corners.weights, new Float32Array(4 * patches)) }, Object.fromEntries(Object.entries(index).map(([k, v]) => [`cornerIndex.${k}`, v])));
  }
  return {
    ...corners,
    pixelValues: padded(vision.pixelValues, new Float32Array(patches * length)),
    patchPositions: padAxes(vision.positions, 2, vision.patches, patches),
    windowQueries: queries(vision.windowRanges),
    windowKeys: padded(vision.windowRanges, new Uint32Array(2 * patches)),
    frameQueries: queries(vision.frameRanges),
    frameKeys: padded(vision.frameRanges, new Uint32Array(2 * patches)),
  };
}

function padded<T extends Float32Array | Int32Array | Uint32Array>(data: T, into: T): T {
  into.set(data);
  return into;
}

function padAxes(data: Int32Array, axes: number, n: number, to: number): Int32Array {
  const out = new Int32Array(axes * to);
  for (let a = 0; a < axes; a++) out.set(data.subarray(a * n, (a + 1) * n), a * to);
  return out;
}

/** inverse[index[i]] = i, else -1. */
function inverse(index: Int32Array, length: number): Int32Array {
  const out = new Int32Array(length).fill(-1);
  index.forEach((to, i) => {
    if (to >= 0) out[to] = i;
  });
  return out;
}

/** A compiled plan with the names it takes. */
export interface ReadyPlan {
  readonly plan: Plan;
  readonly inputs: ReadonlySet<string>;
  readonly shape: BatchShape;
}

/** Records the vision tower alone, for training it with other heads: [patches / merge^2, text width] in window order. */
export function recordVisionTower(model: VisionLanguageModel, g: Graph, patches: number): Tensor {
  return recordVision(model, g, patches, () => undefined).features;
}

/** The inputs of `recordVisionTower` for images that fill it exactly, and for each cell the row the tower puts it out at. */
export function packVisionInputs(config: ModelConfig, images: readonly BatchImage[]): { readonly inputs: PlanInputs; readonly rowOfCell: Int32Array } {
  const { packed, rowOfCell } = packVision(config, images);
  return { inputs: visionInputs(packed, packed.patches), rowOfCell };
}
