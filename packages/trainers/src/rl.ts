/**
 * @file Reinforcement learning with or without PolicyRollout (paper, eq. 3): G completions of each policy-free prompt
 * and M of its policy-aware twin form one group; all of them are scored and trained under the policy-free prompt.
 */
import { type Completion, generate, packBatch, type PackedBatch, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { Objective, Origin, RewardWeights } from '@trimpi/rollout';
import { TrainerError } from './errors.ts';
import { hyperAt, type OptimizerOptions } from './optimizer.ts';
import { examplesOfStep } from './order.ts';
import { learningRateAt, type ScheduleOptions } from './schedule.ts';

export interface RlExample {
  readonly id: string;
  /** What is deployed: query and images only. */
  readonly policyFree: TokenSequence;
  /** The same with the policy in context. Needed when policy-aware completions are asked for. */
  readonly policyAware?: TokenSequence;
}

export interface Rollout {
  readonly example: RlExample;
  readonly origin: Origin;
  readonly completion: Completion;
}

/** Rewards of rollouts, by name of the reward; null where one gives none. May look at siblings (same example). */
export type RewardFunction = (rollouts: readonly Rollout[]) => Readonly<Record<string, readonly (number | null)[]>> | Promise<Readonly<Record<string, readonly (number | null)[]>>>;

export interface RlOptions extends ScheduleOptions, OptimizerOptions {
  readonly examples: readonly RlExample[];
  readonly objective: Objective;
  readonly reward: RewardFunction;
  /** Prompts of a step. */
  readonly promptsPerStep: number;
  /** Policy-free completions of each prompt. */
  readonly policyFree: number;
  /** Policy-aware completions of each prompt; 0 is plain GRPO or DAPO. */
  readonly policyAware: number;
  readonly maxNewTokens: number;
  readonly stopIds: readonly number[];
  readonly temperature?: number;
  /** Updates on each batch of rollouts. Default 1. */
  readonly numIterations?: number;
  /** Trained when given; the model without it is then the reference of objectives that ask for one. */
  readonly adapter?: string;
  readonly seed: number;
  readonly onRollouts?: (step: number, rollouts: readonly Rollout[], rewards: Readonly<Record<string, readonly (number | null)[]>>, advantages: Float64Array) => void;
}

/** TRL's names, and by origin where it matters. Seconds of each part of the step under `time/`. */
export interface RlMetrics extends Readonly<Record<string, number>> {
  readonly step: number;
  readonly loss: number;
  /** Weighted sum of the rewards' means. */
  readonly reward: number;
  /** Share of groups in which some rollout has an advantage. */
  readonly 'frac_groups_with_advantage': number;
  /** Tokens sampled and tokens trained on. */
  readonly sampled_tokens: number;
  readonly num_tokens: number;
}

export class RlTrainer {
  readonly #model: VisionLanguageModel;
  readonly #options: RlOptions;
  step = 0;

  constructor(model: VisionLanguageModel, options: RlOptions) {
    const positive = (name: 'promptsPerStep' | 'policyFree' | 'maxNewTokens') => {
      if (!Number.isInteger(options[name]) || options[name] < 1) throw new TrainerError('invalid-option', name, `is ${options[name]}.`, 'Give a positive integer.');
    };
    positive('promptsPerStep');
    positive('policyFree');
    positive('maxNewTokens');
    if (!Number.isInteger(options.policyAware) || options.policyAware < 0) throw new TrainerError('invalid-option', 'policyAware', `is ${options.policyAware}.`, 'Give 0 or more completions.');
    if (options.examples.length === 0) throw new TrainerError('invalid-option', 'examples', 'is empty.', 'Give at least one example.');
    const missing = options.policyAware === 0 ? -1 : options.examples.findIndex((e) => e.policyAware === undefined);
    if (missing >= 0) throw new TrainerError('invalid-option', `examples[${missing}].policyAware`, 'is missing.', 'Give the prompt with the policy in context, or set policyAware to 0.');
    if (options.objective.needs.includes('refLogps') && options.adapter === undefined) {
      throw new TrainerError('invalid-option', 'objective', `${options.objective.name} needs a reference model.`, 'Train an adapter (the model without it is the reference), or use an objective without KL (beta 0).');
    }
    this.#model = model;
    this.#options = options;
  }

  /** Samples, scores, re-scores, and updates. A loss or gradient that is not finite changes no weight and throws `diverged`. */
  async next(): Promise<RlMetrics> {
    const o = this.#options;
    const step = this.step + 1;
    const clock = stopwatch();
    const examples = examplesOfStep(o.examples.length, o.promptsPerStep, step, o.seed).map((i) => o.examples[i]!);
    const rollouts = await this.#sample(step, examples);
    clock.lap('generation');
    const rewards = await o.reward(rollouts);
    const groupIds = rollouts.map((_, i) => Math.floor(i / (o.policyFree + o.policyAware)));
    const origin = rollouts.map((r) => r.origin);
    const lengths = rollouts.map((r) => r.completion.tokens.length);
    const advantages = o.objective.advantages({ rewards, groupIds, origin, lengths });
    o.onRollouts?.(step, rollouts, rewards, advantages);
    clock.lap('reward');

    // Rows without an advantage give no gradient unless a regulariser acts on them.
    const regularised = (o.objective.parts.regularisers?.length ?? 0) + (o.objective.parts.sequenceRegularisers?.length ?? 0) > 0 || o.objective.parts.entropyBonus !== undefined;
    const used = rollouts.map((_, i) => i).filter((i) => regularised || advantages[i] !== 0);
    const learningRate = learningRateAt(step, o);
    const metrics: Record<string, number> = { step, learningRate, ...summarise(rollouts, rewards, advantages, groupIds, o.objective.parts.rewardWeights) };
    metrics['loss'] = 0;
    metrics['num_tokens'] = 0;
    if (used.length > 0) {
      const { batch, rowOf } = this.#pack(examples, rollouts, used);
      const scoreOptions = { ...(o.adapter === undefined ? {} : { adapter: o.adapter }), temperature: o.temperature ?? 1 };
      const old = await this.#model.score(batch, scoreOptions);
      const reference = o.objective.needs.includes('refLogps') ? await this.#model.score(batch, { temperature: o.temperature ?? 1 }) : undefined;
      clock.lap('rescoring');
      const tokensInAll = lengths.reduce((a, b) => a + b, 0);
      const counts = used.map(() => 0);
      for (const row of rowOf) counts[row]!++;
      const offsets = [0];
      for (const n of counts) offsets.push(offsets[offsets.length - 1]! + n);
      const behaviour = new Float64Array(rowOf.length);
      let at = 0;
      for (const i of used) for (const l of rollouts[i]!.completion.logps) behaviour[at++] = l;
      const mask = new Uint8Array(rowOf.length).fill(1);
      const common = {
        oldLogps: old.logp,
        ...(reference === undefined ? {} : { refLogps: reference.logp }),
        behaviorLogps: behaviour,
        advantages: Float64Array.from(used, (i) => advantages[i]!),
        mask,
        offsets,
        origin: used.map((i) => origin[i]!),
        numItemsInBatch: tokensInAll,
        globalBatchSize: rollouts.length,
      };
      let scores = old;
      for (let iteration = 0; iteration < (o.numIterations ?? 1); iteration++) {
        if (iteration > 0) scores = await this.#model.score(batch, scoreOptions);
        const result = o.objective.loss({ ...common, logps: scores.logp, entropy: scores.entropy });
        await this.#model.accumulate(batch, result.dLogp, { ...scoreOptions, ...(result.dEntropy === undefined ? {} : { dEntropy: result.dEntropy }) });
        const gradNorm = await this.#model.step(hyperAt((step - 1) * (o.numIterations ?? 1) + iteration + 1, learningRate, o));
        if (!Number.isFinite(result.loss) || !Number.isFinite(gradNorm)) {
          throw new TrainerError('diverged', `step ${step}`, `has loss ${result.loss} and gradient norm ${gradNorm}; the update was not applied.`, 'Lower the learning rate, or go back to the last checkpoint.');
        }
        if (iteration === 0) Object.assign(metrics, result.metrics, { loss: result.loss, grad_norm: gradNorm });
      }
      metrics['num_tokens'] = batch.tokens;
      clock.lap('update');
    }
    this.step = step;
    return { ...metrics, ...clock.times(), step } as unknown as RlMetrics;
  }

  async #sample(step: number, examples: readonly RlExample[]): Promise<Rollout[]> {
    const o = this.#options;
    const prompts: TokenSequence[] = [];
    const promptOf: number[] = [];
    const plan: { example: RlExample; origin: Origin }[] = [];
    const add = (example: RlExample, origin: Origin, count: number) => {
      for (let i = 0; i < count; i++) {
        promptOf.push(prompts.length - 1);
        plan.push({ example, origin });
      }
    };
    for (const example of examples) {
      prompts.push(example.policyFree);
      add(example, 'free', o.policyFree);
      if (o.policyAware === 0) continue;
      prompts.push(example.policyAware!);
      add(example, 'policy', o.policyAware);
    }
    const completions = await generate(this.#model, prompts, {
      promptOf,
      streams: promptOf.map((_, i) => (step - 1) * promptOf.length + i),
      seed: o.seed,
      temperature: o.temperature ?? 1,
      maxNewTokens: o.maxNewTokens,
      stopIds: o.stopIds,
      ...(o.adapter === undefined ? {} : { adapter: o.adapter }),
    });
    return completions.map((completion, i) => ({ ...plan[i]!, completion }));
  }

  /** All used rollouts behind their policy-free prompts, each prompt once; `rowOf` gives for each predicted token its place in `used`. */
  #pack(examples: readonly RlExample[], rollouts: readonly Rollout[], used: readonly number[]): { batch: PackedBatch; rowOf: number[] } {
    const size = rollouts.length / examples.length;
    const rows = examples
      .map((example, e) => ({ example, own: used.filter((i) => Math.floor(i / size) === e) }))
      .filter(({ own }) => own.length > 0);
    const batch = packBatch(this.#model.config, rows.map(({ example, own }) => ({ sequence: example.policyFree, completions: own.map((i) => rollouts[i]!.completion.tokens) })));
    const first: number[] = [];
    let n = 0;
    for (const { own } of rows) {
      first.push(n);
      n += own.length;
    }
    return { batch, rowOf: batch.places.map(({ row, completion }) => first[row]! + completion) };
  }
}

