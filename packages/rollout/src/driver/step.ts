import { RolloutError, checkNumber } from '../error.ts';
import { readAdvantageInput } from '../advantages/input.ts';
import { rolloutMetrics } from '../poro/diagnostics.ts';
import { type Objective, objective } from '../objective.ts';
import { overlongPenalty } from '../rewards/overlong.ts';
import { type GroupContext, type ScoredGroup, sampleGroup } from './group.ts';
import { limiter } from './limit.ts';
import type { DynamicSampling } from '../sampling.ts';
import type { DriverPrompt, Rollout, Score, ScoredLogps, StepOptions, StepReason, StepResult, TrainingBatch } from './types.ts';

/**
 * One whole step: samples groups (twins with a PolicyRollout objective), scores them with access to siblings, replaces
 * groups without a signal (dynamic sampling), re-scores what is kept under the policy-free prompt, and computes
 * advantages. What comes back is ready for `objective.loss`, with the reason the step ended: a step that cannot fill its
 * batch returns what it has instead of throwing, and so does an aborted one.
 *
 * @throws RolloutError for arguments that cannot be meant, prompts with the same id, or callbacks whose results do not
 *   fit; whatever a callback throws.
 */
export async function runStep<P>(options: StepOptions<P>): Promise<StepResult<P>> {
  checkNumber('batchSize', options.batchSize, 1);
  const concurrency = checkNumber('concurrency', options.concurrency ?? 8, 1);
  if (options.maxGenerations !== undefined) checkNumber('maxGenerations', options.maxGenerations, 1);
  const own = new AbortController();
  const signal = options.signal === undefined ? own.signal : AbortSignal.any([own.signal, options.signal]);
  let generations = 0;
  const context: GroupContext<P> = {
    options,
    limit: limiter(concurrency),
    signal,
    spend: () => (options.maxGenerations !== undefined && generations >= options.maxGenerations ? false : (generations++, true)),
  };
  try {
    const { groups, dropped, reason } = await collect(context);
    return await finish(options, groups, signal, reason, { 'sampling/generations': generations, 'sampling/groups_dropped': dropped });
  } catch (error) {
    own.abort(error);
    throw error;
  }
}

async function collect<P>(context: GroupContext<P>): Promise<{ groups: ScoredGroup<P>[]; dropped: number; reason: StepReason }> {
  const { options, signal } = context;
  const source = Symbol.asyncIterator in options.prompts ? options.prompts[Symbol.asyncIterator]() : options.prompts[Symbol.iterator]();
  const dynamic = options.objective.parts.sampling?.dynamicSampling;
  const seen = new Set<string>();
  const groups: ScoredGroup<P>[] = [];
  let dropped = 0;
  /** An aborted sampler may reject; the groups that were done stay. */
  const unlessAborted = (error: unknown): undefined => {
    if (options.signal?.aborted === true) return undefined;
    throw error;
  };
  for (let round = 0; ; round++) {
    const prompts = (await take(source, options.batchSize - groups.length, seen).catch(unlessAborted)) ?? [];
    const sampled = await Promise.all(prompts.map((prompt) => sampleGroup(prompt, context).catch(unlessAborted)));
    for (const group of sampled) {
      if (group === undefined) continue;
      if (dynamic !== undefined && !hasSignal(group.scores, dynamic, options)) dropped++;
      else groups.push(group);
    }
    if (groups.length >= options.batchSize) return { groups, dropped, reason: 'complete' };
    if (signal.aborted) return { groups, dropped, reason: 'aborted' };
    if (sampled.includes(undefined)) return { groups, dropped, reason: 'budget-exhausted' };
    if (prompts.length === 0 || dynamic === undefined) return { groups, dropped, reason: 'prompts-exhausted' };
    if (round >= dynamic.maxRetries) return { groups, dropped, reason: 'retries-exhausted' };
  }
}

