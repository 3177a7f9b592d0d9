/** @file The RL stages: GRPO and DAPO, and PolicyRollout on each, with the same number of rollouts. */
import type { Curve, RlReport, SampledCompletion } from '@trimpi/eval';
import { VisionLanguageModel } from '@trimpi/model';
import { cispo, drGrpo, gspo, type Objective, objective, poro, poroDapo, poroGrpo, reinforcePlusPlus, rloo } from '@trimpi/rollout';
import { JsonLines, type Metrics, RlTrainer } from '@trimpi/trainers';
import { type Algorithm, plainOf, type RlConfig, type RlTrainingOptions } from '../config.ts';
import type { TrainContext } from './context.ts';
import { type Trained, trainerOptions, trainLoop } from './loop.ts';

export interface RlStage {
  /** Names its files. */
  readonly stage: string;
  readonly title: string;
  readonly algorithm: Algorithm;
  readonly settings: RlConfig;
}

/**
 * With the paper's clips for GRPO and DAPO, each other one's own defaults, and no KL term (beta 0, which would cost one more pass
 * a step), where the settings do not say otherwise; DAPO and RLOO have no KL term whatever they say. Without policy-aware rollouts PolicyRollout on an objective is that objective.
 */
export function objectiveOf(algorithm: Algorithm, { beta = 0, epsilon, epsilonHigh, dynamicSampling }: RlTrainingOptions = {}): Objective {
  const own = plainObjective(plainOf(algorithm), beta, { ...(epsilon === undefined ? {} : { epsilon }), ...(epsilonHigh === undefined ? {} : { epsilonHigh }) });
  const { sampling } = own.parts;
  if (dynamicSampling === undefined || dynamicSampling === (sampling?.dynamicSampling !== undefined)) return own;
  return objective({ ...own.parts, sampling: { ...sampling!, dynamicSampling: dynamicSampling ? { maxRetries: DYNAMIC_RETRIES } : undefined } });
}

/**
 * Steps of warm-up where the settings say nothing. The first gradients are of few groups and mostly noise, which AdamW makes as long as any:
 * at the full rate they unlearn to read the policy, from which policy-aware rollouts have their answers (docs/results.md).
 */
const WARMUP = 20;

/** DAPO's own. */
const DYNAMIC_RETRIES = 20;

function plainObjective(plain: ReturnType<typeof plainOf>, beta: number, clips: Pick<RlTrainingOptions, 'epsilon' | 'epsilonHigh'>): Objective {
  const rewardWeights = { accuracy: 0.9, format: 0.1 };
  switch (plain) {
    case 'grpo':
      return poroGrpo({ beta, rewardWeights, ...clips });
    case 'dapo':
      return poroDapo({ rewardWeights, ...clips });
    case 'dr-grpo':
      return poro(drGrpo({ beta, rewardWeights, ...clips }));
    case 'rloo':
      return poro(rloo({ rewardWeights, ...clips }));
    case 'gspo':
      return poro(gspo({ beta, rewardWeights, ...clips }));
    case 'cispo':
      return poro(cispo({ beta, rewardWeights, ...clips }));
    case 'reinforce-plus-plus':
      return poro(reinforcePlusPlus({ baseline: true, beta, rewardWeights, ...clips }));
    default:
      return plain satisfies never;
  }
}

