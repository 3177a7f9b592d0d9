import { describe, expect, it } from 'vitest';
import { type DriverPrompt, type GenerateRequest, type StepOptions, RolloutError, dapo, fromTrl, grpo, poroDapo, poroGrpo, runStep } from '../index.ts';

interface Value {
  readonly solve: (request: GenerateRequest<Value>) => boolean;
}

const prompts = (count: number, solve: Value['solve'], extra: Partial<DriverPrompt<Value>> = {}): DriverPrompt<Value>[] => Array.from({ length: count }, (_, i) => ({ id: `p${i}`, value: { solve }, ...extra }));

/** A sampler that answers "yes" or "no": the reward is whether it said yes. */
const options = (partial: Partial<StepOptions<Value>> & Pick<StepOptions<Value>, 'prompts'>): StepOptions<Value> => ({
  objective: grpo({ numGenerations: 4 }),
  batchSize: 2,
  generate: async (request) => {
    const text = request.prompt.value.solve(request) ? 'yes' : 'no';
    return { tokens: text === 'yes' ? [1, 2, 3] : [4, 5], text, behaviorLogps: text === 'yes' ? [-1, -1, -1] : [-2, -2] };
  },
  score: (rollout) => (rollout.text === 'yes' ? 1 : 0),
  logps: async (rollouts) => rollouts.map((r) => ({ oldLogps: Array.from({ length: r.tokens.length }, () => -1.5), refLogps: Array.from({ length: r.tokens.length }, () => -1.4) })),
  ...partial,
});
const half: Value['solve'] = ({ index }) => index % 2 === 0;

