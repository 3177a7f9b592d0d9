import { grpo, poro, poroGrpo } from '@trimpi/rollout';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainingState, type RlExample, type RlOptions, RlTrainer, type Rollout } from '../src/index.ts';
import { smallModel, withImage } from './small.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

const examples: RlExample[] = Array.from({ length: 4 }, (_, i) => ({ id: `e${i}`, policyFree: withImage([10 + i, 20], i), policyAware: withImage([33, 34, 10 + i, 20], i) }));
/** Rewards tokens below 20: something that a few steps can learn. */
const reward = (rollouts: readonly Rollout[]) => ({ low: rollouts.map((r) => Array.from(r.completion.tokens).filter((t) => t < 20).length / r.completion.tokens.length) });

async function train(options: Partial<RlOptions>, steps = 3) {
  const model = smallModel(engine);
  model.setTrainable('text');
  const trainer = new RlTrainer(model, {
    examples, reward, objective: grpo({ beta: 0 }), promptsPerStep: 2, policyFree: 4, policyAware: 0, maxNewTokens: 6, stopIds: [59], learningRate: 5e-3, steps: 40, seed: 11, ...options,
  });
  const metrics = [];
  for (let i = 0; i < steps; i++) metrics.push(await trainer.next());
  const state = await readTrainingState(model);
  model.dispose();
  return { metrics, state };
}

const bits = (state: ReadonlyMap<string, Float32Array>) => Buffer.concat([...state.values()].map((v) => Buffer.from(v.buffer))).toString('base64');

describe('RL', () => {
  it('GRPO raises the reward it is given', async () => {
    const { metrics } = await train({}, 30);
    const mean = (from: number, to: number) => metrics.slice(from, to).reduce((s, m) => s + m.reward, 0) / (to - from);
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

  it('policy-aware completions are sampled with the policy and trained without it', async () => {
    const seen: Rollout[] = [];
    const { metrics } = await train({ objective: poroGrpo({ beta: 0 }), policyFree: 2, policyAware: 2, onRollouts: (_, r) => seen.push(...r) }, 1);
    expect(seen.map((r) => r.origin)).toEqual(['free', 'free', 'policy', 'policy', 'free', 'free', 'policy', 'policy']);
    expect(metrics[0]!['rewards/low/policy']).toBeGreaterThanOrEqual(0);
    // On-policy rows have old = behaviour log-probabilities; policy-aware rows do not.
    expect(metrics[0]!['num_tokens']).toBeLessThan(2 * (8 + 4 * 6) + 64);
  });

  it('asks for what it needs before any work', async () => {
    await expect(train({ policyAware: 2, examples: [{ id: 'x', policyFree: examples[0]!.policyFree }] })).rejects.toMatchObject({ code: 'invalid-option', argument: 'examples[0].policyAware' });
    await expect(train({ objective: grpo({ beta: 0.04 }) })).rejects.toThrow(/reference model/);
    await expect(train({ policyFree: 0 })).rejects.toThrow(/policyFree/);
  });
});
