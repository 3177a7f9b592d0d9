import { createHash } from 'node:crypto';
import { loraConfig } from '@trimpi/model';
import { type AdaptiveKlState, bapo, dapo, dro, entropyMask, grpo, importanceWeights, klCov, type LossInput, type Objective, objective, offPolicySequenceMask, poro, poroDapo, poroGrpo, sequenceMean, updateAdaptiveKl } from '@trimpi/rollout';
import { openDevice, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainingState, type RlOptions, RlTrainer, type Rollout, type StatefulObjective, SupervisedTrainer, writeTrainingState } from '../src/index.ts';
import { overUpdates } from '../src/rl/metrics.ts';
import { lowTokens, pairs, smallModel, supervisedRows } from './small.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const examples = pairs(4);

async function train(options: Partial<RlOptions>, steps = 3) {
  const model = smallModel(engine);
  model.setTrainable('text');
  const trainer = new RlTrainer(model, {
    examples, reward: lowTokens, objective: grpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 6, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11, ...options,
  });
  const metrics = [];
  for (let i = 0; i < steps; i++) metrics.push(await trainer.next());
  const state = await readTrainingState(model);
  model.dispose();
  return { metrics, state, at: trainer.state() };
}

const bits = (state: ReadonlyMap<string, Float32Array | Float64Array>) => [...state.values()].reduce((h, v) => h.update(v), createHash('sha256')).digest('hex');

