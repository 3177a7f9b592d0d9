/** @file The programs of docs/rollout.md, run. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as tfjs from '@tensorflow/tfjs-core';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { grpo, gspo, poroGrpo, runStep } from '../src/index.ts';
import { logSoftmax, trainByHand } from './examples/handWritten.ts';
import { type ChatPrompt, openAiSampler } from './examples/openAi.ts';
import { asOperation } from './examples/tensorflow.ts';

/** TensorFlow.js as a bundler gives it: one copy of the core, with its gradients and the CPU backend. */
async function loadTensorFlow(): Promise<typeof tfjs> {
  const contents = `import '@tensorflow/tfjs-core/dist/register_all_gradients'; import '@tensorflow/tfjs-backend-cpu'; export * from '@tensorflow/tfjs-core';`;
  const { outputFiles } = await build({ stdin: { contents, resolveDir: dirname(fileURLToPath(import.meta.url)) }, bundle: true, format: 'cjs', platform: 'node', mainFields: ['module', 'main'], write: false, logLevel: 'error' });
  const folder = mkdtempSync(join(tmpdir(), 'rollout-tf-'));
  const file = join(folder, 'tf.cjs');
  writeFileSync(file, (outputFiles[0] as { text: string }).text);
  try {
    return createRequire(import.meta.url)(file) as typeof tfjs;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
const tf = await loadTensorFlow();

describe('a hand-written loop', () => {
  it('learns the rewarded answer', () => {
    expect(trainByHand(0)).toBeCloseTo(1 / 3, 12);
    expect(trainByHand(60)).toBeGreaterThan(0.9);
  });
});

describe('TensorFlow.js autograd', () => {
  it.each([['grpo', grpo({ beta: 0.1 })], ['gspo', gspo({ epsilon: 0.2, epsilonHigh: 0.3 })]])('differentiates a model through %s', async (_, objective) => {
    const columns = 3;
    const vocabulary = 4;
    const tokens = [0, 1, 2, 3, 1, 0];
    const weights = Array.from({ length: 6 * vocabulary }, (_, k) => Math.sin(k));
    const oldLogps = tokens.map(() => -1.3);
    const rest = { oldLogps, refLogps: tokens.map(() => -1.5), advantages: [1, -0.5], mask: [1, 1, 1, 1, 1, 0], shape: [2, columns] as [number, number] };
    const operation = asOperation(tf, objective, rest);
    const model = (w: tfjs.Tensor): tfjs.Tensor => tf.sum(tf.mul(tf.logSoftmax(tf.reshape(w, [6, vocabulary])), tf.oneHot(tf.tensor1d(tokens, 'int32'), vocabulary)), 1);
    const gradient = tf.grad((w) => operation(model(w)))(tf.tensor1d(weights));
    // By hand, in float64: d logp / d logits = onehot − softmax.
    const rows = tokens.map((_, k) => logSoftmax(weights.slice(k * vocabulary, (k + 1) * vocabulary)));
    const { dLogp } = objective.loss({ ...rest, logps: rows.map((row, k) => row[tokens[k] as number] as number) });
    const expected = rows.flatMap((row, k) => Array.from(row, (l, j) => (dLogp[k] as number) * ((tokens[k] === j ? 1 : 0) - Math.exp(l))));
    (await gradient.data()).forEach((g, k) => expect(Math.abs(g - (expected[k] as number))).toBeLessThan(1e-5));
    expect(expected.some((g) => Math.abs(g) > 1e-3)).toBe(true);
  });
});

describe('an OpenAI-compatible endpoint as the sampler', () => {
  it('fills a PolicyRollout step from a loopback server', async () => {
    const bodies: { messages: { role: string; content: string }[] }[] = [];
    const server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk) => (text += String(chunk)));
      request.on('end', () => {
        const body = JSON.parse(text) as (typeof bodies)[0];
        bodies.push(body);
        const right = body.messages[0]?.role === 'system';
        const content = (right ? [7, 8] : [9]).map((id) => ({ token: `token_id:${id}`, logprob: -0.25 * id }));
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ choices: [{ message: { content: right ? 'refuse' : 'comply' }, finish_reason: 'stop', logprobs: { content } }] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    try {
      const value: ChatPrompt = { question: 'May I?', policy: 'Refuse.' };
      const { batch, metrics, reason } = await runStep({
        objective: poroGrpo({ numGenerations: 2 }),
        prompts: [{ id: 'q', value }],
        batchSize: 1,
        generate: openAiSampler(url, 'm'),
        score: ({ text }) => (text === 'refuse' ? 1 : 0),
        logps: async (rollouts) => rollouts.map(({ tokens }) => ({ oldLogps: Array.from(tokens, () => -2), refLogps: Array.from(tokens, () => -2) })),
      });
      expect(reason).toBe('complete');
      expect(bodies.map(({ messages }) => messages.map(({ role }) => role).join())).toEqual(['user', 'user', 'system,user', 'system,user']);
      expect(Array.from(batch?.tokens ?? [])).toEqual([9, 9, 7, 8, 7, 8]);
      expect(Array.from(batch?.behaviorLogps ?? [])).toEqual([-2.25, -2.25, -1.75, -2, -1.75, -2]);
      expect(metrics['frac_groups_rescued']).toBe(1);
    } finally {
      server.close();
    }
  });
  it('passes on what the server refuses', async () => {
    const server = createServer((_, response) => {
      response.statusCode = 429;
      response.end('slow down');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const generate = openAiSampler(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'm');
      await expect(generate({ prompt: { id: 'q', value: { question: '', policy: '' } }, origin: 'free', index: 0, hint: undefined, signal: new AbortController().signal })).rejects.toThrow(/429.*slow down/);
    } finally {
      server.close();
    }
  });
});
