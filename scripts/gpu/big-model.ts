/**
 * @file Training and generation at the sizes of Qwen2.5-VL-3B in 4 bits with LoRA, on random weights: what a GPU makes of it,
 * beside what `estimate` says it takes. No checkpoint is needed and no float32 copy is ever made: random words are written
 * straight into the storages of the quantised matrices.
 *
 *   node --import tsx --conditions=@trimpi/source scripts/gpu/big-model.ts --out big-model.json
 *
 * Every size is an option, so that it can be tried on a machine without a GPU (see OPTIONS).
 */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { estimate, generate, loraConfig, type ModelConfig, packBatch, parseConfig, type TokenSequence, VisionLanguageModel } from '../../packages/model/src/index.ts';
import { type Graph, KernelTuner, openDevice, type Storage, WebGpuEngine } from '../../packages/runtime/src/index.ts';
import type { GpuPlan } from '../../packages/runtime/src/webgpu/plan.ts';

/** Names and defaults of the options that are numbers. */
const OPTIONS = {
  layers: 36, hidden: 2048, heads: 16, 'kv-heads': 2, 'head-dim': 128, intermediate: 11008, vocab: 151936, 'vision-depth': 32,
  rank: 8, tokens: 1024, 'prompt-tokens': 128, 'new-tokens': 64, steps: 3,
} as const;
type Sizes = Record<keyof typeof OPTIONS, number>;

const { values } = parseArgs({
  options: {
    ...Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, { type: 'string' } as const])),
    out: { type: 'string' },
    /** Computes layers again in the backward pass, which takes less memory. */
    checkpointing: { type: 'boolean', default: false },
    /** Measures variants of the matrix product on this device first. */
    tune: { type: 'boolean', default: false },
    /** Multiplies half floats on the matrix units of the GPU. */
    half: { type: 'boolean', default: false },
    /** Measures nothing before this file is there: another program has the GPU until then. */
    after: { type: 'string' },
    /** Tells where the time goes, kernel by kernel. */
    profile: { type: 'boolean', default: false },
  },
});
const sizes = Object.fromEntries(Object.entries(OPTIONS).map(([name, value]) => [name, Number((values as Record<string, unknown>)[name] ?? value)])) as Sizes;

/** Random words, fast (xorshift; quality does not matter here). */
class Words {
  #state = 0x9e3779b9;

  random(words: Uint32Array): Uint32Array {
    let x = this.#state;
    for (let i = 0; i < words.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[i] = x;
    }
    this.#state = x;
    return words;
  }

  below(limit: number): number {
    return this.random(new Uint32Array(1))[0]! % limit;
  }
}

const words = new Words();

function configOf(s: Sizes): ModelConfig {
  const half = s['head-dim'] / 2;
  const section = [Math.floor(half / 4), Math.floor((half * 3) / 8)];
  return parseConfig({
    model_type: 'qwen2_5_vl', hidden_size: s.hidden, intermediate_size: s.intermediate, num_hidden_layers: s.layers, num_attention_heads: s.heads, num_key_value_heads: s['kv-heads'], head_dim: s['head-dim'], vocab_size: s.vocab,
    rms_norm_eps: 1e-6, rope_theta: 1000000, rope_scaling: { type: 'mrope', mrope_section: [...section, half - section[0]! - section[1]!] }, max_position_embeddings: 128000, tie_word_embeddings: true,
    image_token_id: s.vocab - 4, video_token_id: s.vocab - 3, vision_start_token_id: s.vocab - 2, vision_end_token_id: s.vocab - 1,
    vision_config: { depth: s['vision-depth'], hidden_size: 1280, intermediate_size: 3420, num_heads: 16, patch_size: 14, out_hidden_size: s.hidden, window_size: 112, fullatt_block_indexes: [7, 15, 23, 31].filter((b) => b < s['vision-depth']), tokens_per_second: 2 },
  });
}

/**
 * An engine that knows its storages (a model keeps those of its quantised matrices to itself, and their names tell them
 * apart), and that profiles every run of a plan while `kernels` is set.
 */
class ListingEngine extends WebGpuEngine {
  readonly storages: Storage[] = [];
  kernels: Map<string, { count: number; microseconds: number }> | undefined;