describe('RL', () => {
  it('GRPO raises the reward it is given', async () => {
    const { metrics } = await train({}, 30);
    const mean = (from: number, to: number) => metrics.slice(from, to).reduce((s, m) => s + m.reward!, 0) / (to - from);
    expect(mean(25, 30)).toBeGreaterThan(mean(0, 5) + 0.2);
  });

  it('the same seed gives the same weights; another seed gives others', async () => {
    const a = await train({});
    expect(bits((await train({})).state)).toBe(bits(a.state));
    expect(bits((await train({ seed: 12 })).state)).not.toBe(bits(a.state));
  });

  it('PolicyRollout without policy-aware completions is GRPO, bit for bit', async () => {
    const settings = { epsilon: 0.2, epsilonHigh: 0.3, beta: 0 };
    const plain = await train({ objective: grpo(settings) });
    const twin = await train({ objective: poro(grpo(settings)), policyAware: 0 });
    expect(bits(twin.state)).toBe(bits(plain.state));
  });

  it('PolicyRollout whose policy says nothing is GRPO with twice the rollouts, bit for bit', async () => {
    const settings = { epsilon: 0.2, epsilonHigh: 0.3, beta: 0 };
    const silent = examples.map((e) => ({ ...e, policyAware: e.policyFree }));
    const twin = await train({ examples: silent, objective: poro(grpo(settings)), policyFree: 4, policyAware: 4 });
    const plain = await train({ examples: silent, objective: grpo(settings), policyFree: 8 });
    expect(bits(twin.state)).toBe(bits(plain.state));
  });

  it.each([['GRPO', grpo({ beta: 0 }), 0], ['PoRo-DAPO', poroDapo(), 4]] as const)('%s: without scores from before the update the gradient, the loss and the metrics are the same', async (_, plain, policyAware) => {
    const steps = async (chosen: Objective) => {
      const model = smallModel(new ReferenceEngine());
      model.setTrainable('text');
      let scored = 0;
      const score = model.score.bind(model);
      model.score = (...args) => (scored++, score(...args));
      const trainer = new RlTrainer(model, { examples, reward: lowTokens, objective: chosen, promptsPerStep: 2, policyFree: 4, policyAware, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11 });
      const metrics = [await trainer.next(), await trainer.next(), await trainer.next()];
      model.dispose();
      return { scored, metrics: metrics.map((m) => Object.fromEntries(Object.entries(m).filter(([name]) => !name.startsWith('time/')))) };
    };
    const folded = await steps(plain);
    // A gradient of entropies, though it is zero, has to be computed from scores.
    const rescored = await steps({
      ...plain,
      loss: (...args) => {
        const result = plain.loss(...args);
        return { ...result, dEntropy: new Float64Array(result.dLogp.length) };
      },
    });
    expect([folded.scored, rescored.scored]).toEqual([0, 3]);
    expect(folded.metrics.some((m) => m['grad_norm']! > 0)).toBe(true);
    for (const [i, m] of folded.metrics.entries()) for (const [name, value] of Object.entries(m)) expect(value, `${name} of step ${i + 1}`).toBeCloseTo(rescored.metrics[i]![name]!, 9);
  });

  it.each([
    ['importance weights that all saturate', objective({ ...poroGrpo({ beta: 0 }).parts, modifiers: [importanceWeights({ level: 'token', mode: 'truncate', max: 1 })] })],
    ['off-policy weights that saturate', poroGrpo({ beta: 0, offPolicyWeight: { max: 1 } })],
    ['a mask of whole sequences', objective({ ...poroGrpo({ beta: 0 }).parts, modifiers: [offPolicySequenceMask(0.02)] })],
  ])('%s: the gradient is that of scores under the policy-free prompt', async (_, chosen) => {
    const steps = async (own: Objective) => {
      const model = smallModel(new ReferenceEngine());
      model.setTrainable('text');
      const trainer = new RlTrainer(model, { examples, reward: lowTokens, objective: own, promptsPerStep: 2, policyFree: 4, policyAware: 4, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11, maxGradNorm: 0 });
      const norms = [(await trainer.next())['grad_norm']!, (await trainer.next())['grad_norm']!];
      model.dispose();
      return norms;
    };
    const rescored = await steps({ ...chosen, loss: (...args) => ({ dEntropy: new Float64Array(args[0].logps.length), ...chosen.loss(...args) }) });
    const plain = await steps(poroGrpo({ beta: 0 }));
    for (const [i, norm] of (await steps(chosen)).entries()) {
      expect(norm).toBeCloseTo(rescored[i]!, 9);
      // They change something: the plain objective's gradient is another.
      expect(Math.abs(norm / plain[i]! - 1)).toBeGreaterThan(0.01);
    }
  });

  it('policy-aware completions are sampled with the policy and trained without it', async () => {
    const seen: Rollout[] = [];
    const { metrics } = await train({ objective: poroGrpo({ beta: 0 }), policyFree: 2, policyAware: 2, onRollouts: (_, r) => seen.push(...r) }, 1);
    expect(seen.map((r) => r.origin)).toEqual(['free', 'free', 'policy', 'policy', 'free', 'free', 'policy', 'policy']);
    expect(metrics[0]!['rewards/low/policy']).toBeGreaterThanOrEqual(0);
    // Policy-free rows have old = behaviour log-probabilities (to rounding); policy-aware rows do not.
    expect(metrics[0]!['sampling/sampling_logp_difference/max']).toBeLessThan(1e-4);
    expect(Math.abs(metrics[0]!['policy_gap/kl']!)).toBeGreaterThan(1e-3);
    expect(metrics[0]!.trained_tokens).toBeLessThan(2 * (8 + 4 * 6) + 64);
    expect(metrics[0]!.num_tokens).toBe(metrics[0]!.trained_tokens + metrics[0]!.sampled_tokens);
  });

  it('asks for what it needs before any work', async () => {
    await expect(train({ policyAware: 4, examples: [{ id: 'x', policyFree: examples[0]!.policyFree }] })).rejects.toMatchObject({ code: 'invalid-option', argument: 'examples[0].policyAware' });
    await expect(train({ objective: grpo({ beta: 0.04 }) })).rejects.toThrow(/reference model/);
    await expect(train({ policyFree: 0 })).rejects.toThrow(/policyFree/);
    await expect(train({ policyAware: 2 })).rejects.toMatchObject({ code: 'invalid-option', argument: 'policyAware' });
    await expect(train({ maxTokens: 0 })).rejects.toMatchObject({ argument: 'maxTokens' });
    await expect(train({ temperature: 0 })).rejects.toMatchObject({ code: 'invalid-option', argument: 'temperature' });
    await expect(train({ reward: () => ({ short: [1] }) })).rejects.toMatchObject({ argument: 'reward().short' });
  });

  it.each([
    ['reward()', () => undefined],
    ['reward()', () => ({})],
    ['reward()', (r) => r.map(() => 1)],
    ['reward().acc', () => ({ acc: 1 })],
    ['reward().acc[0]', (r) => ({ acc: r.map(() => undefined) })],
    ['reward().acc[3]', (r) => ({ ok: r.map(() => null), acc: r.map((_, i) => (i === 3 ? NaN : 1)) })],
    ['reward().acc[1]', (r) => ({ acc: r.map((_, i) => (i === 1 ? '1' : 1)) })],
    ['reward().acc[2]', async (r) => ({ acc: r.map((_, i) => (i === 2 ? Infinity : 1)) })],
  ] as readonly (readonly [string, (rollouts: readonly Rollout[]) => unknown])[])('refuses a reward that is none: %s of %s', async (argument, reward) => {
    await expect(train({ reward: reward as RlOptions['reward'] })).rejects.toMatchObject({ code: 'invalid-option', argument });
  });

  it('a KL penalty that begins later needs its reference then', async () => {
    const objective: StatefulObjective<number> = { initial: 0, at: (beta) => grpo({ beta }), next: (beta) => beta + 0.01 };
    await expect(train({ objective: objective as StatefulObjective }, 2)).rejects.toMatchObject({ code: 'invalid-option', argument: 'objective', message: expect.stringContaining('reference model') });
  });
});

