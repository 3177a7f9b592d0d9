import { type AdvantageInput, type RewardWeights, readAdvantageInput } from './advantages/input.ts';
import type { AdvantagePart } from './advantages/part.ts';
import type { Aggregation } from './aggregation.ts';
import type { Channel, LossInput, LossResult } from './batch/input.ts';
import { type TokenView, checkFinite, readBatch } from './batch/view.ts';
import { RolloutError, checkObject } from './error.ts';
import { type MetricStyle } from './metrics/style.ts';
import { type Tally, addKl, addRow, addTokenSums, emptyTally } from './metrics/tally.ts';
import { trlMetrics } from './metrics/trl.ts';
import { type Need, checkNeeds } from './needs.ts';
import { saturate } from './numeric/saturate.ts';
import type { PoroOptions } from './poro/options.ts';
import type { EntropyBonus } from './regularisers/entropyBonus.ts';
import type { Regulariser } from './regularisers/regulariser.ts';
import type { SequenceRegulariser } from './regularisers/sequenceRegulariser.ts';
import type { SamplingPlan } from './sampling.ts';
import { type RowScratch, type Surrogate, makeScratch } from './surrogates/surrogate.ts';
import type { Modifier } from './weights/modifier.ts';

/** The parts an objective is made of. Each is a pure function that says what it needs. */
export interface ObjectiveParts {
  readonly name: string;
  /** From rewards to one advantage a rollout. */
  readonly advantage: AdvantagePart;
  /** Weights of several rewards; 1 each when absent. */
  readonly rewardWeights?: RewardWeights | undefined;
  /** Which tokens take part, and how much: changes the mask itself, before anything is counted. */
  readonly reject?: ((view: TokenView, metrics: Record<string, number>) => Uint8Array) | undefined;
  readonly rejectNeeds?: readonly Need[] | undefined;
  /** What rejected tokens leave: the `loss` (default), or its `policy` term only, as in verl's bypass mode. */
  readonly rejectFrom?: 'loss' | 'policy' | undefined;
  /** Factors of the policy term: entropy masks, off-policy masks, importance weights, in this order. */
  readonly modifiers?: readonly Modifier[] | undefined;
  readonly surrogate: Surrogate;
  /** The surrogate of policy-aware rows, where it differs (PolicyRollout's shaped ratio). */
  readonly policySurrogate?: Surrogate | undefined;
  /** The denominator of the ratio in each row; the old log-probabilities when absent. */
  readonly denominator?: ((view: TokenView, i: number) => ArrayLike<number>) | undefined;
  readonly denominatorNeeds?: readonly Need[] | undefined;
  /** Added to the token loss before aggregation. */
  readonly regularisers?: readonly Regulariser[] | undefined;
  /** Of the regularisers, where it is not the surrogate's (verl's `gspo`, OpenRLHF); their tokens are added up apart. */
  readonly regulariserAggregation?: Aggregation | undefined;
  /** Added to the total with an aggregation of their own. */
  readonly sequenceRegularisers?: readonly SequenceRegulariser[] | undefined;
  readonly entropyBonus?: EntropyBonus | undefined;
  readonly aggregation: Aggregation;
  /** What rows without an active token add to the policy term, a constant; nothing when absent. */
  readonly emptyRows?: ((view: TokenView) => number) | undefined;
  readonly metrics?: MetricStyle | undefined;
  /** Extra metrics of the batch, computed once; `before` is the batch before rejection. */
  readonly diagnostics?: readonly ((view: TokenView, before: TokenView) => Record<string, number>)[] | undefined;
  /** How rollouts should be sampled for this objective; read by the driver. */
  readonly sampling?: SamplingPlan | undefined;
  /** Set by poro(): how the two halves of a group are compared. */
  readonly poro?: PoroOptions | undefined;
}

