/**
 * @file Sampling of a step by the driver of `@trimpi/rollout` (twins, dynamic sampling, overlong answers). The driver
 * asks for one completion and one reward at a time; here all that it asks for in one turn goes to the device, and to the
 * reward function, as one batch.
 */
import { type Completion, generate, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import { type DriverPrompt, type Objective, objective, type Origin, runStep, type Score, type StepResult, type TrainingBatch } from '@trimpi/rollout';
import { TrainerError } from '../errors.ts';
import { examplesAt } from '../order.ts';
import type { Stopwatch } from '../stopwatch.ts';
import type { RewardColumns, RlExample, RlOptions, Rollout } from './types.ts';

export interface Collected {
  /** Kept rollouts, group after group. */
  readonly rollouts: readonly Rollout[];
  readonly groupOf: readonly number[];
  readonly groups: number;
  readonly rewards: RewardColumns;
  /** Undefined when no group was kept. Its log-probabilities are placeholders (NaN): nothing was scored yet. */
  readonly batch: TrainingBatch | undefined;
  readonly metrics: Readonly<Record<string, number>>;
  readonly reason: StepResult<unknown>['reason'];
  /** Prompts taken, rollouts and tokens sampled, dropped ones included. */
  readonly prompts: number;
  readonly sampledRollouts: number;
  readonly sampledTokens: number;
  /** Mean of each reward by origin over all that was sampled, as `sampled_rewards/{name}/{origin}`. */
  readonly sampledRewards: Readonly<Record<string, number>>;
  /** Sum of each reward over all that was sampled, in the order in which the reward function names them. */
  readonly sampledTotals: Readonly<Record<string, number>>;
}

interface Place {
  readonly example: RlExample;
  readonly position: number;
}

interface Request {
  readonly prompt: DriverPrompt<Place>;
  readonly origin: Origin;
  readonly index: number;
}

/** @param position prompts taken in earlier steps; completions draw from streams of random numbers numbered by it. */
export async function collect(model: VisionLanguageModel, base: Objective, o: RlOptions, position: number, clock: Stopwatch): Promise<Collected> {
  const size = o.policyFree + o.policyAware;
  const rollouts = new Map<string, Rollout>();
  let taken = 0;
  let sampledTokens = 0;
  const sums = new Map<string, { total: number; count: number }>();
  const totals: Record<string, number> = {};
  const prompts = function* (): Generator<DriverPrompt<Place>> {
    while (o.maxPrompts === undefined || position + taken < o.maxPrompts) {
      const at = position + taken++;
      const example = o.examples[examplesAt(o.examples.length, at, 1, o.seed)[0]!]!;
      yield { id: `${example.id}#${at}`, value: { example, position: at } };
    }
  };

  const generated = async (requests: readonly Request[]): Promise<readonly Completion[]> => {
    const sequences: TokenSequence[] = [];
    const placeOf = new Map<string, number>();
    const promptOf = requests.map(({ prompt, origin }) => {
      const key = `${origin} ${prompt.id}`;
      let at = placeOf.get(key);
      if (at === undefined) {
        placeOf.set(key, (at = sequences.length));
        const { example } = prompt.value;
        sequences.push(origin === 'policy' ? example.policyAware! : example.policyFree);
      }
      return at;
    });
    return generate(model, sequences, {
      promptOf,
      streams: requests.map(({ prompt, origin, index }) => prompt.value.position * size + (origin === 'policy' ? o.policyFree : 0) + index),
      seed: o.seed,
      temperature: o.temperature ?? 1,
      maxNewTokens: o.maxNewTokens,
      stopIds: o.stopIds,
      ...(o.adapter === undefined ? {} : { adapter: o.adapter }),
    });
  };

  const sample = batched<Request, Completion>(async (requests) => {
    const completions: Completion[] = [];
    for (const turn of inTurns(requests, o.maxRollouts ?? requests.length)) completions.push(...(await clock.device(() => generated(turn))));
    for (const c of completions) sampledTokens += c.tokens.length;
    clock.lap('generation');
    return completions;
  });

  const reward = batched<Rollout, Score>(async (asked) => {
    const columns = await o.reward(asked);
    checkRewards(columns, asked.length);
    for (const [name, column] of Object.entries(columns)) {
      totals[name] ??= 0;
      column.forEach((value, i) => {
        if (value === null) return;
        const key = `sampled_rewards/${name}/${asked[i]!.origin}`;
        const { total, count } = sums.get(key) ?? { total: 0, count: 0 };
        sums.set(key, { total: total + value, count: count + 1 });
        totals[name]! += value;
      });
    }
    clock.lap('reward');
    return asked.map((_, i) => Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column[i]!])));
  });

  const { sampling } = base.parts;
  const result = await runStep<Place>({
    objective: objective({ ...base.parts, sampling: { ...sampling, numGenerations: o.policyFree, twins: o.policyAware > 0 } }),
    prompts: prompts(),
    batchSize: o.promptsPerStep,
    concurrency: Number.MAX_SAFE_INTEGER,
    generate: async ({ prompt, origin, index }) => {
      const completion = await sample({ prompt, origin, index });
      rollouts.set(`${prompt.id}/${origin}/${index}`, { example: prompt.value.example, origin, completion });
      return { tokens: completion.tokens, behaviorLogps: completion.logps, truncated: completion.finish === 'length' };
    },
    score: ({ id }) => reward(rollouts.get(id)!),
    // Rows that turn out to have no advantage need no log-probabilities, so scoring waits until advantages are known.
    logps: async (kept) => kept.map(({ tokens }) => ({ oldLogps: new Float64Array(tokens.length).fill(NaN) })),
    ...(o.overlong === undefined ? {} : { overlong: o.overlong }),
    ...(o.maskTruncatedCompletions === undefined ? {} : { maskTruncatedCompletions: o.maskTruncatedCompletions }),
  });
  const kept = result.rollouts.map(({ id }) => rollouts.get(id)!);
  return {
    rollouts: kept,
    groupOf: kept.map((_, i) => Math.floor(i / size)),
    groups: kept.length / size,
    rewards: Object.fromEntries(Object.entries(result.rewards).map(([name, column]) => [name, Array.from(column, (x) => (Number.isNaN(x) ? null : x))])),
    batch: result.batch,
    metrics: result.metrics,
    reason: result.reason,
    prompts: taken,
    sampledRollouts: rollouts.size,
    sampledTokens,
    sampledRewards: Object.fromEntries([...sums].map(([key, { total, count }]) => [key, total / count])),
    sampledTotals: totals,
  };
}