/** An objective, and the batches that it is asked about. */
function watched(inner: Objective): { readonly objective: Objective; readonly asked: LossInput[]; readonly gradients: Float64Array[] } {
  const asked: LossInput[] = [];
  const gradients: Float64Array[] = [];
  return {
    asked, gradients,
    objective: {
      ...inner,
      loss(input) {
        const result = inner.loss(input);
        asked.push(input);
        gradients.push(result.dLogp.slice());
        return result;
      },
    },
  };
}

describe('rows without an advantage', () => {
  // Every other prompt's completions are all worth the same.
  const reward = (rollouts: readonly Rollout[]) => ({ low: rollouts.map((r, i) => (r.example.id === 'e0' || r.example.id === 'e2' ? 1 : lowTokens(rollouts).low[i]!)) });
  const dead = { reward, promptsPerStep: 4 };
  const rowsOf = ({ asked }: { readonly asked: readonly LossInput[] }) => asked.map((input) => input.offsets!.length - 1);

  it('are left out where nothing looks at them, and count in the divisors', async () => {
    const plain = watched(grpo({ beta: 0 }));
    let alive = NaN;
    await train({ ...dead, objective: plain.objective, onRollouts: (_, __, ___, advantages) => (alive = Array.from(advantages).filter((a) => a !== 0).length) }, 1);
    expect(alive).toBeGreaterThan(4);
    expect(alive).toBeLessThanOrEqual(8);
    expect(new Set(rowsOf(plain))).toEqual(new Set([alive]));
    expect(plain.asked[0]).toMatchObject({ globalBatchSize: 16 });
  });

  it.each(Object.entries({
    'a quantile over the batch': { modifiers: [entropyMask(0.5)] },
    'weights normalised over the batch': { modifiers: [importanceWeights({ batchNormalize: true })] },
    'statistics of the whole batch': { surrogate: klCov() },
    'a clip range that follows the batch': { surrogate: bapo() },
  }))('are there for what looks at the whole batch: %s', async (_, parts) => {
    const whole = watched(objective({ ...grpo({ beta: 0 }).parts, ...parts }));
    await train({ ...dead, objective: whole.objective }, 1);
    expect(rowsOf(whole).every((n) => n === 16)).toBe(true);
    expect(whole.asked.length).toBeGreaterThan(0);
    expect(whole.asked[0]!.globalBatchSize).toBeUndefined();
  });

  it('keep the gradient that a surrogate gives them', async () => {
    const quadratic = watched(objective({ ...grpo({ beta: 0 }).parts, surrogate: dro(0.5) }));
    await train({ ...dead, objective: quadratic.objective, numIterations: 2 }, 1);
    const last = quadratic.asked.at(-1)!;
    const [advantages, offsets] = [Array.from(last.advantages as ArrayLike<number>), last.offsets!];
    const pull = (i: number) => Math.max(...quadratic.gradients.at(-1)!.subarray(offsets[i], offsets[i + 1]).map(Math.abs));
    const silent = [...advantages.keys()].filter((i) => advantages[i] === 0);
    expect(silent.length).toBeGreaterThanOrEqual(8);
    for (const i of silent) expect(pull(i), `row ${i}`).toBeGreaterThan(0);
  });

  it.each(['all', 'non-empty'] as const)('a mean over %s rows is over those, with answers masked whole', async (over) => {
    let want = NaN;
    const { metrics } = await train({
      objective: objective({ ...grpo({ beta: 0 }).parts, aggregation: sequenceMean({ over }) }), maskTruncatedCompletions: true, stopIds: Array.from({ length: 6 }, (_, i) => 10 * i),
      onRollouts: (_, rollouts, __, advantages) => {
        // On policy a row's token mean is -A.
        const whole = rollouts.map((r) => r.completion.finish === 'stop');
        const rows = over === 'all' ? rollouts.length : whole.filter(Boolean).length;
        expect(whole.filter(Boolean).length).toBeLessThan(rollouts.length);
        want = -Array.from(advantages).reduce((sum, a, i) => sum + (whole[i] ? a : 0), 0) / rows;
      },
    }, 1);
    expect(Math.abs(want)).toBeGreaterThan(1e-3);
    expect(metrics[0]!.loss).toBeCloseTo(want, 12);
  });
});