export interface Objective {
  readonly name: string;
  readonly parts: ObjectiveParts;
  /** Inputs of `loss` that this objective cannot do without, besides the obvious ones. */
  readonly needs: readonly Need[];
  /**
   * One advantage a rollout. Equal rewards give exactly 0; a missing reward (null) gives 0 and moves no sibling.
   *
   * @throws RolloutError for lengths that disagree, a reward that is not finite, an id that is none, a missing input.
   */
  advantages(input: AdvantageInput): Float64Array;
  /**
   * The loss, its derivative with respect to each log-probability, and metrics. Nothing is mutated but `out`.
   *
   * @throws RolloutError for lengths that disagree, active positions without a finite number, a missing input.
   */
  loss(input: LossInput): LossResult;
}

/** Puts parts together. Everything is checked here or at the first call, before any work. */
export function objective(parts: ObjectiveParts): Objective {
  const generations = parts.sampling?.numGenerations;
  if (generations !== undefined && !(Number.isInteger(generations) && generations >= 1)) {
    throw new RolloutError('invalid-argument', 'numGenerations', generations, 'must be a whole number of at least 1', 'Ask for at least one rollout a prompt.');
  }
  const needy = lossParts(parts);
  const needs = [...new Set(needy.flatMap((part) => part.needs))];
  return {
    name: parts.name,
    parts,
    needs,
    advantages(input) {
      checkObject('advantages()', input, 'rewards and groupIds');
      checkNeeds([parts.advantage], input);
      let context = readAdvantageInput(input, parts.rewardWeights);
      if (parts.poro !== undefined) context = parts.poro.regroup(context);
      const out = input.out ?? new Float64Array(context.count);
      if (out.length !== context.count) {
        throw new RolloutError('length-mismatch', 'out', out.length, `must have ${context.count} entries`, 'Pass a Float64Array of that length, or none.');
      }
      parts.advantage.apply(context, out);
      parts.poro?.adjust(context, out);
      return out;
    },
    loss(input) {
      checkObject('loss()', input, 'log-probabilities, advantages, mask and shape');
      checkNeeds(needy, input);
      if (input.oldLogps === undefined) checkNeeds([{ name: parts.name, needs: ['oldLogps'] }], input);
      return isChannels(input.advantages) ? channelLoss(parts, input, input.advantages) : singleLoss(parts, input, 1, undefined);
    },
  };
}

function lossParts(parts: ObjectiveParts): { name: string; needs: readonly Need[] }[] {
  return [
    parts.surrogate,
    ...(parts.policySurrogate === undefined ? [] : [parts.policySurrogate]),
    ...(parts.modifiers ?? []),
    ...(parts.regularisers ?? []),
    ...(parts.sequenceRegularisers ?? []),
    ...(parts.entropyBonus === undefined ? [] : [{ name: 'entropyBonus', needs: ['entropy'] as const }]),
    parts.aggregation,
    ...(parts.regulariserAggregation === undefined ? [] : [parts.regulariserAggregation]),
    { name: 'rejection', needs: parts.rejectNeeds ?? [] },
    { name: 'ratio', needs: parts.denominatorNeeds ?? [] },
  ];
}

function isChannels(advantages: LossInput['advantages']): advantages is readonly Channel[] {
  return Array.isArray(advantages) && typeof advantages[0] === 'object' && advantages[0] !== null;
}

/**
 * HDPO's sum of weighted surrogates, one a channel: the clipped loss is not additive in A, so two advantages are two
 * losses. Regularisers count once.
 */
function channelLoss(parts: ObjectiveParts, input: LossInput, channels: readonly Channel[]): LossResult {
  const bare: ObjectiveParts = { ...parts, regularisers: [], sequenceRegularisers: [], entropyBonus: undefined };
  let result: LossResult | undefined;
  let loss = 0;
  channels.forEach((channel, c) => {
    if (typeof channel.weight !== 'number' || !Number.isFinite(channel.weight)) {
      throw new RolloutError('invalid-argument', `advantages[${c}].weight`, channel.weight, 'must be a finite number', 'Give each channel a weight.');
    }
    const part = c === 0 ? parts : bare;
    const next = singleLoss(part, { ...input, advantages: channel.advantages, out: c === 0 ? input.out : undefined }, channel.weight, result?.dLogp);
    loss += next.loss;
    result ??= next;
  });
  return { ...(result as LossResult), loss };
}

