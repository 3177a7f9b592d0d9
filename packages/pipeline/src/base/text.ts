/**
 * @file Second stage of a base: the decoder learns to bind, to look up, and to follow a policy in context.
 * Binding comes first (repeated sequences, then lookup drills): a model that starts with everything at once never
 * learns to look up what belongs to an id in its context (measured in an earlier prototype and here, docs/results).
 */
import type { PackedBatch, VisionLanguageModel } from '@trimpi/model';
import type { BatchRecipe, TextBatch, TextBatchSource, TextPhase } from './batches.ts';
import { checkFinite } from '../errors.ts';
import { scheduled } from './schedule.ts';

export interface TextTraining extends BatchRecipe {
  readonly learningRate: number;
  /** Most tokens of repeated sequences (less when their loss falls below 0.6) and of lookup drills. */
  readonly repeatTokens: number;
  readonly drillTokens: number;
  /** Tokens at the end of the mix over which the rate falls, and what is left of it then. Default: two fifths of them; a twentieth. */
  readonly decayTokens?: number;
  readonly lastRate?: number;
}

export interface StepInfo {
  readonly phase: TextPhase;
  readonly step: number;
  /** Share of the phase's budget that is used. */
  readonly done: number;
  /** Mean loss by kind of row. */
  readonly losses: Readonly<Record<string, number>>;
}

/** Features of scenes and crops, each [cells, width]. */
export interface ImageFeatures {
  readonly scenes: readonly Float32Array[];
  readonly crops: readonly Float32Array[];
}

/** Where a `TextPretrainer` is, as plain JSON; weights and moments are on the device. */
export interface TextState {
  readonly phase: TextPhase;
  readonly step: number;
  /** Steps of the phase. */
  readonly phaseStep: number;
  readonly tokens: number;
  /** Running mean of the loss, by which the first two phases end. */
  readonly average: number;
}

/** Trains the text tower on features of a frozen vision tower: repeated sequences, lookup drills, then the mix. */
export class TextPretrainer {
  readonly #model: VisionLanguageModel;
  readonly #source: TextBatchSource;
  readonly #options: TextTraining;
  /** May be changed when the tower has changed. */
  features: ImageFeatures;
  state: TextState = { phase: 'repeat', step: 0, phaseStep: 0, tokens: 0, average: 5 };

  constructor(model: VisionLanguageModel, source: TextBatchSource, features: ImageFeatures, options: TextTraining) {
    this.#model = model;
    this.#source = source;
    this.#options = options;
    this.features = features;
    model.setTrainable('text');
  }

  /** The phase of the next step: a phase ends when its loss is low enough or its tokens are used up. */
  get phase(): TextPhase | 'done' {
    const { phase, phaseStep, average } = this.state;
    const over = phaseStep >= this.#steps(phase);
    if (phase === 'repeat' && average > 0.6 && !over) return 'repeat';
    if (phase !== 'mix' && !(phase === 'drill' && (average <= 0.06 || over))) return 'drill';
    return phase === 'mix' && over ? 'done' : 'mix';
  }

  async next(): Promise<StepInfo> {
    const phase = this.phase;
    if (phase === 'done') throw new Error('the training is done');
    if (phase !== this.state.phase) this.state = { ...this.state, phase, phaseStep: 0, average: 3 };
    const { learningRate, decayTokens, lastRate, batchTokens } = this.#options;
    const step = this.state.step + 1;
    const index = this.state.phaseStep;
    const warm = Math.min(1, step / 40);
    const rate = warm * (phase === 'mix' ? scheduled(learningRate, index + 100, this.#steps(phase) + 100, 1, decayTokens === undefined ? undefined : decayTokens / batchTokens, lastRate) : learningRate);

    const made = await this.#source(phase, index);
    const batch = withFeatures(made, this.features);
    const total = made.weights.reduce((a, b) => a + b, 0);
    const { logp } = await this.#model.accumulate(batch, made.weights.map((w) => -w / total));
    const losses = meanLosses(made, logp);
    // Nothing is updated where the norm is not finite.
    const norm = await this.#model.step({ learningRate: rate, beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    checkFinite(`step ${step} (${phase})`, { ...losses, 'gradient norm': norm });
    this.state = { phase, step, phaseStep: index + 1, tokens: this.state.tokens + batch.tokens, average: 0.9 * this.state.average + 0.1 * (losses[phase] ?? 3) };
    return { phase, step, done: Math.min(1, (index + 1) / this.#steps(phase)), losses };
  }

  #steps(phase: TextPhase): number {
    const { repeatTokens, drillTokens, mix, batchTokens } = this.#options;
    return Math.ceil({ repeat: repeatTokens, drill: drillTokens, mix: mix.reduce((n, p) => n + p.tokens, 0) }[phase] / batchTokens);
  }
}

function withFeatures({ packed, images }: TextBatch, { scenes, crops }: ImageFeatures): PackedBatch {
  if (packed.vision === undefined) return packed;
  const own = images.map((i) => (i >= 0 ? scenes[i]! : crops[-1 - i]!));
  const features = new Float32Array(own.reduce((n, f) => n + f.length, 0));
  let at = 0;
  for (const f of own) {
    features.set(f, at);
    at += f.length;
  }
  return { ...packed, vision: { ...packed.vision, features: [features] } };
}

/** Of what counts for more than a little. */
function meanLosses({ weights, kinds }: TextBatch, logp: ArrayLike<number>): Record<string, number> {
  const sums = new Map<string, [number, number]>();
  kinds.forEach((kind, i) => {
    if (weights[i]! < 0.2) return;
    const s = sums.get(kind) ?? [0, 0];
    sums.set(kind, [s[0] - logp[i]!, s[1] + 1]);
  });
  return Object.fromEntries([...sums].map(([k, [a, n]]) => [k, a / n]));
}
