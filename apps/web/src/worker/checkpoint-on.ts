/** @file A brought checkpoint on the visitor's GPU: loaded range by range in the precision that was chosen, and asked. */
import { type Adapter, type DeviceLimits, estimate, GenerationCache, layOutPrompts, type ModelConfig, openCheckpoint, Processor, requireFit, Sampler, sequenceOf, stopTokenIds, VisionLanguageModel } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { BroughtFile, FromBring, StoredBits, ToBring } from '../protocol.ts';
import { answering } from './checkpoint-fit.ts';
import { broughtFiles } from './checkpoint-files.ts';
import { MOST_PIXELS, pictureOf } from './picture.ts';

interface LoadOptions {
  readonly files: readonly BroughtFile[];
  readonly adapter: Adapter | undefined;
  readonly bits: StoredBits;
  readonly limits: DeviceLimits;
  readonly signal: AbortSignal;
  readonly post: (message: FromBring) => void;
}

export interface LoadedCheckpoint {
  chat(question: Extract<ToBring, { type: 'chat' }>, signal: AbortSignal): Promise<void>;
  dispose(): void;
}

const ADAPTER = 'brought';

/** Refuses what cannot fit before anything of the weights is read. @throws ModelError, RuntimeError. */
export async function loadCheckpoint({ files: brought, adapter, bits, limits, signal, post }: LoadOptions): Promise<LoadedCheckpoint> {
  const started = performance.now();
  let read = 0;
  let told = -Infinity;
  const of = brought.reduce((sum, { name, file }) => sum + (name.endsWith('.safetensors') ? file.size : 0), 0);
  const files = broughtFiles(brought, (bytes) => {
    read += bytes;
    if (performance.now() - told < 100) return;
    told = performance.now();
    post({ type: 'loading', done: Math.min(read, of), of });
  }, signal);
  const { config, tokenizer, preprocessor } = await Processor.load(files);
  // What was planned for is what is asked: larger pictures are made smaller.
  const processor = new Processor(config, tokenizer, { ...preprocessor, maxPixels: Math.max(preprocessor.minPixels, Math.min(preprocessor.maxPixels, MOST_PIXELS)) });
  const stopIds = await stopTokenIds(files, processor);
  const checkpoint = await openCheckpoint(files);
  const device = await openDevice({ powerPreference: 'high-performance' });
  const engine = new WebGpuEngine(device);
  try {
    const { maxBufferSize, maxStorageBufferBindingSize } = device.adapter;
    requireFit(await estimate(config, answering(bits, { ...limits, maxBufferSize, maxStorageBufferBindingSize })));
    const model = new VisionLanguageModel(engine, config, bits === 32 ? {} : { quantise: { bits } });
    await model.load(checkpoint);
    if (adapter !== undefined) await model.loadAdapter(ADAPTER, adapter).ready;
    post({ type: 'loaded', seconds: (performance.now() - started) / 1000, bytes: engine.counters.bytes });
    const lost = device.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed') throw Object.assign(new Error(message), { code: 'device-lost' });
      return undefined as never;
    });
    lost.catch(() => undefined);
    return {
      chat: (question, stop) => Promise.race([chat({ model, processor, stopIds, adapter: adapter === undefined ? undefined : ADAPTER, post }, question, stop), lost]),
      dispose: () => engine.dispose(),
    };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

interface Answering {
  readonly model: VisionLanguageModel;
  readonly processor: Processor;
  readonly stopIds: readonly number[];
  readonly adapter: string | undefined;
  readonly post: (message: FromBring) => void;
}

/** With a policy text the question is asked twice: with it in the prompt, and without. */
async function chat({ model, processor, stopIds, adapter, post }: Answering, { image, policy, question, maxNewTokens }: Extract<ToBring, { type: 'chat' }>, signal: AbortSignal): Promise<void> {
  const picture = image === undefined ? undefined : await pictureOf(image);
  const sides = policy.trim() === '' ? (['free'] as const) : (['aware', 'free'] as const);
  for (const side of sides) {
    if (signal.aborted) break;
    // As the data sets put it: policy, picture, question.
    const content = [
      ...(side === 'aware' ? [{ type: 'text' as const, text: `${policy}\n\n` }] : []),
      ...(picture === undefined ? [] : [{ type: 'image' as const }]),
      { type: 'text' as const, text: question },
    ];
    const prompt = sequenceOf(processor.process({ messages: [{ role: 'user', content }], images: picture === undefined ? [] : [picture], addGenerationPrompt: true, loss: 'all' }));
    checkLength(model.config, prompt.inputIds.length, maxNewTokens);
    const layout = layOutPrompts(model.config, [prompt]);
    const cache = new GenerationCache(model, layout.tokens + maxNewTokens);
    const sampler = new Sampler(model, cache, { rows: 8, widths: [8], stopIds, ...(adapter === undefined ? {} : { adapter }) });
    try {
      const request = { prompt: 0, temperature: 0, seed: 0, stream: 0, lookEvery: 1 };
      // Once for the shaders to be compiled, so that the time to the first token is that of reading the prompt.
      await sampler.add(layout, [{ ...request, maxNewTokens: 1 }]);
      await sampler.step();
      const started = performance.now();
      const [sampled] = (await sampler.add(layout, [{ ...request, maxNewTokens }]))!;
      let firstMs = 0;
      const text = () => processor.tokenizer.decode(sampled!.completion.tokens, { skipSpecialTokens: true });
      while (sampler.active > 0) {
        await sampler.step();
        if (firstMs === 0) firstMs = performance.now() - started;
        post({ type: 'chat-says', side, text: text() });
        if (signal.aborted) sampled!.stop();
      }
      const { tokens, finish } = sampled!.completion;
      const seconds = (performance.now() - started - firstMs) / 1000;
      post({
        type: 'chat-said', side, text: text(), tokens: tokens.length, promptTokens: prompt.inputIds.length, firstMs,
        end: signal.aborted ? 'stopped' : finish,
        tokensPerSecond: tokens.length > 1 && seconds > 0 ? (tokens.length - 1) / seconds : undefined,
      });
    } finally {
      sampler.dispose();
      cache.dispose();
    }
  }
}

function checkLength({ maxPositionEmbeddings }: ModelConfig, prompt: number, answer: number): void {
  const most = Math.min(maxPositionEmbeddings, 8192);
  if (prompt + answer > most) throw Object.assign(new Error(`The prompt has ${prompt} tokens and the answer may have ${answer}; together they may have ${most} here. Shorten the texts, or ask for fewer tokens.`), { code: 'too-long' });
}