/** @param into gradient to add to, from an earlier channel. */
function singleLoss(parts: ObjectiveParts, input: LossInput, weight: number, into: Float64Array | undefined): LossResult {
  const before = readBatch(input);
  let view = before;
  const metrics: Record<string, number> = {};
  if (parts.reject !== undefined) {
    checkFinite(before);
    view = readBatch({ ...input, mask: parts.reject(before, metrics) });
  }
  const rest = parts.rejectFrom === 'policy' ? before : view;
  const run = new Run(parts, view, rest, before, weight);
  const dLogp = into ?? input.out ?? new Float64Array(view.tokens);
  let loss = run.policy(dLogp, into !== undefined);
  if (parts.emptyRows !== undefined) loss = saturate(loss + weight * parts.emptyRows(view));
  loss = saturate(loss + run.regularise(dLogp));
  const policyLoss = loss;
  for (const regulariser of parts.sequenceRegularisers ?? []) loss = saturate(loss + regulariser.add(rest, dLogp));
  let dEntropy: Float64Array | undefined;
  if (parts.entropyBonus !== undefined) {
    const bonus = parts.entropyBonus.apply(rest);
    loss = saturate(loss + bonus.loss);
    dEntropy = bonus.dEntropy;
  }
  run.report(metrics, policyLoss);
  return dEntropy === undefined ? { loss, dLogp, metrics } : { loss, dLogp, dEntropy, metrics };
}

/** One evaluation: the rows one after the other, through one scratch. */
class Run {
  private readonly scratch: RowScratch;
  private readonly total = emptyTally();
  private readonly byOrigin: readonly [Tally, Tally] | undefined;
  private readonly state: unknown;
  private readonly policyState: unknown;
  private readonly modifierStates: readonly unknown[];
  private readonly regulariserStates: readonly unknown[];
  private readonly modifiers: readonly Modifier[];
  private readonly regularisers: readonly Regulariser[];
  /** Whether regularisers have tokens or an aggregation of their own. */
  private readonly apart: boolean;
  private readonly style: MetricStyle;
  /** Whether a row may take the surrogate's single pass. */
  private readonly fusible: boolean;
  private checked = false;

  /**
   * @param view what the policy term reads: the batch after rejection.
   * @param rest what the other terms read.
   * @param before the batch before rejection.
   */
  constructor(
    private readonly parts: ObjectiveParts,
    private readonly view: TokenView,
    private readonly rest: TokenView,
    private readonly before: TokenView,
    private readonly weight: number,
  ) {
    this.modifiers = parts.modifiers ?? [];
    this.regularisers = parts.regularisers ?? [];
    this.apart = this.regularisers.length > 0 && (parts.regulariserAggregation !== undefined || rest !== view);
    this.style = parts.metrics ?? trlMetrics();
    this.fusible =
      parts.surrogate.fused !== undefined &&
      this.modifiers.length === 0 &&
      parts.policySurrogate === undefined &&
      weight === 1 &&
      !view.perToken &&
      (this.regularisers.length === 0 || this.apart || (this.regularisers.length === 1 && this.regularisers[0]?.fusedK3 !== undefined));
    if (!this.fusible || view.entropy !== undefined || view.behaviorLogps !== undefined) {
      checkFinite(view);
      this.checked = true;
    }
    this.scratch = makeScratch(view.columns, parts.surrogate.coupled || parts.policySurrogate?.coupled === true);
    this.byOrigin = view.origin === undefined ? undefined : [emptyTally(), emptyTally()];
    this.state = parts.surrogate.prepare?.(view);
    this.policyState = parts.policySurrogate?.prepare?.(view);
    this.modifierStates = this.modifiers.map((modifier) => modifier.prepare?.(view, {}, before));
    this.regulariserStates = this.regularisers.map((regulariser) => regulariser.prepare?.(rest));
  }

