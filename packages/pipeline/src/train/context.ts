import type { SampledCompletion } from '@trimpi/eval';
import type { VisionLanguageModel } from '@trimpi/model';
import type { Metrics } from '@trimpi/trainers';
import { PipelineError } from '../errors.ts';
import type { RunStorage } from '../storage.ts';
import type { Task } from '../task.ts';

/** What a stage trains with, and whom it tells. */
export interface TrainContext {
  readonly model: VisionLanguageModel;
  readonly task: Task;
  /** Trained by every stage when given, the weights under it frozen. Without: VM-CPT and RL train the text tower, and SFT an adapter of its own that is merged after. */
  readonly adapter?: string | undefined;
  /** Most tokens in memory at once; see the trainers. */
  readonly maxTokens?: number | undefined;
  /** Most completions sampled at once. */
  readonly maxRollouts?: number | undefined;
  readonly storage: RunStorage;
  readonly seed: number;
  /** Steps between two checkpoints. */
  readonly saveSteps: number;
  /** Stops after the current step, with everything saved. */
  readonly signal?: AbortSignal | undefined;
  onBegin(firstStep: number): void;
  onStep(step: StageStep): void;
  onNote(text: string): void;
  /** All rollouts of one question of an RL step. */
  readonly onCompletions?: ((completions: readonly SampledCompletion[]) => void) | undefined;
}

export interface StageStep {
  readonly step: number;
  readonly steps: number;
  /** Steps there will be, going by those so far: fewer than `steps` where dynamic sampling uses up the questions before. */
  readonly of: number;
  /** The step in a line. */
  readonly value: string;
  /** All numbers of the step, under the trainer's names. */
  readonly metrics: Metrics;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
}

/** Throws what ends a run as asked. What was trained has been saved before. */
export function interrupt(where: string, storage: RunStorage): never {
  throw new PipelineError('interrupted', where, 'stopped as asked; everything is saved.', `Run the same command again to go on (${storage.name}).`);
}