/** What a reward function gave, before anything is learnt from it. */
function checkRewards(columns: RewardColumns, rollouts: number): void {
  const refuse = (name: string, message: string): never => {
    throw new TrainerError('invalid-option', `reward()${name}`, message, `Return an object with a list of ${rollouts} rewards by name, one for each rollout in order: numbers, or null where there is none.`);
  };
  if (typeof columns !== 'object' || columns === null || Array.isArray(columns)) refuse('', `gave ${Array.isArray(columns) ? 'a list' : String(columns)}.`);
  const entries = Object.entries(columns);
  if (entries.length === 0) refuse('', 'gave no reward.');
  for (const [name, column] of entries) {
    if (!Array.isArray(column) && !ArrayBuffer.isView(column)) refuse(`.${name}`, `is ${typeof column === 'object' ? 'no list' : String(column)}.`);
    if (column.length !== rollouts) refuse(`.${name}`, `has ${column.length} entries for ${rollouts} rollouts.`);
    const bad = Array.from(column).findIndex((value) => value !== null && !(typeof value === 'number' && Number.isFinite(value)));
    if (bad >= 0) refuse(`.${name}[${bad}]`, `is ${String(column[bad])}.`);
  }
}

/** Requests of at most `most` completions each time; those of one prompt and origin stay together, since they share its cache. */
function inTurns(requests: readonly Request[], most: number): Request[][] {
  const turns: Request[][] = [];
  const prompts: Request[][] = [];
  for (const request of requests) {
    const last = prompts.at(-1);
    if (last !== undefined && last[0]!.prompt === request.prompt && last[0]!.origin === request.origin) last.push(request);
    else prompts.push([request]);
  }
  for (const own of prompts) {
    const last = turns.at(-1);
    if (last !== undefined && last.length + own.length <= most) last.push(...own);
    else turns.push(own);
  }
  return turns;
}

/** Answers all requests of one turn of the event loop together. */
function batched<Request, Answer>(answer: (requests: readonly Request[]) => Promise<readonly Answer[]>): (request: Request) => Promise<Answer> {
  let waiting: { readonly request: Request; readonly resolve: (a: Answer) => void; readonly reject: (e: unknown) => void }[] = [];
  const flush = async () => {
    const now = waiting;
    waiting = [];
    try {
      const answers = await answer(now.map((w) => w.request));
      now.forEach((w, i) => w.resolve(answers[i]!));
    } catch (error) {
      for (const w of now) w.reject(error);
    }
  };
  return (request) =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setTimeout(() => void flush(), 0);
      waiting.push({ request, resolve, reject });
    });
}
