/** @file Settings of the stages that a file may leave out without a default being written down: each with a value to begin with, and what holds without it. */
import type { RlTrainingOptions, TrainingOptions } from '@trimpi/pipeline';
import type { Optional } from './settings.ts';

const TRAINING = {
  warmupSteps: [5, 'steps of linear warm-up; without: 5, or all where there are fewer'],
  lrSchedulerType: ['linear', 'learning rate after the warm-up: constant, linear or cosine; without: linear'],
  weightDecay: [0, "AdamW's, decoupled; without: 0"],
  maxGradNorm: [1, 'gradients of a larger norm are scaled down to it; 0: never; without: 1'],
  onNonFinite: ['throw', 'an update with a loss or gradient that is not finite ends the stage (throw), or is left out and counted (skip); without: throw'],
} satisfies Optional;

const STOPPING = (metric: string) => ({
  earlyStoppingPatience: [20, `ends the stage after so many steps without a better ${metric}; without: never`],
  earlyStoppingThreshold: [0, `what counts as better: more than this, in units of the ${metric}; without: 0`],
}) satisfies Optional;

const SUPERVISED = { ...TRAINING, ...STOPPING('loss') } satisfies Record<keyof TrainingOptions, Optional[string]>;

const RL = {
  ...TRAINING,
  warmupSteps: [20, 'steps of linear warm-up; without: 20, or all where there are fewer'],
  ...STOPPING('reward'),
  beta: [0, 'weight of the KL penalty to the weights before RL, or (one adapter throughout) to the checkpoint without it; without: 0. Arms on dapo and rloo have none'],
  epsilon: [0.2, "lower clip of the ratio, at 1 - epsilon; without: the arm's own (0.2; gspo 0.0003). Not in cispo"],
  epsilonHigh: [0.3, "upper clip, at 1 + epsilonHigh (cispo: at epsilonHigh); without: the arm's own (grpo 0.3, dapo 0.28, gspo 0.0004, cispo 5, the others epsilon)"],
  promptsPerUpdate: [8, 'questions of an update, so that a step makes several; without: all of a step'],
  numIterations: [1, 'passes over the completions of a step; without: 1'],
  dynamicSampling: [true, 'replaces questions whose completions all have one reward, at most 20 rounds a step; without: in dapo'],
  maskTruncatedCompletions: [false, 'completions cut off at maxNewTokens are left out of the loss; without: false'],
  softPunishCache: [8, 'penalty of long answers, from 0 to 1 over the last so many tokens before maxNewTokens; without: none'],
} satisfies Record<keyof RlTrainingOptions, Optional[string]>;

/** By stage, for every kind of run. */
export const OPTIONAL: Readonly<Record<string, Optional>> = { vmCpt: SUPERVISED, sft: SUPERVISED, directSft: SUPERVISED, rl: RL };