  policy(dLogp: Float64Array, accumulate: boolean): number {
    const { view, scratch } = this;
    const { loss, grad } = scratch;
    let total = 0;
    for (let i = 0; i < view.rows; i++) {
      const start = view.offsets[i] as number;
      const width = (view.offsets[i + 1] as number) - start;
      const scale = this.parts.aggregation.rowScale(view, i);
      scratch.scale = scale;
      if (this.fusible && !accumulate) {
        const sum = this.fusedRow(i, dLogp);
        if (sum - sum === 0) {
          total += scale * sum;
          this.count(i, this.regularisers.length === 0 || this.apart ? 0 : scratch.extra);
          continue;
        }
      }
      if (!this.checked) checkFinite(view);
      this.checked = true;
      let kl = this.row(i, false);
      let sum = 0;
      let suspicion = 0;
      for (let t = 0; t < width; t++) {
        sum += loss[t] as number;
        suspicion += (grad[t] as number) - (grad[t] as number);
      }
      if (sum - sum !== 0 || suspicion !== 0) {
        // Numbers beyond the range of doubles: once more, with every stage cut to LIMIT.
        kl = this.row(i, true);
        sum = 0;
        for (let t = 0; t < width; t++) sum += loss[t] as number;
      }
      total += scale * sum;
      if (accumulate) for (let t = 0; t < width; t++) dLogp[start + t] = (dLogp[start + t] as number) + (grad[t] as number) * scale;
      // + 0 makes -0 a 0.
      else for (let t = 0; t < width; t++) dLogp[start + t] = (grad[t] as number) * scale + 0;
      this.count(i, kl);
    }
    return saturate(total);
  }

  private fusedRow(i: number, dLogp: Float64Array): number {
    const { view, scratch, parts } = this;
    this.reset(i);
    return parts.surrogate.fused?.(view, i, scratch, dLogp, this.apart ? undefined : this.regularisers[0]?.fusedK3) ?? NaN;
  }

  /** Adds the regularisers that go apart from the policy term to the gradient and returns their part of the loss. */
  regularise(dLogp: Float64Array): number {
    if (!this.apart) return 0;
    const { rest, scratch } = this;
    const { loss, grad } = scratch;
    const aggregation = this.parts.regulariserAggregation ?? this.parts.aggregation;
    let total = 0;
    for (let i = 0; i < rest.rows; i++) {
      const start = rest.offsets[i] as number;
      const width = (rest.offsets[i + 1] as number) - start;
      const scale = aggregation.rowScale(rest, i);
      this.reset(i);
      loss.fill(0, 0, width);
      grad.fill(0, 0, width);
      const kl = this.addRegularisers(rest, i, true);
      let sum = 0;
      for (let t = 0; t < width; t++) {
        sum += loss[t] as number;
        dLogp[start + t] = (dLogp[start + t] as number) + (grad[t] as number) * scale;
      }
      total += scale * sum;
      addKl(this.total, kl, scale);
      const own = this.byOrigin?.[rest.origin?.[i] === 1 ? 1 : 0];
      if (own !== undefined) addKl(own, kl, scale);
    }
    return saturate(total);
  }

  private addRegularisers(view: TokenView, i: number, careful: boolean): number {
    let kl = 0;
    for (let m = 0; m < this.regularisers.length; m++) {
      const regulariser = this.regularisers[m] as Regulariser;
      const sum = regulariser.row(view, i, this.scratch, this.regulariserStates[m]);
      if (regulariser.metric === 'kl') kl += sum;
      if (careful) cut(view, i, this.scratch);
    }
    return kl;
  }

