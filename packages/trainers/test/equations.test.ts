/**
 * @file Equations 2, 3 and 6 of the paper written out from the model's plain logits, one row at a time and sharing nothing with
 * the trainers: their loss, and their gradient by central differences of it.
 */
import { packBatch, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import { poroGrpo } from '@trimpi/rollout';
import { PhiloxStream, ReferenceEngine } from '@trimpi/runtime';
import { expect, it } from 'vitest';
import { readTrainingState, RlTrainer, type Rollout, SupervisedTrainer, type Trainer } from '../src/index.ts';
import { lowTokens, pairs, smallModel, supervisedRows } from './small.ts';

/** ln p(token | those before it) for every token of a row but the first; of a row and a completion, for the completion's. */
async function logProbabilities(model: VisionLanguageModel, sequence: TokenSequence, completion?: readonly number[]): Promise<number[]> {
  const ids = completion ?? Array.from(sequence.inputIds).slice(1);
  const batch = packBatch(model.config, [{ sequence, ...(completion === undefined ? { predict: Array.from(sequence.inputIds, () => 1) } : { completions: [completion] }) }]);
  expect(Array.from(batch.targets)).toEqual(ids);
  const { logits } = await model.inspect(batch, ['logits']);
  const width = model.config.vocabSize;
  return ids.map((id, i) => {
    const row = logits!.subarray(i * width, (i + 1) * width);
    const most = Math.max(...row);
    return row[id]! - most - Math.log(row.reduce((s, x) => s + Math.exp(x - most), 0));
  });
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const mean = (values: readonly number[]) => sum(values) / values.length;

/**
 * The slope of `loss` at the first weights, along a random direction and along the gradient that the trainer's first step left
 * in AdamW's first moment, against that gradient.
 */
async function checkGradient(trained: VisionLanguageModel, loss: (model: VisionLanguageModel) => Promise<number>): Promise<number> {
  // Unclipped, the first moment of the first step is a tenth of the gradient.
  const gradient = Float64Array.from([...(await readTrainingState(trained))].find(([name]) => name.endsWith('/m'))![1], (m) => 10 * m);
  const norm = Math.sqrt(gradient.reduce((s, g) => s + g * g, 0));
  const random = new PhiloxStream(5);
  for (const direction of [gradient.map((g) => g / norm), gradient.map(() => random.normal() / 30)]) {
    const at = async (h: number) => {
      const model = smallModel(new ReferenceEngine());
      model.text.values.write(Float32Array.from(await model.text.values.read(), (x, i) => x + h * direction[i]!));
      const value = await loss(model);
      model.dispose();
      return value;
    };
    const h = 5e-3;
    const slope = ((await at(h)) - (await at(-h))) / (2 * h);
    expect(Math.abs(slope - gradient.reduce((s, g, i) => s + g * direction[i]!, 0)) / norm).toBeLessThan(2e-3);
  }
  return norm;
}

const options = { learningRate: 1e-6, steps: 1, seed: 3, maxGradNorm: 0 } as const;

async function firstStep(make: (model: VisionLanguageModel) => Trainer) {
  const model = smallModel(new ReferenceEngine());
  model.setTrainable('text');
  return { model, metrics: await make(model).next() };
}

it.each([['equation 2, VM-CPT', 'sequence'], ['equation 6, SFT', 'token']] as const)('%s: loss and gradient', async (_, lossMean) => {
  const rows = supervisedRows(4);
  const loss = async (model: VisionLanguageModel) => {
    const own = await Promise.all(rows.map(async ({ sequence, lossMask }) => (await logProbabilities(model, sequence)).filter((_, i) => lossMask[i + 1] === 1).map((x) => -x)));
    // Rows are of different lengths, so the two means differ.
    return lossMean === 'sequence' ? mean(own.map(mean)) : mean(own.flat());
  };
  const { model, metrics } = await firstStep((m) => new SupervisedTrainer(m, { rows, batchSize: 4, lossMean, ...options }));
  const fresh = smallModel(new ReferenceEngine());
  expect(Math.abs(metrics['loss']! - (await loss(fresh)))).toBeLessThan(1e-6);
  const norm = await checkGradient(model, loss);
  expect(Math.abs(metrics['grad_norm']! / norm - 1)).toBeLessThan(1e-6);
});

it('equation 3, PolicyRollout on GRPO: advantages over both halves, ratios and gradient under the policy-free prompt', async () => {
  const groups = new Map<string, Rollout[]>();
  const { model, metrics } = await firstStep((m) => new RlTrainer(m, {
    examples: pairs(4), reward: lowTokens, objective: poroGrpo({ beta: 0 }), promptsPerStep: 3, policyFree: 4, policyAware: 4, maxNewTokens: 5, stopIds: [59], ...options,
    onRollouts: (_, rollouts) => {
      for (const r of rollouts) groups.set(r.example.id, [...(groups.get(r.example.id) ?? []), r]);
    },
  }));
  expect([...groups.values()].map((own) => own.map((r) => r.origin).join(' '))).toEqual(Array.from({ length: 3 }, () => 'free free free free policy policy policy policy'));
  const rows = [...groups.values()].flatMap((own) => {
    const rewards = lowTokens(own).low;
    const deviation = Math.sqrt(sum(rewards.map((r) => (r - mean(rewards)) ** 2)) / (rewards.length - 1));
    return own.map(({ example, completion }, i) => ({ prompt: example.policyFree, completion: Array.from(completion.tokens), advantage: (rewards[i]! - mean(rewards)) / (deviation + 1e-6) }));
  });
  const scores = (m: VisionLanguageModel) => Promise.all(rows.map(({ prompt, completion }) => logProbabilities(m, prompt, completion)));
  const before = smallModel(new ReferenceEngine());
  const old = await scores(before);
  const loss = async (m: VisionLanguageModel) => {
    const now = await scores(m);
    // Token mean, as EasyR1's.
    return -mean(now.flatMap((row, i) => row.map((logp, t) => {
      const { advantage } = rows[i]!;
      const ratio = Math.exp(logp - old[i]![t]!);
      return Math.min(ratio * advantage, Math.min(Math.max(ratio, 0.8), 1.3) * advantage);
    })));
  };
  expect(Math.abs(metrics['loss']! - (await loss(before)))).toBeLessThan(1e-6);
  const norm = await checkGradient(model, loss);
  expect(norm).toBeGreaterThan(0.1);
  expect(Math.abs(metrics['grad_norm']! / norm - 1)).toBeLessThan(1e-6);
});