describe('runStep', () => {
  it('runs a whole step, ready for the loss', async () => {
    const { reason, batch, rollouts, metrics } = await runStep(options({ prompts: prompts(2, half) }));
    expect(reason).toBe('complete');
    expect(rollouts).toHaveLength(8);
    expect(Array.from(batch?.offsets ?? [])).toEqual([0, 3, 5, 8, 10, 13, 15, 18, 20]);
    expect(batch?.groupIds).toEqual(['p0', 'p0', 'p0', 'p0', 'p1', 'p1', 'p1', 'p1']);
    expect(batch?.advantages[0]).toBeCloseTo(0.5 / (Math.sqrt(1 / 3) + 1e-4), 12);
    expect(metrics).toMatchObject({ reward: 0.5, 'completions/mean_length': 2.5, 'completions/max_length': 3, 'completions/min_length': 2, 'sampling/generations': 8, 'sampling/groups_dropped': 0 });
    if (batch === undefined) throw new Error('no batch');
    const { loss, dLogp } = grpo({ beta: 0.01 }).loss({ ...batch, logps: batch.oldLogps });
    expect(Number.isFinite(loss)).toBe(true);
    expect(dLogp).toHaveLength(20);
  });
  it('samples twins for PolicyRollout and scores both under the policy-free prompt', async () => {
    const { batch, metrics } = await runStep(options({ objective: poroGrpo({ numGenerations: 2 }), prompts: prompts(2, ({ origin }) => origin === 'policy') }));
    expect(batch?.origin).toEqual(['free', 'free', 'policy', 'policy', 'free', 'free', 'policy', 'policy']);
    expect(metrics).toMatchObject({ frac_groups_rescued: 1, 'rollout/policy_gain': 1 });
    expect(batch?.advantages[0]).toBeLessThan(0);
    expect(batch?.advantages[2]).toBeGreaterThan(0);
  });
  it('replaces groups without a signal, and says why it stopped short', async () => {
    const mixed = [...prompts(3, () => true), ...prompts(2, half).map((p) => ({ ...p, id: `h${p.id}` }))];
    const filled = await runStep(options({ objective: dapo({ numGenerations: 4 }), prompts: mixed }));
    expect(filled.reason).toBe('complete');
    expect(filled.metrics['sampling/groups_dropped']).toBe(3);
    expect(new Set(filled.batch?.groupIds)).toEqual(new Set(['hp0', 'hp1']));
    const short = await runStep(options({ objective: dapo({ numGenerations: 2 }), prompts: [...prompts(1, half), ...prompts(3, () => true).map((p) => ({ ...p, id: `d${p.id}` }))] }));
    expect(short.reason).toBe('prompts-exhausted');
    expect(short.rollouts).toHaveLength(2);
    const endless = (function* () {
      for (let i = 0; ; i++) yield { id: `e${i}`, value: { solve: () => false } };
    })();
    const tired = await runStep(options({ objective: poroDapo({ numGenerations: 1, maxRetries: 3 }), prompts: endless }));
    expect(tired.reason).toBe('retries-exhausted');
    expect(tired.batch).toBeUndefined();
    expect(tired.metrics['sampling/groups_dropped']).toBe(8);
  });
  it('keeps to its concurrency', async () => {
    let running = 0;
    let most = 0;
    const base = options({ prompts: prompts(2, half) });
    await runStep({
      ...base,
      concurrency: 3,
      generate: async (request) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 2));
        running--;
        return base.generate(request);
      },
    });
    expect(most).toBe(3);
  });
  it('returns what is done when it is aborted', async () => {
    const controller = new AbortController();
    const base = options({ prompts: prompts(2, half) });
    const result = await runStep({
      ...base,
      concurrency: 4,
      signal: controller.signal,
      generate: async (request) => {
        if (request.prompt.id === 'p1') {
          controller.abort();
          throw new DOMException('stop', 'AbortError');
        }
        return base.generate(request);
      },
    });
    expect(result.reason).toBe('aborted');
    expect(result.batch).toBeUndefined();
    const before = new AbortController();
    before.abort();
    expect((await runStep({ ...base, signal: before.signal })).reason).toBe('aborted');
  });
  it('stops at its budget', async () => {
    const result = await runStep(options({ prompts: prompts(2, half), maxGenerations: 5, concurrency: 1 }));
    expect(result.reason).toBe('budget-exhausted');
    expect(result.rollouts).toHaveLength(4);
  });
  it('gives each prompt its own number of rollouts', async () => {
    const [a, b] = prompts(2, half);
    const { batch } = await runStep(options({ prompts: [{ ...(a as DriverPrompt<Value>), numGenerations: 2 }, { ...(b as DriverPrompt<Value>), numGenerations: 3 }] }));
    expect(batch?.groupIds).toEqual(['p0', 'p0', 'p1', 'p1', 'p1']);
  });
  it('lets rewards see siblings', async () => {
    const seen: number[] = [];
    await runStep(
      options({
        prompts: prompts(2, half),
        score: (rollout, siblings) => {
          seen.push(siblings.length);
          expect(siblings).not.toContain(rollout);
          return siblings.filter((s) => s.text === 'yes').length;
        },
      }),
    );
    expect(seen).toEqual(Array(8).fill(3));
  });
  it('repairs an unsolved group with the faintest hint that helps, under the plain prompt', async () => {
    const hints: (string | undefined)[] = [];
    const { rollouts } = await runStep(
      options({
        batchSize: 1,
        prompts: prompts(1, ({ hint }) => (hints.push(hint), hint === 'plain'), { hints: ['faint', 'plain', 'plainest'] }),
      }),
    );
    expect(hints).toEqual([undefined, undefined, undefined, undefined, 'faint', 'plain']);
    expect(rollouts[0]).toMatchObject({ hint: 'plain', origin: 'free', text: 'yes' });
    expect(rollouts).toHaveLength(4);
  });
  it('shapes overlong answers after choosing groups, and masks truncated ones', async () => {
    const { batch, rewards } = await runStep(
      options({
        objective: dapo({ numGenerations: 2 }),
        batchSize: 1,
        prompts: prompts(1, half),
        overlong: { maxLength: 4, cache: 2 },
        maskTruncatedCompletions: true,
        generate: async ({ index }) => ({ tokens: index === 0 ? [1, 2, 3] : [1], truncated: index === 0, text: index === 0 ? 'yes' : 'no', mask: index === 0 ? [1, 1, 1] : [1] }),
      }),
    );
    expect(Array.from(rewards['overlong'] ?? [])).toEqual([-0.5, 0]);
    expect(Array.from(batch?.mask ?? [])).toEqual([0, 0, 0, 1]);
    expect(batch?.behaviorLogps).toBeUndefined();
  });
  it('masks truncated answers where the configuration of TRL says so, unless it is told otherwise', async () => {
    const run = (more: Partial<StepOptions<Value>> = {}) =>
      runStep(options({
        objective: fromTrl({ num_generations: 2, mask_truncated_completions: true }),
        batchSize: 1,
        prompts: prompts(1, half),
        generate: async ({ index }) => ({ tokens: [1, 2], truncated: index === 0, text: index === 0 ? 'yes' : 'no' }),
        ...more,
      }));
    expect(Array.from((await run()).batch?.mask ?? [])).toEqual([0, 0, 1, 1]);
    expect(Array.from((await run({ maskTruncatedCompletions: false })).batch?.mask ?? [])).toEqual([1, 1, 1, 1]);
  });
  it('takes named rewards, missing ones too, with weights by position beside the penalty', async () => {
    const { batch, rewards } = await runStep(
      options({
        objective: grpo({ numGenerations: 2, rewardWeights: [2, 1] }),
        batchSize: 1,
        prompts: prompts(1, half),
        overlong: { maxLength: 100, cache: 10 },
        score: (r) => ({ right: r.text === 'yes' ? 1 : 0, style: r.text === 'yes' ? null : 0.5 }),
      }),
    );
    expect(Array.from(rewards['style'] ?? [])).toEqual([NaN, 0.5]);
    expect(batch?.advantages[0]).toBeGreaterThan(0);
  });
  it('refuses what does not fit, and lets errors of callbacks through', async () => {
    const refused = (partial: Partial<StepOptions<Value>>) => expect(runStep(options({ prompts: prompts(2, half), ...partial }))).rejects;
    await refused({ batchSize: 0 }).toThrow(RolloutError);
    await refused({ concurrency: 0 }).toThrow(/concurrency/);
    await refused({ prompts: [...prompts(1, half), ...prompts(1, half)] }).toThrow(/prompts\[\]\.id.*p0/);
    await refused({ prompts: [{ id: '', value: { solve: half } }] }).toThrow(/names no group/);
    await refused({ prompts: prompts(2, half, { numGenerations: 0 }) }).toThrow(/numGenerations/);
    await refused({ logps: async () => [] }).toThrow(/logps\(\)/);
    await refused({ logps: async (rs) => rs.map(() => ({ oldLogps: [-1] })) }).toThrow(/logps\(\)\[0\]\.oldLogps/);
    await refused({ generate: async () => ({ tokens: [1], behaviorLogps: [] }) }).toThrow(/behaviorLogps/);
    await refused({ generate: async () => ({}) as never }).toThrow(/tokens/);
    await refused({ generate: async () => Promise.reject(new Error('engine down')) }).toThrow('engine down');
    await refused({ score: () => NaN }).toThrow(/rewards/);
    for (const score of [undefined, true, 'yes', [1], { right: true }]) await refused({ score: () => score as never }).toThrow(/score\(p0\/free\/0\)/);
    await refused({ score: () => ({ overlong: 1 }), overlong: { maxLength: 4, cache: 2 } }).toThrow(/overlong/);
  });
});