/** Means by TRL's names, and by origin. */
function summarise(rollouts: readonly Rollout[], rewards: Readonly<Record<string, readonly (number | null)[]>>, advantages: Float64Array, groupIds: readonly number[], weights: RewardWeights | undefined): Record<string, number> {
  const out: Record<string, number> = {};
  const mean = (values: readonly (number | null)[]) => {
    const given = values.filter((v): v is number => v !== null);
    return given.length === 0 ? 0 : given.reduce((a, b) => a + b, 0) / given.length;
  };
  let total = 0;
  for (const [i, [name, values]] of Object.entries(rewards).entries()) {
    const weight = weights === undefined ? 1 : 'length' in weights && typeof weights.length === 'number' ? (weights as readonly number[])[i] : (weights as Readonly<Record<string, number>>)[name];
    out[`rewards/${name}/mean`] = mean(values);
    for (const origin of ['free', 'policy'] as const) {
      const own = values.filter((_, i) => rollouts[i]!.origin === origin);
      if (own.length > 0) out[`rewards/${name}/${origin}`] = mean(own);
    }
    total += (weight ?? 1) * out[`rewards/${name}/mean`]!;
  }
  out['reward'] = total;
  const groups = new Set(groupIds);
  const alive = new Set(groupIds.filter((_, i) => advantages[i] !== 0));
  out['frac_groups_with_advantage'] = alive.size / groups.size;
  out['sampled_tokens'] = rollouts.reduce((s, r) => s + r.completion.tokens.length, 0);
  out['completions/mean_length'] = out['sampled_tokens'] / rollouts.length;
  out['completions/clipped_ratio'] = rollouts.filter((r) => r.completion.finish === 'length').length / rollouts.length;
  const entropies = rollouts.flatMap((r) => Array.from(r.completion.entropies));
  out['entropy'] = entropies.reduce((a, b) => a + b, 0) / Math.max(1, entropies.length);
  return out;
}

function stopwatch() {
  const laps: Record<string, number> = {};
  let last = performance.now();
  return {
    lap(name: string) {
      const now = performance.now();
      laps[`time/${name}`] = (now - last) / 1000;
      last = now;
    },
    times: () => laps,
  };
}
