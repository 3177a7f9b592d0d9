import type { Completion, TokenSequence, VisionLanguageModel } from '@trimpi/model';
import type { Objective, Origin, OverlongOptions } from '@trimpi/rollout';
import type { OptimizerOptions } from '../optimizer.ts';
import type { ScheduleOptions } from '../schedule.ts';

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

/** By name of the reward, one number for each rollout; null where one gives none. */
export type RewardColumns = Readonly<Record<string, readonly (number | null)[]>>;

/** Rewards of rollouts. May look at siblings (same example); all of a group are in one call. May wait (a judge, a sandbox). */
export type RewardFunction = (rollouts: readonly Rollout[]) => RewardColumns | Promise<RewardColumns>;

/** An objective whose settings follow the training (adaptive KL): plain state goes in and comes out, and is kept in checkpoints. */
export interface StatefulObjective<State = unknown> {
  readonly initial: State;
  at(state: State): Objective;
  /** After each step, from its metrics. */
  next(state: State, metrics: Readonly<Record<string, number>>): State;
}

export interface RlOptions extends ScheduleOptions, OptimizerOptions {
  readonly examples: readonly RlExample[];
  /** One with dynamic sampling (`dapo`, `poroDapo`) replaces groups without a signal by those of further prompts. */
  readonly objective: Objective | StatefulObjective;
  readonly reward: RewardFunction;
  /** Groups of a step. */
  readonly promptsPerStep: number;
  /** Policy-free completions of each prompt. */
  readonly policyFree: number;
  /** Policy-aware completions of each prompt: as many as policy-free ones, or 0 for plain GRPO or DAPO. */
  readonly policyAware: number;
  readonly maxNewTokens: number;
  readonly stopIds: readonly number[];
  readonly temperature?: number;
  /** Groups of an update: a step's groups are cut into updates of so many, in order. Default: all of them. */
  readonly promptsPerUpdate?: number;
  /** Passes over each batch of rollouts. Default 1. */
  readonly numIterations?: number;
  /** Most tokens in memory at once when scoring and training: rollouts are packed into micro-batches. The gradient is the same. */
  readonly maxTokens?: number;
  /** Most completions sampled at once, of whole prompts: those of a step are sampled in turns. Default: all of them. */
  readonly maxRollouts?: number;
  /**
   * Prompts that may be sampled in all. Dynamic sampling spends them faster; the trainer is `finished` when they are used
   * up, and the schedule follows them instead of the steps. Arms with the same number see the same number of rollouts.
   */
  readonly maxPrompts?: number;
  /** Soft penalty for answers near the length limit (DAPO), added as a reward of its own after dynamic sampling. */
  readonly overlong?: OverlongOptions;
  /** Take truncated answers out of the loss; their rewards still count for their siblings (TRL). Default false. */
  readonly maskTruncatedCompletions?: boolean;
  /** Trained when given; the model without it is then the reference of objectives that ask for one. */
  readonly adapter?: string;
  /** The reference when all parameters are trained: a frozen copy with the same config. */
  readonly reference?: VisionLanguageModel;
  /**
   * Samples in place of the model that is trained: one of the same architecture in fewer bits (`quantise`), which takes over the
   * adapter (its frozen weights are loaded by the caller) or, when all parameters are trained, all weights, before each step. What it samples is off-policy by the
   * difference: an objective with importance weights corrects for it, and `sampling/...` measures it.
   */
  readonly generator?: VisionLanguageModel;
  readonly seed: number;
  readonly onRollouts?: (step: number, rollouts: readonly Rollout[], rewards: RewardColumns, advantages: Float64Array) => void;
}

/** TRL's names, and by origin where it matters. Seconds of each part of the step under `time/`. */
export interface RlMetrics extends Readonly<Record<string, number>> {
  readonly step: number;
  readonly loss: number;
  /** Weighted sum of the rewards' means, over the rollouts that were kept. Missing where none was. */
  readonly reward?: number;
  /** The same over all that was sampled, dropped groups included, without the overlong penalty. Missing where nothing was. */
  readonly sampled_reward?: number;
  /** Share of the sampled groups in which some rollout has an advantage (those that dynamic sampling dropped have none). */
  readonly frac_groups_with_advantage: number;
  /** Tokens sampled and tokens trained on in this step, and tokens of both kinds so far. */
  readonly sampled_tokens: number;
  readonly trained_tokens: number;
  readonly num_tokens: number;
  /** Rollouts sampled in this step, dropped ones included. */
  readonly sampled_rollouts: number;
  readonly skipped_updates: number;
}
