import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { generate, GenerationCache, getRopeIndex, layOutPrompts, loraConfig, packBatch, Sampler, sharedPrefix, type TokenSequence } from '../src/index.ts';
import { goldenModel, goldenPrompt, openGolden } from './golden-cases.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
afterAll(() => device.dispose());

describe('generation', () => {
  it('greedy: the tokens of transformers, and their log-probabilities', async () => {
    const golden = await openGolden('generate_single');
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    const want = Array.from(await golden.readFloat32('out.sequences')).slice(prompt.inputIds.length);
    const logits = await golden.readFloat32('out.step_logits');
    const [got] = await generate(model, [prompt], { temperature: 0, maxNewTokens: want.length, stopIds: [], seed: 1 });
    expect(Array.from(got!.tokens)).toEqual(want);
    want.forEach((id, step) => {
      const row = logits.subarray(step * 528, (step + 1) * 528);
      const most = Math.max(...row);
      const lse = most + Math.log(row.reduce((s, z) => s + Math.exp(z - most), 0));
      expect(Math.abs(got!.logps[step]! - (row[id]! - lse))).toBeLessThan(1e-3);
    });
    model.dispose();
  });

  it('greedy with a repetition penalty: the tokens of transformers, and their log-probabilities, each row by its own', async () => {
    // `generate(do_sample=False, repetition_penalty=...)` of transformers 5.18 on this model; log-probabilities of the first two and the last token, of its processed scores.
    const cases: readonly (readonly [readonly number[], number, readonly number[], readonly [number, number, number]])[] = [
      [[5, 9, 77, 300], 1, [111, 111, 319, 106, 106, 256, 438, 438, 438, 131, 326, 141, 141, 121, 387, 421], [-2.2875, -1.58196, -2.73619]],
      [[5, 9, 77, 300], 1.05, [111, 111, 319, 106, 256, 214, 165, 212, 212, 412, 412, 412, 412, 465, 121, 131], [-2.28736, -1.87685, -2.82336]],
      [[5, 9, 77, 300], 1.3, [111, 319, 106, 312, 315, 495, 39, 54, 153, 174, 271, 271, 271, 324, 465, 121], [-2.28688, -2.03826, -2.07861]],
      [[5, 9, 77, 300], 0.8, [111, 111, 111, 111, 111, 77, 77, 77, 77, 77, 106, 111, 111, 111, 111, 173], [-2.28852, -0.4631, -1.91485]],
      [[8], 1.3, [49, 516, 16, 319, 69, 111, 386, 445, 468, 342, 179, 307, 408, 145, 145, 355], [-2.26608, -1.7039, -1.2247]],
      [[100, 4, 17, 22, 90, 41, 100, 4], 1.05, [508, 173, 452, 33, 248, 454, 452, 452, 452, 452, 452, 452, 452, 452, 283, 54], [-2.06292, -1.67556, -2.44396]],
    ];
    const model = await goldenModel(engine);
    const cache = new GenerationCache(model, 300);
    const sampler = new Sampler(model, cache, { rows: 8, widths: [8], stopIds: [] });
    const prompts = cases.map(([ids]): TokenSequence => ({ inputIds: [...ids], positionIds: [0, 1, 2].flatMap(() => ids.map((_, i) => i)), images: [] }));
    const ask = (prompt: number, repetitionPenalty: number) => ({ prompt, temperature: 0, maxNewTokens: 16, seed: 0, stream: 0, repetitionPenalty });
    // Rows are taken over by further completions.
    for (let round = 0; round < 2; round++) {
      const order = round === 0 ? cases : cases.toReversed();
      const sampled = (await sampler.add(layOutPrompts(model.config, round === 0 ? prompts : prompts.toReversed()), order.map(([, penalty], i) => ask(i, penalty))))!;
      while (sampler.active > 0) await sampler.step();
      for (const [i, [, penalty, tokens, [first, second, last]]] of order.entries()) {
        const { completion } = sampled[i]!;
        expect(Array.from(completion.tokens), `penalty ${penalty}`).toEqual(tokens);
        for (const [at, logp] of [[0, first], [1, second], [15, last]] as const) expect(Math.abs(completion.logps[at]! - logp)).toBeLessThan(1e-3);
      }
    }
    // What a row without a penalty is given does not depend on those beside it, bit for bit.
    const sample = async (others: readonly number[]) => {
      const [own, ...rest] = (await sampler.add(layOutPrompts(model.config, [prompts[0]!]), [{ ...ask(0, 1), temperature: 0.9 }, ...others.map((p) => ask(0, p))]))!;
      while (sampler.active > 0) await sampler.step();
      expect(rest.length).toBe(others.length);
      return [Array.from(own!.completion.tokens), Array.from(own!.completion.logps)];
    };
    expect(await sample([1.3, 0.8])).toEqual(await sample([1, 1]));
    await expect(generate(model, [prompts[0]!], { maxNewTokens: 2, stopIds: [], seed: 0, repetitionPenalty: 0 })).rejects.toThrow(/repetitionPenalty/);
    sampler.dispose();
    cache.dispose();
    model.dispose();
  });

  it('sampled completions of packed prompts with and without images score the same in the training pass, with an adapter on', async () => {
    const model = await goldenModel(engine);
    const adapter = model.addAdapter('worn', loraConfig({ r: 4, loraAlpha: 16 }), 3);
    for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) {
      adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i) * 0.1));
    }
    const image = await goldenPrompt(model);
    const text: TokenSequence = { inputIds: [5, 9, 77, 300], positionIds: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], images: [] };
    const prompts = [image, text];
    const promptOf = [0, 0, 0, 1, 1, 0, 1];
    const stopIds = [17, 42, 99, 100, 101, 102, 103, 104, 105];
    const options = { adapter: 'worn', temperature: 0.9, maxNewTokens: 14, stopIds, seed: 99, promptOf };
    const completions = await generate(model, prompts, options);
    // The same seed and streams give the same tokens, whatever else is in the batch.
    const alone = await generate(model, [text], { ...options, promptOf: [0, 0], streams: [3, 6] });
    expect(alone.map((c) => Array.from(c.tokens))).toEqual([completions[3]!, completions[6]!].map((c) => Array.from(c.tokens)));
    expect(new Set(completions.map((c) => c.tokens.join())).size).toBeGreaterThan(4);
    for (const c of completions) {
      const stop = Array.from(c.tokens).findIndex((t) => stopIds.includes(t));
      expect(c.finish).toBe(stop >= 0 ? 'stop' : 'length');
      expect(c.tokens.length).toBe(stop >= 0 ? stop + 1 : 14);
    }
    const batch = packBatch(model.config, prompts.map((sequence, p) => ({ sequence, completions: completions.filter((c) => c.prompt === p).map((c) => c.tokens) })));
    const scores = await model.score(batch, { adapter: 'worn', temperature: 0.9 });
    let worst = 0;
    batch.places.forEach(({ row, completion, index }, i) => {
      const c = completions.filter((x) => x.prompt === row)[completion]!;
      worst = Math.max(worst, Math.abs(scores.logp[i]! - c.logps[index]!), Math.abs(scores.entropy[i]! - c.entropies[index]!));
    });
    expect(worst).toBeLessThan(1e-4);
    model.dispose();
  });

  it('a completion scored behind a shared prompt is the one scored in a row of its own', async () => {
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    // 510 is the image token: in a completion it is a token like any other.
    const completions = [[5, 6, 7], [300, 510, 2], [17]];
    const shared = await model.score(packBatch(model.config, [{ sequence: prompt, completions }]));
    let at = 0;
    for (const completion of completions) {
      const own = await model.score(packBatch(model.config, [{ sequence: prompt, completions: [completion] }]));
      own.logp.forEach((l) => expect(Math.abs(l - shared.logp[at++]!)).toBeLessThan(1e-4));
      if (completion.includes(510)) continue;
      const ids = [...Array.from(prompt.inputIds), ...completion];
      const n = prompt.inputIds.length;
      const row: TokenSequence = { inputIds: ids, positionIds: getRopeIndex(ids, prompt.images.map((i) => i.gridThw), model.config).positionIds, images: prompt.images };
      const plain = await model.score(packBatch(model.config, [{ sequence: row, predict: ids.map((_, i) => (i >= n ? 1 : 0)) }]));
      plain.logp.forEach((l, i) => expect(Math.abs(l - own.logp[i]!)).toBeLessThan(1e-4));
    }
    expect(at).toBe(shared.logp.length);
    model.dispose();
  });

  it('refuses what cannot be sampled', async () => {
    const model = await goldenModel(engine);
    const prompt = await goldenPrompt(model);
    const options = { maxNewTokens: 4, stopIds: [], seed: 1 };
    await expect(generate(model, [], options)).rejects.toThrow(/prompts/);
    await expect(generate(model, [prompt], { ...options, promptOf: [1] })).rejects.toThrow(/promptOf/);
    await expect(generate(model, [prompt], { ...options, topP: 0 })).rejects.toThrow(/topP/);
    await expect(generate(model, [prompt], { ...options, adapter: 'none' })).rejects.toThrow(/adapter/);
    await expect(generate(model, [{ ...prompt, images: [] }], options)).rejects.toThrow(/image tokens/);
    model.dispose();
  });

  it('reads what prompts have in common once, with the same completions', async () => {
    const model = await goldenModel(engine);
    const head = await goldenPrompt(model);
    const n = head.inputIds.length;
    /** The golden prompt (two images), then other words. */
    const longer = (words: readonly number[]): TokenSequence => {
      const inputIds = [...Array.from(head.inputIds), ...words];
      return { inputIds, positionIds: getRopeIndex(inputIds, head.images.map((i) => i.gridThw), model.config).positionIds, images: head.images };
    };
    const prompts = [longer([5, 9, 77]), longer([5, 300, 12, 8]), longer([40])];
    expect(sharedPrefix(model.config, prompts)).toBe(n);
    expect(sharedPrefix(model.config, prompts.slice(0, 2))).toBe(n + 1);
    expect(sharedPrefix(model.config, [prompts[0]!, { ...prompts[1]!, images: prompts[1]!.images.map((i) => ({ ...i })) }])).toBeLessThan(n);
    const options = { maxNewTokens: 10, stopIds: [17], seed: 3, promptOf: [0, 1, 2, 0, 1, 2] };
    let read = { given: 0, computed: 0 };
    const together = await generate(model, prompts, { ...options, onPrefill: (tokens) => (read = tokens) });
    expect(read).toEqual({ given: 3 * n + 2 + 3, computed: n + 2 + 3 });
    for (const p of [0, 1, 2]) {
      const alone = await generate(model, [prompts[p]!], { ...options, promptOf: [0, 0], streams: [p, p + 3] });
      expect(alone.map((c) => Array.from(c.tokens))).toEqual([together[p]!, together[p + 3]!].map((c) => Array.from(c.tokens)));
    }
    // The training pass with the same sharing: log-probabilities and gradients of the unshared one.
    const rows = prompts.map((sequence, p) => ({ sequence, completions: [together[p]!.tokens, together[p + 3]!.tokens] }));
    model.addAdapter('a', loraConfig({ r: 2 }), 5);
    model.setTrainable({ adapter: 'a' });
    const gradients: ArrayLike<number>[] = [];
    for (const prefix of [0, n]) {
      const batch = packBatch(model.config, rows, { prefix });
      expect(batch.tokens).toBe(prefix === 0 ? packBatch(model.config, rows).tokens : packBatch(model.config, rows).tokens - 2 * n);
      const { logp } = await model.accumulate(batch, new Float32Array(batch.targets.length).fill(0.1), { adapter: 'a' });
      const sampled = rows.flatMap((_, p) => [...together[p]!.logps, ...together[p + 3]!.logps]);
      sampled.forEach((l, i) => expect(Math.abs(l - logp[i]!)).toBeLessThan(1e-4));
      gradients.push(await model.adapter('a').store.storage('gradients').read());
      await model.step({ learningRate: 0, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0, maxNorm: 0, step: 1, gradScale: 1 });
    }
    Array.from(gradients[0]!).forEach((g, i) => expect(Math.abs(g - gradients[1]![i]!)).toBeLessThan(1e-4 * (1 + Math.abs(g))));
    expect(Array.from(gradients[0]!).some((g) => Math.abs(g) > 1e-3)).toBe(true);
    model.dispose();
  });

  it('refills the rows of finished completions: the same tokens as all at once, however few rows', async () => {
    const model = await goldenModel(engine);
    const text = (ids: number[]): TokenSequence => ({ inputIds: ids, positionIds: getRopeIndex(ids, [], model.config).positionIds, images: [] });
    const prompts = [text([5, 9, 77, 300]), text([8]), text([100, 4, 17, 22, 90, 41])];
    const promptOf = Array.from({ length: 21 }, (_, i) => i % 3);
    const stopIds = Array.from({ length: 60 }, (_, i) => i * 7);
    const options = { maxNewTokens: 11, stopIds, seed: 8, promptOf };
    const all = await generate(model, prompts, options);
    const few = await generate(model, prompts, { ...options, maxRows: 8, lookEvery: 3 });
    expect(few.map((c) => Array.from(c.tokens))).toEqual(all.map((c) => Array.from(c.tokens)));
    few.forEach((c, i) => c.logps.forEach((l, j) => expect(Math.abs(l - all[i]!.logps[j]!)).toBeLessThan(1e-5)));
    expect(new Set(all.map((c) => c.tokens.length)).size).toBeGreaterThan(3);
    model.dispose();
  });

  it('stops at strings, streams what is there, and stops on abort', async () => {
    const model = await goldenModel(engine);
    const ids = [5, 9, 77, 300];
    const prompt: TokenSequence = { inputIds: ids, positionIds: getRopeIndex(ids, [], model.config).positionIds, images: [] };
    const options = { maxNewTokens: 20, stopIds: [], seed: 21, promptOf: [0, 0, 0] };
    const free = await generate(model, [prompt], options);
    const decode = (tokens: Int32Array) => Array.from(tokens, (t) => `<${t}>`).join('');
    const word = `${free[1]!.tokens[4]!}><${free[1]!.tokens[5]!}`;
    const seen: number[][] = [];
    const stopped = await generate(model, [prompt], { ...options, stop: { strings: [word], decode }, lookEvery: 2, onProgress: (c) => seen.push(c.map((x) => x.tokens.length)) });
    expect(stopped[1]!.finish).toBe('stop');
    expect(Array.from(stopped[1]!.tokens)).toEqual(Array.from(free[1]!.tokens.slice(0, 6)));
    expect(stopped[1]!.logps.length).toBe(6);
    expect(Array.from(stopped[0]!.tokens)).toEqual(Array.from(free[0]!.tokens));
    expect(seen.slice(0, 4)).toEqual([[2, 2, 2], [4, 4, 4], [6, 6, 6], [8, 6, 8]]);
    const stop = new AbortController();
    const aborted = await generate(model, [prompt], { ...options, signal: stop.signal, lookEvery: 4, onProgress: (c) => c[0]!.tokens.length >= 8 && stop.abort() });
    expect(aborted.map((c) => c.tokens.length)).toEqual([8, 8, 8]);
    model.dispose();
  });
});