async function take<P>(source: Iterator<DriverPrompt<P>> | AsyncIterator<DriverPrompt<P>>, count: number, seen: Set<string>): Promise<DriverPrompt<P>[]> {
  const prompts: DriverPrompt<P>[] = [];
  while (prompts.length < count) {
    const next = await source.next();
    if (next.done === true) break;
    const { id } = next.value;
    if (typeof id !== 'string' || id === '') throw new RolloutError('unknown-group', 'prompts[].id', id, 'names no group', 'Give each prompt a non-empty id.');
    if (seen.has(id)) throw new RolloutError('duplicate-id', 'prompts[].id', id, 'names two prompts of one step', 'Give each prompt of a step its own id.');
    seen.add(id);
    prompts.push(next.value);
  }
  return prompts;
}

/** Whether a group's raw rewards differ (decided by equality; a group of one rollout has nothing to differ from), or their mean lies inside the bounds that were set. */
function hasSignal<P>(scores: readonly Score[], { keepMean, key }: DynamicSampling, options: StepOptions<P>): boolean {
  const context = readAdvantageInput({ rewards: columnsOf(scores), groupIds: scores.map(() => 0) }, options.objective.parts.rewardWeights);
  const named = key === undefined ? undefined : context.columns[context.names.indexOf(key)];
  const rewards = (named ?? context.rewards).filter((r) => r === r);
  if (keepMean === undefined) return new Set(rewards).size > 1 || (scores.length === 1 && rewards.length === 1);
  const mean = rewards.reduce((sum, r) => sum + r, 0) / rewards.length;
  return keepMean[0] < mean && mean < keepMean[1];
}

function columnsOf(scores: readonly Score[]): Record<string, (number | null)[]> {
  const names = [...new Set(scores.flatMap((score) => (typeof score === 'object' && score !== null ? Object.keys(score) : typeof score === 'number' ? ['reward'] : [])))];
  if (names.length === 0) names.push('reward');
  return Object.fromEntries(names.map((name) => [name, scores.map((score) => (typeof score === 'number' ? (name === 'reward' ? score : null) : (score?.[name] ?? null)))]));
}

async function finish<P>(options: StepOptions<P>, groups: readonly ScoredGroup<P>[], signal: AbortSignal, ended: StepReason, counts: Record<string, number>): Promise<StepResult<P>> {
  const rollouts = groups.flatMap((group) => group.rollouts);
  if (rollouts.length === 0) return { reason: ended, batch: undefined, rollouts, rewards: {}, metrics: counts };
  const scores = groups.flatMap((group) => group.scores);
  const { logps, reason } = await scoreUnlessAborted(options, rollouts, signal, ended);
  if (logps !== undefined && logps.length !== rollouts.length) {
    throw new RolloutError('length-mismatch', 'logps()', logps.length, `must give one entry a rollout (${rollouts.length})`, 'Return log-probabilities for every rollout, in order.');
  }
  const rewards = shape(columnsOf(scores), rollouts, options);
  const groupIds = rollouts.map((rollout) => rollout.prompt.id);
  const origin = rollouts.map((rollout) => rollout.origin);
  const lengths = Int32Array.from(rollouts, (rollout) => activeTokens(rollout));
  const weighted = withNamedWeights(options.objective, Object.keys(rewards));
  const advantages = weighted.advantages({ rewards, groupIds, origin, lengths });
  const metrics = { ...counts, ...rolloutMetrics({ rewards, groupIds, origin, advantages, rewardWeights: weighted.parts.rewardWeights }), ...lengthMetrics(rollouts) };
  const kept = Object.fromEntries(Object.entries(rewards).map(([name, column]) => [name, Float64Array.from(column, (x) => x ?? NaN)]));
  if (logps === undefined) return { reason, batch: undefined, rollouts, rewards: kept, metrics };
  return { reason, batch: pack(options, rollouts, logps, advantages, origin, groupIds), rollouts, rewards: kept, metrics };
}

/** The log-probabilities; none when the step was aborted before or while they were computed. */
async function scoreUnlessAborted<P>(options: StepOptions<P>, rollouts: readonly Rollout<P>[], signal: AbortSignal, reason: StepReason): Promise<{ logps: readonly ScoredLogps[] | undefined; reason: StepReason }> {
  if (signal.aborted) return { logps: undefined, reason: 'aborted' };
  try {
    return { logps: await options.logps(rollouts, signal), reason };
  } catch (error) {
    if (options.signal?.aborted === true) return { logps: undefined, reason: 'aborted' };
    throw error;
  }
}