const moments = (state: ReadonlyMap<string, Float32Array | Float64Array>) => [...state].filter(([name]) => name.endsWith('/m')).flatMap(([, v]) => Array.from(v));

describe('a step of RL', () => {
  it('micro-batches under a token budget give the gradient of one batch, also where the objective looks at the whole batch', async () => {
    const options = { objective: poroGrpo({ beta: 0 }), policyAware: 4, maxGradNorm: 0 };
    const whole = await train(options, 1);
    const largest = Math.max(...moments(whole.state).map(Math.abs));
    expect(largest).toBeGreaterThan(0);
    // 1: every rollout alone (the prompt repeated); 30: groups in pieces; 90: a group each.
    for (const maxTokens of [1, 30, 90]) {
      const parts = await train({ ...options, maxTokens }, 1);
      expect(parts.metrics[0]!.loss).toBeCloseTo(whole.metrics[0]!.loss, 6);
      const own = moments(parts.state);
      expect(Math.max(...moments(whole.state).map((x, i) => Math.abs(x - own[i]!))) / largest).toBeLessThan(2e-5);
    }
  });

  it('a reward that takes its time gives the same weights', async () => {
    const slow = (rollouts: readonly Rollout[]) => new Promise<{ low: number[] }>((resolve) => setTimeout(() => resolve(lowTokens(rollouts)), 5));
    expect(bits((await train({ reward: slow })).state)).toBe(bits((await train({})).state));
  });

  it('truncated answers can be taken out of the loss, and long ones be punished', async () => {
    const none = await train({ maskTruncatedCompletions: true, stopIds: [64] }, 1);
    expect(none.metrics[0]).toMatchObject({ 'completions/clipped_ratio': 1, trained_tokens: 0, loss: 0 });
    expect(none.at.updates).toBe(0);
    const some = await train({ maskTruncatedCompletions: true, stopIds: Array.from({ length: 6 }, (_, i) => 10 * i) }, 1);
    expect(some.metrics[0]!['completions/clipped_ratio']).toBeGreaterThan(0);
    expect(some.metrics[0]!.trained_tokens).toBeGreaterThan(0);
    expect(some.metrics[0]!['completions/max_terminated_length']).toBeLessThanOrEqual(6);
    expect(none.metrics[0]).not.toHaveProperty(['completions/mean_terminated_length']);
    const { metrics } = await train({ overlong: { maxLength: 6, cache: 2 }, stopIds: [64] }, 1);
    expect(metrics[0]!['rewards/overlong/mean']).toBe(-1);
  });

  it('reports the weighted reward, and each reward as it is', async () => {
    const two = (rollouts: readonly Rollout[]) => ({ low: lowTokens(rollouts).low, half: rollouts.map((_, i) => (i % 2 === 0 ? 0.5 : null)) });
    const m = (await train({ reward: two, policyAware: 4, objective: poroGrpo({ beta: 0, rewardWeights: { low: 0.9, half: 0.2 } }) }, 1)).metrics[0]!;
    expect(m['rewards/half/mean']).toBe(0.5);
    expect(m.reward).toBeCloseTo(0.9 * m['rewards/low/mean']! + 0.2 * 0.25, 12);
    expect(m.reward).toBeCloseTo((m['reward/free']! + m['reward/policy']!) / 2, 12);
    expect(m.sampled_reward).toBeCloseTo(m.reward!, 12);
    expect(m['rollout/policy_gain']).toBeCloseTo(m['reward/policy']! - m['reward/free']!, 12);
    const positional = (await train({ reward: two, policyAware: 4, objective: poroGrpo({ beta: 0, rewardWeights: [0.9, 0.2] }) }, 1)).metrics[0]!;
    expect(positional.reward).toBe(m.reward);
    expect(m['reward_std']).toBeGreaterThan(0);
  });

  it('loss, gradient norm and clipped tokens of a step are of all its updates, not of the first alone', async () => {
    const epsilon = 1e-3;
    const spy = watched(grpo({ beta: 0, epsilon, epsilonHigh: epsilon }));
    const losses: number[] = [];
    const loss = spy.objective.loss.bind(spy.objective);
    const m = (await train({ objective: { ...spy.objective, loss: (input) => { const result = loss(input); losses.push(result.loss); return result; } }, promptsPerUpdate: 1, numIterations: 2, maxGradNorm: 0 }, 1)).metrics[0]!;
    const clipped = spy.asked.map(({ logps, oldLogps, advantages, offsets }) => {
      const shares = Array.from({ length: offsets!.length - 1 }, (_, row) => {
        const tokens = Array.from({ length: offsets![row + 1]! - offsets![row]! }, (__, t) => offsets![row]! + t);
        const [a, ratios] = [(advantages as ArrayLike<number>)[row]!, tokens.map((i) => Math.exp(logps[i]! - oldLogps![i]!))];
        const [low, high] = [ratios.filter((r) => a < 0 && r < 1 - epsilon).length, ratios.filter((r) => a > 0 && r > 1 + epsilon).length];
        return { tokens: tokens.length, low, high };
      });
      const tokens = shares.reduce((n, s) => n + s.tokens, 0);
      return {
        region: shares.reduce((n, s) => n + s.low + s.high, 0) / tokens,
        lowMin: Math.min(...shares.map((s) => s.low / s.tokens)), highMax: Math.max(...shares.map((s) => s.high / s.tokens)),
      };
    });
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(clipped).toHaveLength(4);
    expect(clipped[0]!.region).toBe(0);
    expect(mean(clipped.map((c) => c.region))).toBeGreaterThan(0.01);
    expect(m['clip_ratio/region_mean']).toBeCloseTo(mean(clipped.map((c) => c.region)), 12);
    expect(m['clip_ratio/low_min']).toBe(Math.min(...clipped.map((c) => c.lowMin)));
    expect(m['clip_ratio/high_max']).toBeCloseTo(Math.max(...clipped.map((c) => c.highMax)), 12);
    expect(m.loss).toBeCloseTo(mean(losses), 12);
    // Sampler and trainer are compared before the first update.
    expect(m['sampling/sampling_logp_difference/max']).toBeLessThan(1e-4);
  });

  it('metrics over updates are means, least and greatest', () => {
    expect(overUpdates([{ loss: 1, 'clip_ratio/low_min': 0.5, 'x_max/policy': 1 }, { loss: 3, 'clip_ratio/low_min': 0.25, 'x_max/policy': 4, kl: 2 }])).toEqual({ loss: 2, 'clip_ratio/low_min': 0.25, 'x_max/policy': 4, kl: 2 });
    expect(overUpdates([])).toEqual({});
  });

  it('says where its time went', async () => {
    const { metrics } = await train({}, 1);
    const m = metrics[0]!;
    for (const part of ['generation', 'reward', 'rescoring', 'update', 'outside_gpu']) expect(m[`time/${part}`], part).toBeGreaterThanOrEqual(0);
    const parts = ['generation', 'reward', 'rescoring', 'update'].reduce((s, p) => s + m[`time/${p}`]!, 0);
    expect(parts).toBeLessThanOrEqual(m['time/step']!);
    expect(parts).toBeGreaterThan(0.9 * m['time/step']!);
  });

  it('log-probabilities that are not finite are skipped or thrown, and no weight changes', async () => {
    const model = smallModel(engine);
    model.setTrainable('text');
    const make = (onNonFinite: 'skip' | 'throw') => new RlTrainer(model, { examples, reward: lowTokens, objective: grpo(), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 6, stopIds: [64], learningRate: 5e-3, steps: 4, seed: 11, onNonFinite });
    model.text.writeRows('norm', 0, Float32Array.of(3e38, 3e38));
    const before = Float32Array.from(await model.text.values.read());
    await expect(make('throw').next()).rejects.toMatchObject({ code: 'diverged' });
    const skipping = make('skip');
    expect(await skipping.next()).toMatchObject({ step: 1, skipped_updates: 1 });
    expect(skipping.state().updates).toBe(0);
    expect(Float32Array.from(await model.text.values.read())).toEqual(before);
    model.dispose();
  });

  it.each(['adapter', 'all parameters'] as const)('a generator in four bits samples what the trainer corrects for by importance weights: %s', async (trained) => {
    const own = new ReferenceEngine();
    const [model, generator] = [smallModel(own), smallModel(own, 7, { quantise: { bits: 4, blockSize: 16 } })];
    for (const m of [model, generator]) if (trained === 'adapter') m.addAdapter('a', loraConfig({ r: 4, targetModules: ['q_proj', 'v_proj'] }), m === model ? 1 : 9);
    if (trained === 'adapter') await generator.copyFrom(model);
    model.setTrainable(trained === 'adapter' ? { adapter: 'a' } : 'text');
    const most = 1.02;
    const weighted = objective({ ...grpo({ beta: 0 }).parts, modifiers: [importanceWeights({ level: 'token', mode: 'truncate', max: most })] });
    const plain = grpo({ beta: 0 });
    const seen: { readonly weights: number[]; readonly apart: number }[] = [];
    const spy: Objective = {
      ...weighted,
      loss: (input) => {
        const result = weighted.loss(input);
        const before = plain.loss(input).dLogp;
        const weights = Array.from(input.oldLogps!, (old, i) => Math.min(most, Math.exp(old - input.behaviorLogps![i]!)));
        // On the policy every ratio is 1: the gradient is the plain one times the weight, token by token.
        result.dLogp.forEach((d, i) => expect(d).toBeCloseTo(before[i]! * weights[i]!, 12));
        seen.push({ weights, apart: Math.max(...Array.from(input.oldLogps!, (old, i) => Math.abs(old - input.behaviorLogps![i]!))) });
        return result;
      },
    };
    const trainer = new RlTrainer(model, { ...(trained === 'adapter' ? { adapter: 'a' } : {}), generator, examples, reward: lowTokens, objective: spy, promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11 });
    for (let step = 1; step <= 2; step++) {
      const m = await trainer.next();
      expect(m['sampling/sampling_logp_difference/max']).toBeGreaterThan(1e-3);
      expect(m['sampling/sampling_logp_difference/max']).toBeLessThan(1);
      expect(m['grad_norm']).toBeGreaterThan(0);
    }
    expect(seen).toHaveLength(2);
    for (const { weights, apart } of seen) {
      expect(apart).toBeGreaterThan(1e-3);
      expect(weights.some((w) => w === most)).toBe(true);
      expect(weights.some((w) => w < 1)).toBe(true);
    }
    for (const m of [model, generator]) m.dispose();
  });

  it('a generator with the weights that are trained changes nothing; one without the adapter is refused', async () => {
    const steps = async (withGenerator: boolean) => {
      const [model, generator] = [smallModel(engine), smallModel(engine, 5)];
      model.setTrainable('text');
      const trainer = new RlTrainer(model, { ...(withGenerator ? { generator } : {}), examples, reward: lowTokens, objective: grpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11 });
      for (let i = 0; i < 3; i++) await trainer.next();
      const state = bits(await readTrainingState(model));
      for (const m of [model, generator]) m.dispose();
      return state;
    };
    expect(await steps(true)).toBe(await steps(false));
    const model = smallModel(engine);
    model.addAdapter('a', loraConfig({ r: 2 }), 1);
    expect(() => new RlTrainer(model, { adapter: 'a', generator: smallModel(engine), examples, reward: lowTokens, objective: grpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 5, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11 })).toThrow(/generator/);
  });

  it.each(['SFT', 'RL'] as const)('%s takes the same steps with activation checkpointing', async (kind) => {
    const steps = async (checkpointing: boolean) => {
      const model = smallModel(engine, 1, { checkpointing });
      model.setTrainable('text');
      const common = { learningRate: 5e-3, steps: 40, seed: 11 };
      const trainer = kind === 'SFT'
        ? new SupervisedTrainer(model, { rows: supervisedRows(4), batchSize: 2, lossMean: 'token', ...common })
        : new RlTrainer(model, { examples, reward: lowTokens, objective: poroGrpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 4, maxNewTokens: 5, stopIds: [59], ...common });
      const out = [];
      const { dispatches } = engine.counters;
      for (let i = 0; i < 3; i++) {
        const m = await trainer.next();
        out.push([m.loss, m['grad_norm']!]);
      }
      model.dispose();
      return { steps: out, dispatches: engine.counters.dispatches - dispatches };
    };
    const [plain, checkpointed] = [await steps(false), await steps(true)];
    // Layers are computed again.
    expect(checkpointed.dispatches).toBeGreaterThan(plain.dispatches);
    plain.steps.forEach(([loss, norm], i) => {
      expect(checkpointed.steps[i]![0]).toBeCloseTo(loss!, 5);
      expect(checkpointed.steps[i]![1]! / norm!).toBeCloseTo(1, 4);
    });
  });
});

