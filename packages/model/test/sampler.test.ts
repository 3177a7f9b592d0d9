import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Completion, type CompletionRequest, generate, GenerationCache, getRopeIndex, layOutPrompts, loraConfig, type Sampled, Sampler, type TokenSequence, type VisionLanguageModel } from '../src/index.ts';
import { goldenModel, goldenPrompt } from './golden-cases.ts';

const device = await openDevice();
const engine = new WebGpuEngine(device);
let model: VisionLanguageModel;
beforeAll(async () => {
  model = await goldenModel(engine);
  const adapter = model.addAdapter('worn', loraConfig({ r: 4, loraAlpha: 16 }), 3);
  for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) {
    adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i) * 0.1));
  }
});
afterAll(() => {
  model.dispose();
  device.dispose();
});

const text = (...ids: number[]): TokenSequence => ({ inputIds: ids, positionIds: getRopeIndex(ids, [], model.config).positionIds, images: [] });
const STOP_IDS = Array.from({ length: 40 }, (_, i) => i * 13);
const request = (more: Partial<CompletionRequest>): CompletionRequest => ({ prompt: 0, maxNewTokens: 10, seed: 4, stream: 0, ...more });

/** What `generate` samples of one prompt for itself. */
async function alone(prompt: TokenSequence, { stream, ...options }: CompletionRequest, more: { readonly adapter?: string; readonly stopIds?: readonly number[] } = {}): Promise<Completion> {
  const [completion] = await generate(model, [prompt], { ...options, streams: [stream], stopIds: STOP_IDS, ...more });
  return completion!;
}

function same(got: Completion, want: Completion): void {
  expect([Array.from(got.tokens), got.finish]).toEqual([Array.from(want.tokens), want.finish]);
  got.logps.forEach((l, i) => expect(Math.abs(l - want.logps[i]!)).toBeLessThan(1e-5));
  got.entropies.forEach((e, i) => expect(Math.abs(e - want.entropies[i]!)).toBeLessThan(1e-5));
}

const stepped = async (sampler: Sampler, until: () => boolean) => {
  for (let i = 0; !until(); i++) {
    expect(i).toBeLessThan(500);
    await sampler.step();
  }
};

