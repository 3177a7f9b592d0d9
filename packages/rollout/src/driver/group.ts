import { RolloutError } from '../error.ts';
import type { Origin } from '../origin.ts';
import type { Completion, DriverPrompt, Rollout, Score, StepOptions } from './types.ts';

/** A sampled and scored group. */
export interface ScoredGroup<P> {
  readonly rollouts: readonly Rollout<P>[];
  readonly scores: readonly Score[];
}

/** What the groups of a step share. */
export interface GroupContext<P> {
  readonly options: StepOptions<P>;
  readonly limit: <T>(task: () => Promise<T> | T) => Promise<T>;
  readonly signal: AbortSignal;
  /** Takes one call of generate from the budget; false when there is none left. */
  readonly spend: () => boolean;
}

/** Samples both halves of a prompt, scores them with their siblings, and repairs a group that nothing solved. */
export async function sampleGroup<P>(prompt: DriverPrompt<P>, context: GroupContext<P>): Promise<ScoredGroup<P> | undefined> {
  const { sampling } = context.options.objective.parts;
  const count = prompt.numGenerations ?? sampling?.numGenerations ?? 8;
  if (!Number.isInteger(count) || count < 1) {
    throw new RolloutError('invalid-argument', `prompts["${prompt.id}"].numGenerations`, count, 'must be a whole number of at least 1', 'Give each prompt at least one rollout.');
  }
  const origins: Origin[] = sampling?.twins === true ? ['free', 'policy'] : ['free'];
  const wanted = origins.flatMap((origin) => Array.from({ length: count }, (_, index) => ({ origin, index })));
  const sampled = await Promise.all(wanted.map(({ origin, index }) => sample(prompt, origin, index, undefined, context)));
  if (sampled.some((rollout) => rollout === undefined)) return undefined;
  const rollouts = sampled as Rollout<P>[];
  const scored = await Promise.all(rollouts.map((rollout) => scoreOne(rollout, rollouts, context)));
  if (scored.includes(undefined)) return undefined;
  const scores = scored as Score[];
  return repair(prompt, { rollouts, scores }, context);
}

async function sample<P>(prompt: DriverPrompt<P>, origin: Origin, index: number, hint: string | undefined, { options, limit, signal, spend }: GroupContext<P>): Promise<Rollout<P> | undefined> {
  return limit(async () => {
    if (signal.aborted || !spend()) return undefined;
    const completion = await options.generate({ prompt, origin, index, hint, signal });
    if (signal.aborted) return undefined;
    const id = `${prompt.id}/${origin}/${hint === undefined ? '' : 'hint-'}${index}`;
    checkCompletion(id, completion);
    return { ...completion, id, prompt, origin, hint };
  });
}

function checkCompletion(id: string, { tokens, behaviorLogps, mask }: Completion): void {
  if (tokens === undefined || typeof tokens.length !== 'number') {
    throw new RolloutError('invalid-argument', `generate(${id}).tokens`, tokens, 'must be an array of token ids', 'Return the sampled token ids.');
  }
  for (const [name, array] of [['behaviorLogps', behaviorLogps], ['mask', mask]] as const) {
    if (array !== undefined && array.length !== tokens.length) {
      throw new RolloutError('length-mismatch', `generate(${id}).${name}`, array.length, `must have one entry a token (${tokens.length})`, 'Return as many entries as tokens.');
    }
  }
}

/** Undefined when the step was aborted before its turn came. */
function scoreOne<P>(rollout: Rollout<P>, group: readonly Rollout<P>[], { options, limit, signal }: GroupContext<P>): Promise<Score | undefined> {
  const siblings = group.filter((other) => other !== rollout);
  return limit(async () => (signal.aborted ? undefined : checkScore(rollout.id, await options.score(rollout, siblings, signal), options.overlong !== undefined)));
}

function checkScore(id: string, score: Score, shaped: boolean): Score {
  const isReward = (x: unknown): boolean => x === null || typeof x === 'number';
  if (!isReward(score) && (typeof score !== 'object' || Array.isArray(score) || !Object.values(score as object).every(isReward))) {
    throw new RolloutError('invalid-argument', `score(${id})`, score, 'is neither a number, null nor an object of these', 'Return one reward, several by name, or null for none.');
  }
  if (shaped && typeof score === 'object' && score !== null && 'overlong' in score) {
    throw new RolloutError('invalid-argument', `score(${id}).overlong`, score['overlong'], 'has the name of the penalty that `overlong` adds', 'Give it another name, or leave the option out.');
  }
  return score;
}

/**
 * Scaf-GRPO (arXiv 2510.19807): when no rollout of a group is solved, one is sampled for each hint, from the faintest
 * on, and the first solved one replaces the group's first policy-free failure. It is trained under the plain prompt.
 */
async function repair<P>(prompt: DriverPrompt<P>, group: ScoredGroup<P>, context: GroupContext<P>): Promise<ScoredGroup<P>> {
  const isSolved = context.options.isSolved ?? ((score: Score) => totalScore(score) > 0);
  if (prompt.hints === undefined || group.scores.some((score) => score !== null && isSolved(score))) return group;
  for (const [level, hint] of prompt.hints.entries()) {
    const hinted = await sample(prompt, 'free', level, hint, context);
    if (hinted === undefined) return group;
    const score = await scoreOne(hinted, [...group.rollouts, hinted], context);
    if (score === undefined) return group;
    if (score === null || !isSolved(score)) continue;
    return { rollouts: group.rollouts.with(0, hinted), scores: group.scores.with(0, score) };
  }
  return group;
}

/** The sum of a score's parts; 0 for none. */
export function totalScore(score: Score): number {
  if (score === null) return 0;
  if (typeof score === 'number') return score;
  return Object.values(score).reduce<number>((sum, x) => sum + (x ?? 0), 0);
}