describe('dynamic sampling', () => {
  /** No signal for the prompts of the first two examples. */
  const halfDead = (rollouts: readonly Rollout[]) => ({ low: rollouts.map((r, i) => (r.example.id < 'e2' ? 1 : lowTokens([r]).low[0]! + (i % 2) * 1e-3)) });

  it.each([['DAPO', dapo(), 0], ['PoRo-DAPO', poroDapo(), 4]] as const)('%s fills the batch with groups that have an advantage', async (_, objective, policyAware) => {
    const { metrics, at } = await train({ objective, policyAware, reward: halfDead, promptsPerStep: 2 }, 4);
    for (const m of metrics) expect(m).toMatchObject({ 'sampling/groups': 2, 'sampling/complete': 1 });
    const dropped = metrics.reduce((s, m) => s + m['sampling/groups_dropped']!, 0);
    expect(dropped).toBeGreaterThan(0);
    // Data goes on behind the prompts that were replaced.
    expect(at.position).toBe(4 * 2 + dropped);
    expect(metrics.reduce((s, m) => s + m.sampled_rollouts, 0)).toBe(at.position * (4 + policyAware));
    const stepWithDrops = metrics.find((m) => m['sampling/groups_dropped']! > 0)!;
    expect(stepWithDrops.frac_groups_with_advantage).toBe(2 / (2 + stepWithDrops['sampling/groups_dropped']!));
    // Dropped groups had reward 1: what was sampled is better than what is learnt from.
    expect(stepWithDrops['sampled_rewards/low/free']).toBeGreaterThan(stepWithDrops['rewards/low/free']!);
    const kept = stepWithDrops['sampling/groups']!;
    expect(stepWithDrops.sampled_reward).toBeCloseTo((kept * stepWithDrops.reward! + stepWithDrops['sampling/groups_dropped']! * 1) / (kept + stepWithDrops['sampling/groups_dropped']!), 12);
  });

  it('gives up after twenty retries without changing a weight', async () => {
    const { metrics, at, state } = await train({ objective: dapo(), policyFree: 2, maxNewTokens: 1, promptsPerStep: 1, reward: (r) => ({ same: r.map(() => 1) }) }, 1);
    expect(metrics[0]).toMatchObject({ 'sampling/groups': 0, 'sampling/complete': 0, loss: 0, frac_groups_with_advantage: 0, 'sampled_rewards/same/free': 1, sampled_reward: 1 });
    // Every answer was right: the mean of those kept, of which there are none, is not 0.
    for (const name of ['reward', 'entropy']) expect(metrics[0]).not.toHaveProperty([name]);
    expect(at).toMatchObject({ step: 1, position: 21, updates: 0 });
    expect(moments(state).every((x) => x === 0)).toBe(true);
  });

  it('ends when the prompts that it may sample are used up', async () => {
    const model = smallModel(engine);
    model.setTrainable('text');
    const trainer = new RlTrainer(model, { examples, reward: halfDead, objective: dapo(), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 4, stopIds: [59], learningRate: 5e-3, steps: 4, maxPrompts: 8, lrSchedulerType: 'linear', seed: 11 });
    const rates: number[] = [];
    let rollouts = 0;
    while (!trainer.finished) {
      const m = await trainer.next();
      rates.push(m['learning_rate']!);
      rollouts += m.sampled_rollouts;
    }
    expect(rollouts).toBe(8 * 4);
    expect(trainer.step).toBeLessThanOrEqual(4);
    expect([...rates].sort((a, b) => b - a)).toEqual(rates);
    model.dispose();
  });
});