  override async compile(graph: Graph): Promise<GpuPlan> {
    const plan = await super.compile(graph);
    const run = plan.run.bind(plan);
    plan.run = async (inputs, ...rest) => {
      if (this.kernels !== undefined) {
        const start = performance.now();
        await run(inputs);
        const submitted = performance.now() - start;
        await this.device.gpu.queue.onSubmittedWorkDone();
        if (plan.dispatches > 100 && this.kernels.size === 0) console.log(`a plan of ${plan.dispatches} dispatches: submitted after ${submitted.toFixed(1)} ms, done after ${(performance.now() - start).toFixed(1)} ms`);
        for (const { kernel, shapes, microseconds } of (await plan.profile(inputs)).events) {
          const key = `${kernel}  ${shapes.replaceAll('f32', '').slice(0, 110)}`;
          const sum = this.kernels.get(key) ?? { count: 0, microseconds: 0 };
          this.kernels.set(key, { count: sum.count + 1, microseconds: sum.microseconds + microseconds });
        }
      }
      return run(inputs, ...rest);
    };
    return plan;
  }

  override createStorage(...args: Parameters<WebGpuEngine['createStorage']>): Storage {
    const storage = super.createStorage(...args);
    this.storages.push(storage);
    return storage;
  }
}

/** A model with random weights of deviation about 0.02, norms of ones and no biases. */
function randomModel(engine: ListingEngine, config: ModelConfig, checkpointing: boolean): VisionLanguageModel {
  const before = engine.storages.length;
  const model = new VisionLanguageModel(engine, config, { quantise: { bits: 4 }, checkpointing });
  for (const storage of engine.storages.slice(before)) if (/\.(data|scales)$/.test(storage.name)) fillStorage(storage);
  for (const store of [model.text, model.vision]) {
    for (const name of store.names) {
      const shape = store.shape(name);
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
      if (shape.length > 1) words.random(new Uint32Array(data.buffer)).forEach((x, i) => (data[i] = (x / 2 ** 31 - 1) * 0.035));
      else if (!name.endsWith('.bias')) data.fill(1);
      store.write(name, data);
    }
  }
  return model;
}

const CHUNK = 2 ** 22;

/** Random words; or scales of either sign, so that the weights have no mean, for words of 4 bits (8 in the embedding table). */
function fillStorage(storage: Storage): void {
  // A scale has the bits of the step, and a random sign.
  const step = new Uint32Array(Float32Array.of(0.02 / (storage.name.startsWith('embed_tokens') ? 74 : 4.6)).buffer)[0]!;
  for (let at = 0; at < storage.length; at += CHUNK) {
    const part = words.random(new Uint32Array(Math.min(CHUNK, storage.length - at)));
    if (storage.dtype === 'f32') for (let i = 0; i < part.length; i++) part[i] = (part[i]! & 0x80000000) | step;
    storage.write(storage.dtype === 'f32' ? new Float32Array(part.buffer) : part, at);
  }
}

const randomTokens = (count: number) => Array.from({ length: count }, () => words.below(sizes.vocab - 8));

function sequence(length: number): TokenSequence {
  const positions = Array.from({ length }, (_, i) => i);
  return { inputIds: randomTokens(length), positionIds: [...positions, ...positions, ...positions], images: [] };
}

const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!;

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function requireFinite(name: string, numbers: ArrayLike<number>): void {
  assert(numbers.length > 0 && Array.prototype.every.call(numbers, Number.isFinite), `${name}: a number is not finite`);
}

/** Median seconds of a training step: forward and backward pass of one row of text, and AdamW on the adapter. */
async function train(model: VisionLanguageModel, config: ModelConfig) {
  const batch = packBatch(config, [{ sequence: sequence(sizes.tokens) }]);
  const weight = new Float32Array(batch.targets.length).fill(-1 / batch.targets.length);
  const losses: number[] = [];
  let step = 0;
  const once = () => seconds(async () => {
    const { logp } = await model.accumulate(batch, weight, { adapter: 'lora' });
    const norm = await model.step({ learningRate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxNorm: 1, step: ++step, gradScale: 1 });
    requireFinite('log-probabilities', logp);
    requireFinite('norm of the gradients', [norm]);
    losses.push(-Array.from(logp).reduce((a, b) => a + b, 0) / logp.length);
  });
  const first = await once();
  const times: number[] = [];
  for (let i = 0; i < sizes.steps; i++) times.push(await once());
  await profiled('a training step', once);
  return { tokens: sizes.tokens, targets: batch.targets.length, firstSeconds: first, stepSeconds: median(times), times, tokensPerSecond: sizes.tokens / median(times), losses };
}