  private reset(i: number): void {
    const { view, scratch, parts } = this;
    scratch.old = parts.denominator === undefined ? view.oldLogps : parts.denominator(view, i);
    scratch.low = 0;
    scratch.high = 0;
    scratch.capped = 0;
    scratch.logRatio = 0;
    scratch.extra = 0;
  }

  private row(i: number, careful: boolean): number {
    const { view, scratch, parts } = this;
    const usesPolicy = parts.policySurrogate !== undefined && view.origin?.[i] === 1;
    const surrogate = usesPolicy ? (parts.policySurrogate as Surrogate) : parts.surrogate;
    this.reset(i);
    surrogate.row(view, i, scratch, usesPolicy ? this.policyState : this.state);
    if (careful) cut(view, i, scratch);
    for (let m = 0; m < this.modifiers.length; m++) {
      (this.modifiers[m] as Modifier).row(view, i, scratch, this.modifierStates[m], this.before);
      if (careful) cut(view, i, scratch);
    }
    if (surrogate.coupled) spread(view, i, scratch);
    if (this.weight !== 1) scaleRow(view, i, scratch, this.weight);
    return this.apart ? 0 : this.addRegularisers(view, i, careful);
  }

  private count(i: number, kl: number): void {
    const { view, scratch, parts } = this;
    const { perSequence } = parts.surrogate;
    const want = { logp: this.style.wantsLogp === true };
    addRow(this.total, view, i, scratch, perSequence, kl);
    addTokenSums(this.total, view, i, want);
    const own = this.byOrigin?.[view.origin?.[i] === 1 ? 1 : 0];
    if (own === undefined) return;
    addRow(own, view, i, scratch, perSequence, kl);
    addTokenSums(own, view, i, want);
  }

  report(metrics: Record<string, number>, policyLoss: number): void {
    const { parts, view } = this;
    const source = (tally: Tally) => ({
      tally,
      view,
      perSequence: parts.surrogate.perSequence,
      surrogate: parts.surrogate.name,
      hasKl: this.regularisers.some((regulariser) => regulariser.metric === 'kl'),
      policyLoss,
      entropyCoef: parts.entropyBonus?.coefficient,
    });
    Object.assign(metrics, this.style.report(source(this.total)));
    if (this.byOrigin !== undefined) {
      for (const [index, origin] of ['free', 'policy'].entries()) {
        const tally = this.byOrigin[index] as Tally;
        if (tally.rows === 0) continue;
        for (const [name, value] of Object.entries(this.style.report(source(tally)))) {
          if (name !== 'policy_loss' && name !== 'entropy_coef') metrics[`${name}/${origin}`] = value;
        }
      }
    }
    for (const diagnose of parts.diagnostics ?? []) Object.assign(metrics, diagnose(view, this.before));
  }
}

function cut(view: TokenView, i: number, { loss, grad }: RowScratch): void {
  const width = (view.offsets[i + 1] as number) - (view.offsets[i] as number);
  for (let t = 0; t < width; t++) {
    loss[t] = saturate(loss[t] as number);
    grad[t] = saturate(grad[t] as number);
  }
}

function scaleRow(view: TokenView, i: number, { loss, grad }: RowScratch, weight: number): void {
  const width = (view.offsets[i + 1] as number) - (view.offsets[i] as number);
  for (let t = 0; t < width; t++) {
    loss[t] = (loss[t] as number) * weight;
    grad[t] = (grad[t] as number) * weight;
  }
}

/** One ratio a row: every token's loss moves with z, and z with every token. */
function spread(view: TokenView, i: number, { grad, share }: RowScratch): void {
  const width = (view.offsets[i + 1] as number) - (view.offsets[i] as number);
  let sum = 0;
  for (let t = 0; t < width; t++) sum += grad[t] as number;
  for (let t = 0; t < width; t++) grad[t] = sum * (share[t] as number);
}
