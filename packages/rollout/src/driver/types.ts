import type { Origin } from '../origin.ts';
import type { Objective } from '../objective.ts';
import type { OverlongOptions } from '../rewards/overlong.ts';

/** A prompt to sample for. `value` is whatever `generate`, `score` and `logps` understand. */
export interface DriverPrompt<P> {
  /** Names the group; no two prompts of a step may share it. */
  readonly id: string;
  readonly value: P;
  /** Rollouts of this prompt (of each half, with twins); the objective's number when absent. */
  readonly numGenerations?: number | undefined;
  /** Hints from the faintest to the plainest, for prompts that nothing solves (Scaf-GRPO). */
  readonly hints?: readonly string[] | undefined;
}

export interface GenerateRequest<P> {
  readonly prompt: DriverPrompt<P>;
  /** `policy`: put the policy in the prompt. */
  readonly origin: Origin;
  /** Position within its half of the group. */
  readonly index: number;
  readonly hint: string | undefined;
  readonly signal: AbortSignal;
}

/** What a sampler gives back. */
export interface Completion {
  readonly tokens: ArrayLike<number>;
  readonly text?: string | undefined;
  /** Log-probabilities of the tokens under the sampler and its prompt. */
  readonly behaviorLogps?: ArrayLike<number> | undefined;
  /** 1 where the model itself wrote the token (0 for tool output); all 1 when absent. */
  readonly mask?: ArrayLike<number | boolean> | undefined;
  /** The answer met the length limit. */
  readonly truncated?: boolean | undefined;
}

export interface Rollout<P> extends Completion {
  readonly id: string;
  readonly prompt: DriverPrompt<P>;
  readonly origin: Origin;
  /** The hint it was sampled with; it is trained under the plain prompt all the same. */
  readonly hint: string | undefined;
}

/** One reward, or several by name; null where there is none. */
export type Score = number | null | Readonly<Record<string, number | null>>;

/** Log-probabilities of one rollout's tokens under the policy-free prompt. */
export interface ScoredLogps {
  readonly oldLogps: ArrayLike<number>;
  readonly refLogps?: ArrayLike<number> | undefined;
}

export interface StepOptions<P> {
  readonly objective: Objective;
  /** Where prompts come from; read only as far as needed. */
  readonly prompts: Iterable<DriverPrompt<P>> | AsyncIterable<DriverPrompt<P>>;
  /** Groups in a full batch. */
  readonly batchSize: number;
  readonly generate: (request: GenerateRequest<P>) => Promise<Completion>;
  /** Called once all of a group is sampled, with the other rollouts of the group. */
  readonly score: (rollout: Rollout<P>, siblings: readonly Rollout<P>[], signal: AbortSignal) => Score | Promise<Score>;
  /**
   * Scores the finished batch under the policy-free prompt, without hint and without policy, response tokens verbatim
   * and the image in place.
   */
  readonly logps: (rollouts: readonly Rollout<P>[], signal: AbortSignal) => Promise<readonly ScoredLogps[]>;
  /** Calls of `generate` (and of `score`) in flight at once. Default 8. */
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Added to the reward after groups were chosen, so that dynamic sampling sees the raw one. */
  readonly overlong?: OverlongOptions | undefined;
  /** Take truncated answers out of the loss; their rewards still count for their siblings (TRL). Default: as the objective's sampling says, else false. */
  readonly maskTruncatedCompletions?: boolean | undefined;
  /** What counts as solved for hints: default, a (summed) reward above 0. */
  readonly isSolved?: ((score: Score) => boolean) | undefined;
  /** Most calls of `generate` in the step; when it is used up the step ends with what it has. */
  readonly maxGenerations?: number | undefined;
}

/** Why a step ended. Anything but `complete` may come with fewer groups than asked for. */
export type StepReason = 'complete' | 'retries-exhausted' | 'prompts-exhausted' | 'budget-exhausted' | 'aborted';

/** A batch ready for `objective.loss`: everything but the current log-probabilities. Ragged layout. */
export interface TrainingBatch {
  readonly offsets: Int32Array;
  readonly tokens: Int32Array;
  readonly oldLogps: Float64Array;
  readonly refLogps?: Float64Array | undefined;
  readonly behaviorLogps?: Float64Array | undefined;
  readonly mask: Uint8Array;
  readonly advantages: Float64Array;
  readonly origin: readonly Origin[];
  readonly groupIds: readonly string[];
  readonly lengths: Int32Array;
}

export interface StepResult<P> {
  readonly reason: StepReason;
  /** Undefined when no group was kept, or when the step was aborted before `logps` was done: rollouts and rewards are there all the same. */
  readonly batch: TrainingBatch | undefined;
  readonly rollouts: readonly Rollout<P>[];
  readonly rewards: Readonly<Record<string, Float64Array>>;
  readonly metrics: Readonly<Record<string, number>>;
}