export async function trainRl(context: TrainContext, { stage, title, algorithm, settings: rl }: RlStage): Promise<Trained> {
  const { model, task, adapter, seed, storage, maxTokens, maxRollouts } = context;
  const twins = plainOf(algorithm) !== algorithm;
  // Dynamic sampling ends when it has sampled as much as the others.
  const maxPrompts = rl.steps * rl.promptsPerStep;
  const items = new Map(task.train.map((item) => [item.id, item]));
  const lines = new JsonLines<SampledCompletion>(storage, completionsFile(stage));
  const { promptsPerUpdate, numIterations, maskTruncatedCompletions, softPunishCache } = rl;
  const objective = objectiveOf(algorithm, rl);
  // The weights that the stage begins with, before a checkpoint of it is read. An adapter is taken off instead.
  const reference = adapter === undefined && objective.needs.includes('refLogps') ? await copyOf(model) : undefined;
  model.setTrainable(adapter === undefined ? 'text' : { adapter });
  try {
    const trainer = new RlTrainer(model, {
      ...(adapter === undefined ? {} : { adapter }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(maxRollouts === undefined ? {} : { maxRollouts }),
      examples: task.train.map((item) => ({ id: item.id, policyFree: item.prompt(false), policyAware: item.prompt(true) })),
      ...(reference === undefined ? {} : { reference }),
      ...(promptsPerUpdate === undefined ? {} : { promptsPerUpdate }),
      ...(numIterations === undefined ? {} : { numIterations }),
      ...(maskTruncatedCompletions === undefined ? {} : { maskTruncatedCompletions }),
      ...(softPunishCache === undefined ? {} : { overlong: { maxLength: rl.maxNewTokens, cache: softPunishCache } }),
      objective,
      reward: (rollouts) => {
        const scores = rollouts.map((r) => items.get(r.example.id)!.score(task.text(r.completion.tokens)));
        return { accuracy: scores.map((s) => s.accuracy), format: scores.map((s) => s.format) };
      },
      promptsPerStep: rl.promptsPerStep,
      policyFree: twins ? rl.rollouts / 2 : rl.rollouts,
      policyAware: twins ? rl.rollouts / 2 : 0,
      maxNewTokens: rl.maxNewTokens,
      stopIds: task.stopIds,
      temperature: rl.temperature,
      ...trainerOptions(rl, WARMUP),
      maxPrompts,
      seed,
      onRollouts: (step, rollouts, rewards, advantages) => {
        const group = rollouts.slice(0, rl.rollouts).map((r, i): SampledCompletion => ({ step, id: r.example.id, origin: r.origin, text: task.text(r.completion.tokens), accuracy: rewards['accuracy']![i] ?? 0, advantage: advantages[i]! }));
        group.forEach((line) => lines.write(line));
        context.onCompletions?.(group);
      },
    });
    return await trainLoop(context, {
      stage, title, trainer, settings: rl, maxPrompts,
      // What dynamic sampling keeps is never all right, however good the model is.
      metric: objective.parts.sampling?.dynamicSampling === undefined ? 'reward' : 'sampled_reward',
      lines: { begin: (last) => lines.begin(last), write: () => undefined, flush: () => lines.flush() },
      describe: (m) => ({ tokens: m['trained_tokens']! + m['sampled_tokens']!, line: `${m['reward'] === undefined ? 'no group kept' : `reward ${m['reward'].toFixed(3)}`}, accuracy ${(m['sampled_rewards/accuracy/free'] ?? 0).toFixed(2)} without${twins ? `, ${(m['sampled_rewards/accuracy/policy'] ?? 0).toFixed(2)} with` : ''} policy` }),
    });
  } finally {
    model.setTrainable();
    reference?.dispose();
  }
}

/** The same weights once more, frozen. */
async function copyOf(model: VisionLanguageModel): Promise<VisionLanguageModel> {
  const copy = new VisionLanguageModel(model.engine, model.config);
  await copy.copyFrom(model);
  return copy;
}

export function completionsFile(stage: string): string {
  return `completions-${stage}.jsonl`;
}

/** The curves of a report, from the metrics of all steps. */
export function curvesOf(title: string, metrics: readonly Metrics[]): Curve[] {
  const names: Readonly<Record<string, string>> = metrics.some((m) => 'sampled_rollouts' in m)
    ? { reward: 'reward', 'sampled_rewards/accuracy/free': 'accuracy, policy-free', 'sampled_rewards/accuracy/policy': 'accuracy, policy-aware', frac_groups_with_advantage: 'groups with an advantage' }
    : { loss: 'loss' };
  return Object.entries(names).flatMap(([key, name]) => {
    const points = metrics.filter((m) => typeof m[key] === 'number').map((m) => [m.step, m[key]!] as const);
    return points.length === 0 ? [] : [{ stage: title, name, points }];
  });
}

const TIMES = ['generation', 'reward', 'rescoring', 'update', 'outside_gpu'] as const;

/** What RL learnt from, and where its time went. */
export function rlReport(metrics: readonly Metrics[]): RlReport | undefined {
  if (metrics.length === 0) return undefined;
  const values = (key: string, of: readonly Metrics[]) => of.flatMap((m) => (typeof m[key] === 'number' ? [{ value: m[key], weight: m['sampled_rollouts'] ?? 1 }] : []));
  // By rollout: steps of dynamic sampling are of different sizes.
  const mean = (key: string, of: readonly Metrics[] = metrics) => {
    const own = values(key, of);
    return own.length === 0 ? undefined : own.reduce((s, { value, weight }) => s + value * weight, 0) / own.reduce((s, { weight }) => s + weight, 0);
  };
  const seconds = (key: string) => values(key, metrics).reduce((s, { value }) => s + value, 0);
  const late = metrics.slice(Math.floor((3 * metrics.length) / 4));
  const policy = mean('sampled_rewards/accuracy/policy', late);
  return {
    groupsWithAdvantage: mean('frac_groups_with_advantage') ?? 0,
    accuracyFree: mean('sampled_rewards/accuracy/free', late) ?? 0,
    ...(policy === undefined ? {} : { accuracyPolicy: policy }),
    rollouts: metrics.reduce((n, m) => n + (m['sampled_rollouts'] ?? 0), 0),
    time: Object.fromEntries(TIMES.map((name) => [name, seconds(`time/${name}`) / Math.max(seconds('time/step'), 1e-9)])),
  };
}