describe('an objective with a state', () => {
  const adaptive: StatefulObjective<AdaptiveKlState> = {
    initial: { coefficient: 0.05 },
    at: ({ coefficient }) => grpo({ beta: coefficient }),
    next: (state, metrics) => updateAdaptiveKl(state, metrics['kl'] ?? 0, 8, { target: 0.01, horizon: 100 }),
  };
  const make = () => {
    const model = smallModel(engine);
    model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8 }), 7);
    model.setTrainable({ adapter: 'a' });
    return { model, trainer: new RlTrainer(model, { examples, reward: lowTokens, objective: adaptive, promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 4, stopIds: [59], learningRate: 1e-2, steps: 6, seed: 2, adapter: 'a' }) };
  };

  it('an adapter with dropout is refused', () => {
    const model = smallModel(engine);
    model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8, loraDropout: 0.1 }), 7);
    expect(() => new RlTrainer(model, { examples, reward: lowTokens, objective: grpo(), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 4, stopIds: [59], learningRate: 1e-2, steps: 6, seed: 2, adapter: 'a' })).toThrow(/loraDropout/);
    model.dispose();
  });

  it('moves with the metrics and is part of the state that a resumed trainer goes on from', async () => {
    const straight = make();
    for (let i = 0; i < 4; i++) await straight.trainer.next();
    const before = make();
    for (let i = 0; i < 2; i++) await before.trainer.next();
    const at = before.trainer.state();
    expect((at.objective as AdaptiveKlState).coefficient).not.toBe(0.05);
    const after = make();
    writeTrainingState(after.model, await readTrainingState(before.model));
    after.trainer.restore(JSON.parse(JSON.stringify(at)) as typeof at);
    for (let i = 0; i < 2; i++) await after.trainer.next();
    expect(after.trainer.state()).toEqual(straight.trainer.state());
    expect(bits(await readTrainingState(after.model))).toBe(bits(await readTrainingState(straight.model)));
    expect(() => after.trainer.restore({ ...at, seed: 3 })).toThrow(/seed/);
    expect(() => after.trainer.restore({ ...at, position: -1 })).toThrow(/position/);
    for (const { model } of [straight, before, after]) model.dispose();
  });
});