/** Adds the overlong penalty as a reward of its own. */
function shape<P>(columns: Record<string, (number | null)[]>, rollouts: readonly Rollout<P>[], { overlong }: StepOptions<P>): Record<string, (number | null)[]> {
  if (overlong === undefined) return columns;
  return { ...columns, overlong: rollouts.map((rollout) => overlongPenalty(rollout.tokens.length, overlong)) };
}

/** Weights by position, given by name, so that the overlong penalty may stand beside the rewards (with weight 1). */
function withNamedWeights(base: Objective, names: readonly string[]): Objective {
  const weights = base.parts.rewardWeights;
  if (!Array.isArray(weights) || !names.includes('overlong')) return base;
  const named = names.filter((name) => name !== 'overlong');
  if (weights.length !== named.length) return base;
  return objective({ ...base.parts, rewardWeights: Object.fromEntries(named.map((name, k) => [name, weights[k] as number])) });
}

function activeTokens<P>({ tokens, mask }: Rollout<P>): number {
  if (mask === undefined) return tokens.length;
  let count = 0;
  for (let t = 0; t < mask.length; t++) if (mask[t]) count++;
  return count;
}

function lengthMetrics<P>(rollouts: readonly Rollout<P>[]): Record<string, number> {
  const lengths = rollouts.map((rollout) => rollout.tokens.length);
  return {
    'completions/mean_length': lengths.reduce((sum, x) => sum + x, 0) / lengths.length,
    'completions/min_length': lengths.reduce((a, b) => Math.min(a, b)),
    'completions/max_length': lengths.reduce((a, b) => Math.max(a, b)),
    'completions/clipped_ratio': rollouts.filter((rollout) => rollout.truncated === true).length / rollouts.length,
  };
}

function pack<P>(options: StepOptions<P>, rollouts: readonly Rollout<P>[], logps: readonly ScoredLogps[], advantages: Float64Array, origin: TrainingBatch['origin'], groupIds: readonly string[]): TrainingBatch {
  const offsets = new Int32Array(rollouts.length + 1);
  rollouts.forEach((rollout, i) => (offsets[i + 1] = (offsets[i] as number) + rollout.tokens.length));
  const total = offsets[rollouts.length] as number;
  const tokens = new Int32Array(total);
  const mask = new Uint8Array(total);
  const oldLogps = new Float64Array(total);
  const refLogps = logps.every((l) => l.refLogps !== undefined) ? new Float64Array(total) : undefined;
  const behaviorLogps = rollouts.every((r) => r.behaviorLogps !== undefined) ? new Float64Array(total) : undefined;
  const masked = options.maskTruncatedCompletions ?? options.objective.parts.sampling?.maskTruncatedCompletions ?? false;
  rollouts.forEach((rollout, i) => {
    const at = offsets[i] as number;
    const { oldLogps: old, refLogps: ref } = logps[i] as ScoredLogps;
    for (const [name, array] of [['oldLogps', old], ['refLogps', ref]] as const) {
      if (array === undefined && name === 'refLogps') continue;
      if (array?.length !== rollout.tokens.length) {
        throw new RolloutError('length-mismatch', `logps()[${i}].${name}`, array?.length, `must have one entry a token of ${rollout.id} (${rollout.tokens.length})`, 'Score exactly the sampled tokens.');
      }
    }
    tokens.set(rollout.tokens, at);
    oldLogps.set(old, at);
    if (ref !== undefined) refLogps?.set(ref, at);
    if (rollout.behaviorLogps !== undefined) behaviorLogps?.set(rollout.behaviorLogps, at);
    const dropped = masked && rollout.truncated === true;
    for (let t = 0; t < rollout.tokens.length; t++) mask[at + t] = dropped || (rollout.mask !== undefined && !rollout.mask[t]) ? 0 : 1;
  });
  const lengths = Int32Array.from(rollouts, (rollout) => activeTokens(rollout));
  return { offsets, tokens, oldLogps, refLogps, behaviorLogps, mask, advantages, origin, groupIds, lengths };
}