describe('a sampler', () => {
  it('a short completion that arrives during a long one ends before it; each is what it is alone, pictures or not', async () => {
    const cache = new GenerationCache(model, 400);
    const sampler = new Sampler(model, cache, { rows: 16, widths: [8, 16], stopIds: [] });
    const picture = await goldenPrompt(model);
    const long = request({ maxNewTokens: 90, temperature: 0.9 });
    const short = request({ maxNewTokens: 5, stream: 7, lookEvery: 1 });
    const [first] = (await sampler.add(layOutPrompts(model.config, [text(5, 9, 77, 300)]), [long]))!;
    for (let i = 0; i < 20; i++) await sampler.step();
    const [second] = (await sampler.add(layOutPrompts(model.config, [picture]), [short]))!;
    await stepped(sampler, () => second!.done);
    expect([first!.done, sampler.active]).toEqual([false, 1]);
    expect(first!.completion.tokens.length).toBe(25);
    await stepped(sampler, () => first!.done);
    same(first!.completion, await alone(text(5, 9, 77, 300), long, { stopIds: [] }));
    same(second!.completion, await alone(picture, short, { stopIds: [] }));
    expect([sampler.active, cache.space.free]).toEqual([0, 400]);
    expect(await sampler.step()).toBe(false);
    sampler.dispose();
    cache.dispose();
  });

  it('rows have settings, seeds, lengths and stop strings of their own', async () => {
    const cache = new GenerationCache(model, 800);
    const sampler = new Sampler(model, cache, { rows: 16, widths: [8, 16], stopIds: STOP_IDS });
    const prompts = [text(5, 9, 77, 300), text(8), text(100, 4, 17, 22, 90, 41)];
    const decode = (tokens: Int32Array) => Array.from(tokens, (t) => `<${t}>`).join('');
    const free = await alone(prompts[0]!, request({ maxNewTokens: 30, seed: 2 ** 40 + 3, temperature: 1 }));
    const stop = { strings: [`<${free.tokens[2]!}>`], decode };
    const requests = [
      request({ temperature: 0 }),
      request({ prompt: 1, temperature: 0.5, seed: 11, stream: 2 }),
      request({ prompt: 2, topK: 3, maxNewTokens: 33 }),
      request({ prompt: 1, topP: 0.6, minP: 0.05, seed: 2 ** 33, maxNewTokens: 21 }),
      request({ maxNewTokens: 30, seed: 2 ** 40 + 3, stop }),
      ...Array.from({ length: 6 }, (_, i) => request({ prompt: i % 3, stream: i, seed: i, temperature: 0.4 + 0.2 * i, maxNewTokens: 3 + 7 * i })),
    ];
    // They arrive two by two, three steps apart.
    const sampled: Sampled[] = [];
    for (let i = 0; i < requests.length; i += 2) {
      const some = requests.slice(i, i + 2);
      sampled.push(...(await sampler.add(layOutPrompts(model.config, some.map((r) => prompts[r.prompt]!)), some.map((r, prompt) => ({ ...r, prompt }))))!);
      for (let s = 0; s < 3; s++) await sampler.step();
    }
    await stepped(sampler, () => sampled.every((s) => s.done));
    for (const [i, r] of requests.entries()) same(sampled[i]!.completion, await alone(prompts[r.prompt]!, r));
    expect(sampled[4]!.completion.tokens.length).toBe(free.tokens.indexOf(free.tokens[2]!) + 1);
    expect(cache.space.free).toBe(800);
    sampler.dispose();
    cache.dispose();
  });

  it('samplers of an adapter and of the base share a cache and take turns', async () => {
    const cache = new GenerationCache(model, 120);
    const of = (adapter?: string) => new Sampler(model, cache, { rows: 8, widths: [8], stopIds: [], ...(adapter === undefined ? {} : { adapter }) });
    const samplers = [of(), of('worn')];
    const prompt = text(5, 9, 77, 300);
    const sampled = await Promise.all(samplers.map((s) => s.add(layOutPrompts(model.config, [prompt]), [request({ temperature: 0, maxNewTokens: 20 })])));
    await stepped(samplers[0]!, () => sampled[0]![0]!.completion.tokens.length > 4);
    while (samplers.some((s) => s.active > 0)) for (const s of samplers) await s.step();
    const [base, worn] = sampled.map((s) => s![0]!.completion);
    same(base!, await alone(prompt, request({ temperature: 0, maxNewTokens: 20 }), { stopIds: [] }));
    same(worn!, await alone(prompt, request({ temperature: 0, maxNewTokens: 20 }), { stopIds: [], adapter: 'worn' }));
    expect(Array.from(worn!.tokens)).not.toEqual(Array.from(base!.tokens));
    for (const s of samplers) s.dispose();
    cache.dispose();
  });

  it('what does not fit waits: rows and memory of a stopped completion are free at once, and the others go on', async () => {
    const cache = new GenerationCache(model, 100);
    const sampler = new Sampler(model, cache, { rows: 8, widths: [8], stopIds: [] });
    const prompt = text(5, 9, 77, 300);
    const layout = layOutPrompts(model.config, [prompt]);
    const [a, b] = (await sampler.add(layout, [request({ maxNewTokens: 40 }), request({ maxNewTokens: 40, stream: 1 })]))!;
    for (let i = 0; i < 10; i++) await sampler.step();
    expect(await sampler.add(layout, [request({ maxNewTokens: 30, stream: 2 })])).toBeUndefined();
    expect(await sampler.add(layout, Array.from({ length: 7 }, (_, stream) => request({ maxNewTokens: 1, stream })))).toBeUndefined();
    expect([sampler.active, cache.space.free]).toEqual([2, 100 - 3 - 80]);
    a!.stop();
    expect([a!.done, a!.completion.finish, a!.completion.tokens.length, sampler.active]).toEqual([true, 'length', 8, 1]);
    const [c] = (await sampler.add(layout, [request({ maxNewTokens: 30, stream: 2 })]))!;
    await stepped(sampler, () => b!.done && c!.done);
    same(b!.completion, await alone(prompt, request({ maxNewTokens: 40, stream: 1 }), { stopIds: [] }));
    same(c!.completion, await alone(prompt, request({ maxNewTokens: 30, stream: 2 }), { stopIds: [] }));
    expect(a!.completion.tokens.length).toBe(8);
    expect(cache.space.free).toBe(100);
    sampler.dispose();
    cache.dispose();
  });

  it('prompts that are read at the same time have rows of their own', async () => {
    const cache = new GenerationCache(model, 200);
    const sampler = new Sampler(model, cache, { rows: 4, widths: [4], stopIds: [] });
    const prompts = [text(5, 9, 77, 300), text(8, 4), text(100, 4, 17, 22, 90, 41)];
    const requests = [request({ stream: 1 }), request({ stream: 2, maxNewTokens: 17 }), request({ stream: 3, maxNewTokens: 5 })];
    const adds = prompts.map((prompt, i) => sampler.add(layOutPrompts(model.config, [prompt]), [requests[i]!]));
    // One row is left, and it is not taken twice.
    const more = sampler.add(layOutPrompts(model.config, [text(7, 7)]), [request({}), request({ stream: 1 })]);
    const sampled = (await Promise.all(adds)).map((s) => s![0]!);
    expect([await more, sampler.active]).toEqual([undefined, 3]);
    await stepped(sampler, () => sampled.every((s) => s.done));
    for (const [i, s] of sampled.entries()) same(s.completion, await alone(prompts[i]!, requests[i]!, { stopIds: [] }));
    expect([sampler.active, cache.space.free]).toEqual([0, 200]);
    sampler.dispose();
    cache.dispose();
  });

  it('disposed under way, gives its part of a shared cache back and rejects, while another goes on', async () => {
    const cache = new GenerationCache(model, 300);
    const of = () => new Sampler(model, cache, { rows: 2, widths: [2], stopIds: [] });
    const [lost, kept] = [of(), of()];
    const prompts = [1, 2, 3].map((i) => text(5, 9, 77, 300, 12, 13, 14, 15, 16, 17, i));
    const layout = layOutPrompts(model.config, prompts);
    expect(layout.prefix).toBeGreaterThan(0);
    const [own] = (await kept.add(layOutPrompts(model.config, [prompts[0]!]), [request({ maxNewTokens: 20 })]))!;
    const before = cache.space.free;
    // Two rows, and two completions that wait for them; the first prompt has none any more.
    const sampled = (await lost.add(layout, [request({ maxNewTokens: 1 }), ...[1, 2, 1].map((prompt, stream) => request({ prompt, stream, maxNewTokens: 20 }))]))!;
    await stepped(lost, () => sampled[0]!.done);
    const looking = lost.step();
    lost.dispose();
    await expect(looking).rejects.toMatchObject({ code: 'invalid-input', argument: 'sampler' });
    expect(cache.space.free).toBe(before);
    await expect(lost.step()).rejects.toThrow(/disposed, or the adapters of its model changed/);
    sampled.forEach((s) => s.stop());
    expect([cache.space.free, sampled.map((s) => s.done)]).toEqual([before, [true, false, false, false]]);
    const third = of();
    const [other] = (await third.add(layOutPrompts(model.config, [prompts[2]!]), [request({ maxNewTokens: 20, stream: 5 })]))!;
    while (!own!.done || !other!.done) for (const s of [kept, third]) await s.step();
    same(own!.completion, await alone(prompts[0]!, request({ maxNewTokens: 20 }), { stopIds: [] }));
    same(other!.completion, await alone(prompts[2]!, request({ maxNewTokens: 20, stream: 5 }), { stopIds: [] }));
    const reading = third.add(layout, [request({})]);
    third.dispose();
    await expect(reading).rejects.toThrow(/disposed/);
    expect(cache.space.free).toBe(300);
    kept.dispose();
    cache.dispose();
  });

  it('generate rejects when the adapters of the model change meanwhile', async () => {
    const changing = await goldenModel(engine);
    changing.addAdapter('a', loraConfig({ r: 2 }), 1);
    changing.addAdapter('b', loraConfig({ r: 2 }), 1);
    for (const change of [() => changing.setTrainable({ adapter: 'b' }), () => changing.removeAdapter('b'), () => changing.dispose()]) {
      const ask = (onProgress: () => void) => generate(changing, [text(5, 9, 77, 300)], { adapter: 'a', maxNewTokens: 12, stopIds: [], seed: 1, lookEvery: 4, onProgress });
      expect((await ask(() => undefined))[0]!.tokens).toHaveLength(12);
      await expect(ask(change)).rejects.toThrow(/adapters of its model changed/);
    }
  });

  it('refuses what it cannot do, by name, and has not begun it', async () => {
    const cache = new GenerationCache(model, 60);
    const sampler = new Sampler(model, cache, { rows: 8, widths: [8], stopIds: [] });
    const layout = layOutPrompts(model.config, [text(5, 9, 77)]);
    await expect(sampler.add(layout, [])).rejects.toThrow(/requests/);
    await expect(sampler.add(layout, [request({}), request({ topP: 2 })])).rejects.toThrow(/requests\[1\]\.topP/);
    await expect(sampler.add(layout, [request({ prompt: 1 })])).rejects.toThrow(/requests\[0\]\.prompt/);
    await expect(sampler.add(layout, [request({ maxNewTokens: 10_000_000 })])).rejects.toThrow(/position/);
    expect(() => layOutPrompts(model.config, [text(5), text()])).toThrow(/prompts\[1\]/);
    expect([sampler.active, cache.space.free]).toEqual([0, 60]);
    sampler.dispose();
    await expect(sampler.add(layout, [request({})])).rejects.toThrow(/disposed/);
    cache.dispose();
  });

  it('calls of generate at the same time wait for each other', async () => {
    const prompt = text(5, 9, 77, 300);
    const ask = (seed: number) => generate(model, [prompt], { maxNewTokens: 12, stopIds: [], seed });
    const want = [await ask(1), await ask(2), await ask(3)].map((c) => Array.from(c[0]!.tokens));
    expect((await Promise.all([ask(1), ask(2), ask(3)])).map((c) => Array.from(c[0]!.tokens))).toEqual(want);
    expect(new Set(want.map((t) => t.join())).size).toBe(3);
  });
});
