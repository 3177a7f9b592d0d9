/**
 * @file Reinforcement learning with or without PolicyRollout (paper, eq. 3): G completions of each policy-free prompt
 * and as many of its policy-aware twin form one group; all of them are scored and trained under the policy-free prompt.
 */
import type { ScoreOptions, VisionLanguageModel } from '@trimpi/model';
import { type LossResult, type Objective, objective, type TrainingBatch } from '@trimpi/rollout';
import { TrainerError } from '../errors.ts';
import { checkBudget } from '../micro-batches.ts';
import { applyUpdate, checkOptimisation, hyperAt } from '../optimizer.ts';
import { learningRateAt } from '../schedule.ts';
import { checkState, type Trainer, type TrainerState } from '../state.ts';
import { Stopwatch } from '../stopwatch.ts';
import { collect, type Collected } from './collect.ts';
import { overUpdates, rolloutReport, samplerDifference } from './metrics.ts';
import { type MicroBatch, packRollouts, scoreAll, type TokenScores } from './rows.ts';
import type { RlMetrics, RlOptions, StatefulObjective } from './types.ts';

type Loss = (logps: Float64Array, entropy: Float64Array, oldLogps: Float64Array) => LossResult;

/** The rollouts of one update, with all that stays the same over its passes. */
interface Update {
  readonly batches: readonly MicroBatch[];
  readonly tokens: number;
  readonly loss: Loss;
  /** Scores at the start of the step. Undefined where the pass that trains gives them: nothing has changed by then, and the gradient does not depend on them (`fixed`). */
  readonly old: TokenScores | undefined;
  /** Gives the gradient where there are no `old` scores. */
  readonly fixed: LossResult | undefined;
  /** How far sampler and trainer are apart. */
  readonly difference: (oldLogps: Float64Array) => Readonly<Record<string, number>>;
}

export class RlTrainer implements Trainer {
  readonly #model: VisionLanguageModel;
  readonly #options: RlOptions;
  readonly #objective: StatefulObjective;
  #objectiveState: unknown;
  #step = 0;
  #position = 0;
  #updates = 0;
  #tokens = 0;

  constructor(model: VisionLanguageModel, options: RlOptions) {
    check(options);
    if (options.adapter !== undefined && model.adapter(options.adapter).config.loraDropout > 0) {
      throw new TrainerError('invalid-option', 'adapter', `drops ${model.adapter(options.adapter).config.loraDropout} of its inputs.`, 'Set loraDropout to 0 for RL: a ratio would compare two different masks.');
    }
    if (options.adapter !== undefined && options.generator?.adapters.has(options.adapter) === false) {
      throw new TrainerError('invalid-option', 'generator', `has no adapter ${options.adapter}.`, 'Put one with the same config on it; its values are taken over.');
    }
    this.#model = model;
    this.#options = options;
    const given = options.objective;
    this.#objective = 'at' in given ? given : { initial: undefined, at: () => given, next: () => undefined };
    this.#objectiveState = this.#objective.initial;
    this.#objectiveNow();
  }

  /** Steps done. */
  get step(): number {
    return this.#step;
  }

  /** Whether `maxPrompts` are used up. */
  get finished(): boolean {
    return this.#options.maxPrompts !== undefined && this.#position >= this.#options.maxPrompts;
  }

