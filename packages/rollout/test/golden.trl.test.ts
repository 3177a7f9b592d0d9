/** @file Mixed options of TRL, with the numbers its own loss gives for them: value, gradient and metrics. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromTrl } from '../src/index.ts';
import { largestDifference } from './golden.ts';

interface Trl {
  batches: Record<string, Record<'logp' | 'old' | 'ref' | 'samp' | 'ent' | 'mask' | 'adv', number[]>>;
  cases: { params: { use_vllm?: boolean }; batch: string; loss: number; grad: number[]; metrics: Record<string, number | null> }[];
}

const { batches, cases } = JSON.parse(readFileSync(new URL('./fixtures/trl.json', import.meta.url), 'utf8')) as Trl;

describe("fromTrl gives the numbers of TRL's own loss", () => {
  it.each(cases.map((one) => [`${one.batch} ${JSON.stringify(one.params)}`, one] as const))('%s', (_, { params, batch, loss, grad, metrics }) => {
    const { logp, old, ref, samp, ent, mask, adv } = batches[batch] as Trl['batches'][string];
    // Without vLLM, TRL has no log-probabilities of the sampler.
    const result = fromTrl({ max_completion_length: 7, ...params }).loss({ logps: logp, oldLogps: old, refLogps: ref, behaviorLogps: params.use_vllm === true ? samp : undefined, entropy: ent, advantages: adv, mask, shape: [4, 5] });
    expect(Math.abs(result.loss - loss)).toBeLessThanOrEqual(1e-9);
    expect(largestDifference(result.dLogp, grad)).toBeLessThanOrEqual(1e-9);
    // TRL counts in float32, and NaN (null) where a batch has no such row.
    for (const [name, value] of Object.entries(metrics)) if (value !== null) expect(Math.abs((result.metrics[name] ?? NaN) - value), name).toBeLessThanOrEqual(1e-7);
  });
});
