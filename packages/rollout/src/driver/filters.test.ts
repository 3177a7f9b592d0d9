import { describe, expect, it } from 'vitest';
import { type Objective, type Score, type StepOptions, fromEasyR1, fromOpenRlhf, fromVerl, groupNorm, objective, reinforce, runStep, tokenMean } from '../index.ts';

/** One group a prompt; the prompt's value holds the score of each rollout. */
const step = (built: Objective, groups: readonly (readonly Score[])[], more: Partial<StepOptions<readonly Score[]>> = {}) =>
  runStep<readonly Score[]>({
    objective: built,
    prompts: groups.map((value, i) => ({ id: `g${i}`, value, numGenerations: value.length })),
    batchSize: groups.length,
    generate: async ({ index }) => ({ tokens: [index] }),
    score: ({ prompt, tokens }) => prompt.value[tokens[0] as number] as Score,
    logps: async (rollouts) => rollouts.map(() => ({ oldLogps: [-1] })),
    ...more,
  });
const kept = async (built: Objective, groups: readonly (readonly Score[])[]): Promise<string[]> => [...new Set((await step(built, groups)).rollouts.map((r) => r.prompt.id))];

describe('dynamic sampling as each library has it', () => {
  it('verl keeps what varies in its metric', async () => {
    const groups = [[1, 1], [0, 1], [{ acc: 1, score: 0 }, { acc: 1, score: 5 }], [{ acc: 0, score: 1 }, { acc: 1, score: 0 }]];
    expect(await kept(fromVerl({ algorithm: { filter_groups: { enable: true, metric: 'acc' } } }), groups)).toEqual(['g1', 'g3']);
    expect(await kept(fromVerl({ algorithm: { filter_groups: { enable: true } } }), groups)).toEqual(['g1', 'g2']);
    expect(fromVerl({ filter_groups: { enable: true, max_num_gen_batches: 3 } }).parts.sampling?.dynamicSampling).toEqual({ maxRetries: 2 });
    expect(fromVerl({ filter_groups: { enable: true, max_num_gen_batches: 0 } }).parts.sampling?.dynamicSampling?.maxRetries).toBe(Infinity);
  });
  it('verl keeps a group of one rollout, which has nothing to differ from', async () => {
    const reinforced = fromVerl({ rollout: { n: 1 }, algorithm: { adv_estimator: 'reinforce_plus_plus', filter_groups: { enable: true } } });
    expect(await kept(reinforced, [[1], [0], [null], [1, 1]])).toEqual(['g0', 'g1']);
  });
  it('EasyR1 keeps means of "overall" strictly between 0.01 and 0.99', async () => {
    const groups = [[0, 0], [1, 1], [0.5, 0.5], [0.01, 0.01], [0.99, 0.99], [{ overall: 1, format: 0 }, { overall: 1, format: 0 }], [{ overall: 0.5, format: 9 }, { overall: 0.5, format: 9 }]];
    expect(await kept(fromEasyR1({ algorithm: { online_filtering: true } }), groups)).toEqual(['g2', 'g6']);
    expect(await kept(fromEasyR1({ online_filtering: true, filter_low: -1, filter_high: 0.5, filter_key: 'format' }), groups)).toEqual(['g0', 'g3', 'g5']);
    expect(fromEasyR1({ online_filtering: true, max_try_make_batch: 0 }).parts.sampling?.dynamicSampling?.maxRetries).toBe(Infinity);
    expect(fromEasyR1({ online_filtering: true }).parts.sampling?.dynamicSampling?.maxRetries).toBe(19);
  });
  it('OpenRLHF keeps means strictly inside its range', async () => {
    expect(await kept(fromOpenRlhf({ dynamic_filtering: true }), [[0, 0], [1, 1], [0.5, 0.5], [0, 1]])).toEqual(['g2', 'g3']);
    expect(await kept(fromOpenRlhf({ dynamic_filtering: true, dynamic_filtering_reward_range: [0.2, 0.5] }), [[0, 0], [0.3, 0.3], [0.5, 0.5]])).toEqual(['g1']);
    expect(() => fromOpenRlhf({ dynamic_filtering: true, dynamic_filtering_reward_range: 1 })).toThrow(/dynamic_filtering_reward_range.*Pass \[low, high\]/);
    expect(() => fromEasyR1({ online_filtering: true, filter_key: 3 })).toThrow(/filter_key/);
  });
  it('drops groups without any reward', async () => {
    expect(await kept(fromOpenRlhf({ dynamic_filtering: true }), [[null, null], [null, 0.5]])).toEqual(['g1']);
  });
});

describe('an aborted step', () => {
  const plain = objective({ name: 'plain', advantage: groupNorm(), surrogate: reinforce(), aggregation: tokenMean() });

  it('keeps rollouts and rewards when it is aborted while scoring log-probabilities', async () => {
    const controller = new AbortController();
    const result = await step(plain, [[0, 1], [1, 1]], {
      signal: controller.signal,
      logps: async () => {
        controller.abort();
        throw new DOMException('stop', 'AbortError');
      },
    });
    expect(result).toMatchObject({ reason: 'aborted', batch: undefined });
    expect(result.rollouts).toHaveLength(4);
    expect(Array.from(result.rewards['reward'] ?? [])).toEqual([0, 1, 1, 1]);
    expect(result.metrics['reward']).toBe(0.75);
  });
  it('keeps the groups that were scored and none that were not', async () => {
    const controller = new AbortController();
    const result = await step(plain, [[0, 1], [1, 1]], {
      signal: controller.signal,
      concurrency: 1,
      score: ({ prompt, tokens }) => {
        if (prompt.id === 'g1') controller.abort();
        return prompt.value[tokens[0] as number] as Score;
      },
    });
    expect(result.reason).toBe('aborted');
    expect(result.rollouts.map((r) => r.prompt.id)).toEqual(['g0', 'g0']);
    expect(Array.from(result.rewards['reward'] ?? [])).toEqual([0, 1]);
  });
  it('keeps them when the source of prompts rejects for it', async () => {
    const controller = new AbortController();
    const source = async function* () {
      yield { id: 'a', value: [0, 1], numGenerations: 2 };
      controller.abort();
      throw new DOMException('stop', 'AbortError');
    };
    expect((await step(plain, [[0], [1]], { signal: controller.signal, prompts: source() })).reason).toBe('aborted');
  });
});