  state(): TrainerState {
    return { seed: this.#options.seed, step: this.#step, position: this.#position, updates: this.#updates, tokens: this.#tokens, objective: this.#objectiveState };
  }

  restore(state: TrainerState): void {
    ({ step: this.#step, position: this.#position, updates: this.#updates, tokens: this.#tokens } = checkState(state, this.#options.seed));
    this.#objectiveState = state.objective ?? this.#objective.initial;
  }

  /** Samples, scores, re-scores, and updates. A loss or gradient that is not finite changes no weight (see `onNonFinite`). */
  async next(): Promise<RlMetrics> {
    const o = this.#options;
    const step = this.#step + 1;
    const clock = new Stopwatch();
    const objective = this.#objectiveNow();
    const generator = o.generator ?? this.#model;
    if (generator !== this.#model) await clock.device(() => generator.copyFrom(this.#model, o.adapter === undefined ? {} : { adapter: o.adapter }));
    const collected = await collect(generator, objective, o, this.#position, clock);
    if (collected.batch !== undefined) o.onRollouts?.(step, collected.rollouts, collected.rewards, collected.batch.advantages);
    clock.lap('reward');
    const sane = collected.rollouts.every((r) => r.completion.logps.every(Number.isFinite));
    if (!sane && o.onNonFinite !== 'skip') {
      throw new TrainerError('diverged', `step ${step}`, 'sampled with log-probabilities that are not finite.', "Go back to the last checkpoint, or pass onNonFinite: 'skip'.");
    }
    const updates = sane ? await this.#prepare(objective, collected, clock) : [];
    clock.lap('rescoring');

    const learningRate = learningRateAt(o.maxPrompts === undefined ? step : this.#position / o.promptsPerStep + 1, o);
    const metrics: Record<string, number> = { ...rolloutReport(collected, objective.parts.rewardWeights), loss: 0, learning_rate: learningRate, skipped_updates: sane ? 0 : 1 };
    const done: Readonly<Record<string, number>>[] = [];
    for (let iteration = 0; iteration < (o.numIterations ?? 1); iteration++) {
      for (const update of updates) {
        const { loss, result, difference, gradNorm, applied } = await this.#update(update, done.length === 0, learningRate, clock, `step ${step}`);
        if (!applied) metrics['skipped_updates']!++;
        // Later ones are not on the policy that sampled.
        if (done.length === 0) Object.assign(metrics, difference);
        done.push({ ...result?.metrics, loss, grad_norm: gradNorm });
      }
    }
    Object.assign(metrics, overUpdates(done));
    clock.lap('update');
    const trained = updates.reduce((n, u) => n + u.batches.reduce((s, { batch }) => s + batch.tokens, 0), 0);
    this.#step = step;
    this.#position += collected.prompts;
    this.#tokens += trained + collected.sampledTokens;
    this.#objectiveState = this.#objective.next(this.#objectiveState, metrics);
    return { ...metrics, step, epoch: this.#position / o.examples.length, trained_tokens: trained, num_tokens: this.#tokens, ...clock.times() } as unknown as RlMetrics;
  }

  /** The objective of the next step; one that changes may need a reference model only later. */
  #objectiveNow(): Objective {
    const objective = this.#objective.at(this.#objectiveState);
    if (objective.needs.includes('refLogps') && this.#options.adapter === undefined && this.#options.reference === undefined) {
      throw new TrainerError('invalid-option', 'objective', `${objective.name} needs a reference model.`, 'Train an adapter (the model without it is the reference), pass a frozen copy as reference, or use an objective without KL (beta 0).');
    }
    return objective;
  }

  /** Packs what is trained on behind its policy-free prompts, and re-scores it there before any weight changes, where that has to come first. */
  async #prepare(objective: Objective, { rollouts, groupOf, groups, batch }: Collected, clock: Stopwatch): Promise<Update[]> {
    const o = this.#options;
    if (batch === undefined) return [];
    const silent = silentWithoutAdvantage(objective);
    const perUpdate = o.promptsPerUpdate ?? o.promptsPerStep;
    const single = groups <= perUpdate && (o.numIterations ?? 1) === 1;
    const updates: Update[] = [];
    for (let first = 0; first < groups; first += perUpdate) {
      const all = rollouts.map((_, i) => i).filter((i) => groupOf[i]! >= first && groupOf[i]! < first + perUpdate);
      const active = (i: number) => batch.mask.subarray(batch.offsets[i], batch.offsets[i + 1]).reduce((n, m) => n + m, 0);
      if (!all.some((i) => active(i) > 0 && (!silent || batch.advantages[i] !== 0))) continue;
      const used = silent ? withAdvantage(objective, all, batch, active) : all;
      const { offsets, batches } = packRollouts(this.#model.config, rollouts, groupOf, used, (i) => active(i) > 0, o.maxTokens);
      const tokens = offsets[offsets.length - 1]!;
      const reference = objective.needs.includes('refLogps') ? await scoreAll(batches, tokens, (b) => clock.device(() => (o.reference ?? this.#model).score(b, { temperature: o.temperature ?? 1 }))) : undefined;
      const gather = <T extends Float64Array | Uint8Array>(from: T, into: T): T => {
        used.forEach((i, u) => into.set(from.subarray(batch.offsets[i], batch.offsets[i + 1]), offsets[u]!));
        return into;
      };
      const behaviour = gather(batch.behaviorLogps!, new Float64Array(tokens));
      const mask = gather(batch.mask, new Uint8Array(tokens));
      // Policy-aware completions were sampled from another prompt: their difference is wanted.
      const free = mask.slice();
      used.forEach((i, u) => batch.origin[i] === 'policy' && free.fill(0, offsets[u], offsets[u + 1]));
      const common = {
        ...(reference === undefined ? {} : { refLogps: reference.logp }),
        behaviorLogps: behaviour,
        advantages: Float64Array.from(used, (i) => batch.advantages[i]!),
        mask,
        offsets,
        origin: used.map((i) => batch.origin[i]!),
        // Those left out count in the divisors all the same.
        ...(used.length === all.length ? {} : { numItemsInBatch: all.reduce((n, i) => n + active(i), 0), globalBatchSize: all.length }),
      };
      const loss: Loss = (logps, entropy, oldLogps) => objective.loss({ ...common, logps, entropy, oldLogps });
      const sampled: TokenScores = { logp: behaviour, entropy: new Float64Array(tokens) };
      used.forEach((i, u) => sampled.entropy.set(rollouts[i]!.completion.entropies, offsets[u]!));
      const fixed = single && reference === undefined ? fixedOnPolicy(objective, loss, sampled) : undefined;
      const old = fixed === undefined ? await this.#score(batches, tokens, clock) : undefined;
      updates.push({ batches, tokens, loss, old, fixed, difference: (oldLogps) => samplerDifference(behaviour, oldLogps, free) });
    }
    return updates;
  }

  /**
   * One update. The objective sees all its rollouts at once, so that its value and gradient do not depend on how they are
   * cut into micro-batches; these only take their share of dLoss/dLogp through the model.
   */
  async #update({ batches, tokens, loss, old, fixed, difference }: Update, fresh: boolean, learningRate: number, clock: Stopwatch, where: string) {
    const before = fresh || old === undefined ? old : await this.#score(batches, tokens, clock);
    const finite = (scores: TokenScores) => scores.logp.every(Number.isFinite);
    let result = before === undefined ? fixed : finite(before) && finite(old!) ? loss(before.logp, before.entropy, old!.logp) : undefined;
    let oldLogps = old?.logp;
    if (result !== undefined) {
      const { dLogp, dEntropy } = result;
      const scores = await scoreAll(batches, tokens, (batch, at) =>
        clock.device(() => this.#model.accumulate(batch, at.map((place) => dLogp[place]!), { ...this.#scoreOptions(), ...(dEntropy === undefined ? {} : { dEntropy: at.map((place) => dEntropy[place]!) }) })),
      );
      if (before === undefined) {
        oldLogps = scores.logp;
        result = finite(scores) ? loss(scores.logp, scores.entropy, scores.logp) : undefined;
      }
    }
    const value = result?.loss ?? NaN;
    const { gradNorm, applied } = await clock.device(() => applyUpdate(this.#model, hyperAt(this.#updates + 1, learningRate, this.#options), value, this.#options, where));
    if (applied) this.#updates++;
    return { loss: value, result, difference: oldLogps === undefined ? {} : difference(oldLogps), gradNorm, applied };
  }

  #score(batches: readonly MicroBatch[], tokens: number, clock: Stopwatch) {
    return scoreAll(batches, tokens, (batch) => clock.device(() => this.#model.score(batch, this.#scoreOptions())));
  }

  #scoreOptions(): ScoreOptions {
    const { adapter, temperature } = this.#options;
    return { ...(adapter === undefined ? {} : { adapter }), temperature: temperature ?? 1 };
  }
}

/**
 * The loss and its gradient at the start of a step if the gradient is the same whatever the log-probabilities are: every
 * ratio is 1 then, so a plain surrogate depends on advantages alone. Parts that look at the sampler, at entropies or at
 * single rows (importance weights, masks, rejection) may saturate, so nothing with one of them is taken for constant by trying.
 */
function fixedOnPolicy({ parts, needs }: Objective, loss: Loss, sampled: TokenScores): LossResult | undefined {
  const { modifiers = [], regularisers = [], sequenceRegularisers = [], entropyBonus, reject, policySurrogate, denominator } = parts;
  if (needs.includes('entropy') || needs.includes('behaviorLogps')) return undefined;
  if (modifiers.length + regularisers.length + sequenceRegularisers.length > 0) return undefined;
  if ([entropyBonus, reject, policySurrogate, denominator].some((part) => part !== undefined)) return undefined;
  // Whether the surrogate is a plain one is seen on three sets of scores.
  const apart = sampled.logp.map((x, i) => x + (i % 2 === 0 ? 0.5 : -1));
  const [a, ...others] = [new Float64Array(apart.length), sampled.logp, apart].map((logp) => loss(logp, sampled.entropy, logp));
  return a!.dEntropy === undefined && others.every((b) => b.dEntropy === undefined && b.dLogp.every((d, i) => d === a!.dLogp[i])) ? a : undefined;
}

/**
 * Whether rows without an advantage can be left out of an update: they have no gradient, and no other row's loss looks at
 * them. Parts that prepare something may look at the whole batch, so nothing with one of them is taken for silent by trying.
 */
function silentWithoutAdvantage({ parts, needs }: Objective): boolean {
  const { surrogate, policySurrogate, modifiers = [], regularisers = [], sequenceRegularisers = [], entropyBonus, reject } = parts;
  if (needs.some((need) => need !== 'behaviorLogps' && need !== 'origin')) return false;
  if (regularisers.length + sequenceRegularisers.length > 0 || entropyBonus !== undefined || reject !== undefined) return false;
  if ([surrogate, policySurrogate, ...modifiers].some((part) => part?.prepare !== undefined)) return false;
  const logps = [-1, -0.2, -3, -1, -0.2, -3];
  const { dLogp } = objective(parts).loss({ logps, oldLogps: [-1.1, -2, -0.5, -1, -0.9, -0.1], behaviorLogps: [-1.3, -0.1, -2, -0.9, -1, -3], advantages: [0, 0], mask: [1, 1, 1, 1, 1, 1], shape: [2, 3], origin: ['free', 'policy'] });
  return dLogp.every((d) => d === 0);
}

/**
 * Of the rollouts `all` of an update those with an advantage, where counts of rows and tokens say all that the divisors need
 * to know of the others; else all of them. They say it not where completions are masked whole (some means are over all
 * rows, some over those with a token), nor where the longest is left out and its length is the divisor.
 */
function withAdvantage({ parts }: Objective, all: readonly number[], { advantages, offsets }: TrainingBatch, active: (i: number) => number): readonly number[] {
  const used = all.filter((i) => advantages[i] !== 0);
  const longest = (rows: readonly number[]) => Math.max(...rows.map((i) => offsets[i + 1]! - offsets[i]!));
  if (all.some((i) => active(i) === 0)) return all;
  return parts.aggregation.name === 'constant-length' && longest(used) < longest(all) ? all : used;
}

function check(options: RlOptions): void {
  checkOptimisation(options);
  const { temperature } = options;
  if (temperature !== undefined && !(temperature > 0 && Number.isFinite(temperature))) throw new TrainerError('invalid-option', 'temperature', `is ${temperature}.`, 'Give a positive number.');
  for (const name of ['promptsPerStep', 'policyFree', 'maxNewTokens', 'promptsPerUpdate', 'numIterations', 'maxRollouts'] as const) {
    const value = options[name];
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) throw new TrainerError('invalid-option', name, `is ${value}.`, 'Give a positive integer.');
  }
  const { maxPrompts } = options;
  if (maxPrompts !== undefined && (!Number.isInteger(maxPrompts) || maxPrompts < 0)) throw new TrainerError('invalid-option', 'maxPrompts', `is ${maxPrompts}.`, 'Give a whole number of prompts.');
  checkBudget('maxTokens', options.maxTokens);
  if (options.policyAware !== 0 && options.policyAware !== options.policyFree) {
    throw new TrainerError('invalid-option', 'policyAware', `is ${options.policyAware}.`, `Give as many as policy-free completions (${options.policyFree}), or 0 for none.`);
  }
  if (options.examples.length === 0) throw new TrainerError('invalid-option', 'examples', 'is empty.', 'Give at least one example.');
  const missing = options.policyAware === 0 ? -1 : options.examples.findIndex((e) => e.policyAware === undefined);
  if (missing >= 0) throw new TrainerError('invalid-option', `examples[${missing}].policyAware`, 'is missing.', 'Give the prompt with the policy in context, or set policyAware to 0.');
}