/** Tokens a second of greedy generation, prompts read included; the second call, with the plans of the first. */
async function sample(model: VisionLanguageModel, prompts: readonly TokenSequence[]) {
  const options = { adapter: 'lora', maxNewTokens: sizes['new-tokens'], stopIds: [], seed: 1, temperature: 0, lookEvery: sizes['new-tokens'] };
  let prefilled = 0;
  const once = () => seconds(async () => {
    const start = performance.now();
    const completions = await generate(model, prompts, { ...options, onPrefill: () => (prefilled = (performance.now() - start) / 1000) });
    for (const { tokens, logps } of completions) {
      assert.equal(tokens.length, sizes['new-tokens']);
      requireFinite('log-probabilities of a completion', logps);
    }
  });
  const first = await once();
  const time = await once();
  await profiled(`generation of ${prompts.length}`, once);
  const count = prompts.length * sizes['new-tokens'];
  return { prompts: prompts.length, promptTokens: sizes['prompt-tokens'], newTokens: sizes['new-tokens'], firstSeconds: first, seconds: time, prefillSubmittedSeconds: prefilled, tokensPerSecond: count / time };
}

/** What a run takes by kernel and shapes, the most expensive first. */
async function profiled(name: string, work: () => Promise<unknown>): Promise<void> {
  if (values.profile !== true) return;
  engine.kernels = new Map();
  await work();
  const rows = [...engine.kernels].toSorted((a, b) => b[1].microseconds - a[1].microseconds);
  engine.kernels = undefined;
  console.log(`${name}: ${(rows.reduce((s, [, k]) => s + k.microseconds, 0) / 1000).toFixed(1)} ms of kernels`);
  for (const [kernel, { count, microseconds }] of rows.slice(0, 30)) console.log(`  ${(microseconds / 1000).toFixed(2).padStart(9)} ms ${String(count).padStart(6)} x ${kernel}`);
}

const config = configOf(sizes);
const device = await openDevice({ experimental: values.half === true });
const engine = new ListingEngine(device, { ...(values.tune === true ? { tuner: new KernelTuner() } : {}), ...(values.half === true ? { matmulPrecision: 'f16' as const } : {}) });
const { adapter } = device;
console.log(`adapter: ${adapter.description || adapter.vendor}, ${adapter.features.join(' ')}, largest binding ${adapter.maxStorageBufferBindingSize}, buffer ${adapter.maxBufferSize}, subgroups ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize}`);

const rollouts = { prompts: 8, perPrompt: 1, promptTokens: sizes['prompt-tokens'], maxNewTokens: sizes['new-tokens'] };
const predicted = await estimate(config, {
  tokens: sizes.tokens, quantisation: { bits: 4 }, lora: { r: sizes.rank }, rollouts, checkpointing: values.checkpointing === true,
  limits: { maxBufferSize: adapter.maxBufferSize, memory: Infinity },
});
console.log('estimate:', JSON.stringify(predicted));

let model!: VisionLanguageModel;
const loadSeconds = await seconds(async () => {
  model = randomModel(engine, config, values.checkpointing === true);
  model.addAdapter('lora', loraConfig({ r: sizes.rank }), 1);
  model.setTrainable({ adapter: 'lora' });
  await engine.device.gpu.queue.onSubmittedWorkDone();
});
const heldBytes = engine.counters.bytes;
console.log(`model made in ${loadSeconds.toFixed(1)} s, ${heldBytes} bytes`);
while (values.after !== undefined && !existsSync(values.after as string)) await new Promise((r) => setTimeout(r, 50));
const training = await train(model, config);
const trainingPeakBytes = engine.counters.peakBytes;
console.log('training:', JSON.stringify(training), `peak ${trainingPeakBytes}`);
const generation = [];
for (const count of [1, 8]) {
  generation.push(await sample(model, Array.from({ length: count }, () => sequence(sizes['prompt-tokens']))));
  console.log('generation:', JSON.stringify(generation.at(-1)));
}
const { peakBytes, dispatches, compileMs } = engine.counters;
const result = { sizes, checkpointing: values.checkpointing, tuned: values.tune, half: values.half, adapter, node: process.version, estimate: predicted, loadSeconds, heldBytes, training, trainingPeakBytes, generation, peakBytes, dispatches, compileMs };
console.log(`peak ${peakBytes} bytes`);
if (typeof values.out === 'string') await writeFile(values.out, `${JSON.stringify(result, undefined, 1)}\n`);
model.dispose();
engine.dispose();
