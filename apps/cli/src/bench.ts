/** @file `trimpi bench`: what this machine's adapter makes of the kernels and of the tiny base. */
import { loadavg } from 'node:os';
import type { Command } from 'commander';
import { generate, getRopeIndex, loraConfig, openCheckpoint, packBatch, parseConfig, requireText, type TokenSequence, VisionLanguageModel } from '@trimpi/model';
import { tinyBase } from '@trimpi/pipeline/node';
import { attention, Graph, KernelTuner, matmul, openDevice, type Plan, WebGpuEngine } from '@trimpi/runtime';
import { examples, integer } from './options.ts';
import { fileTuningStore } from './tuning.ts';

interface BenchOptions {
  readonly turns: number;
  readonly tune?: string;
  readonly json?: boolean;
}

interface Line {
  readonly name: string;
  /** Median of the turns. */
  readonly ms: number;
  readonly rate: number;
  readonly unit: 'GFLOP/s' | 'tokens/s';
}

export function benchCommand(program: Command): void {
  program
    .command('bench')
    .description("how fast this machine's adapter is: matrix products, attention, training and sampling of the tiny base")
    .option('--turns <n>', 'measurements of each, of which the median counts', integer(1, 1000), 7)
    .option('--tune <file>', 'measure the variants of the matrix product first, and keep what was fastest in this file')
    .option('--json', 'one JSON object')
    .addHelpText('after', `${examples('trimpi bench', 'trimpi bench --turns 20 --json', 'trimpi bench --tune tuning.json')}\n\nBeside other libraries, in one run: npm run bench in the repository (docs/benchmarks.md).`)
    .action(bench);
}

async function bench({ turns, tune, json = false }: BenchOptions): Promise<void> {
  const device = await openDevice();
  const engine = new WebGpuEngine(device, tune === undefined ? {} : { tuner: new KernelTuner(fileTuningStore(tune)) });
  const lines: Line[] = [];
  const measure = async (name: string, work: () => Promise<unknown>, amount: number, unit: Line['unit']) => {
    // The first turn compiles.
    const times: number[] = [];
    for (let turn = -1; turn < turns; turn++) {
      const start = performance.now();
      await work();
      if (turn >= 0) times.push(performance.now() - start);
    }
    const ms = times.toSorted((a, b) => a - b)[times.length >> 1]!;
    const line: Line = { name, ms, rate: unit === 'GFLOP/s' ? amount / ms / 1e6 : (amount * 1000) / ms, unit };
    lines.push(line);
    if (!json) console.log(`${name.padEnd(44)} ${ms.toFixed(2).padStart(9)} ms ${line.rate.toFixed(line.rate < 100 ? 1 : 0).padStart(8)} ${unit}`);
  };
  const run = (plan: Plan) => () => plan.run({}, ['y']);
  try {
    if (!json) console.log(`${device.adapter.vendor} ${device.adapter.description}${device.adapter.software ? ' (software)' : ''}, load average ${loadavg()[0]!.toFixed(1)}`);
    for (const [m, k, n] of [[768, 768, 768], [4096, 160, 480], [16, 1024, 1024]] as const) {
      const g = new Graph();
      g.output('y', matmul(g.input('a', [m, k]), g.input('b', [n, k]), { transposeB: true }));
      await measure(`matrix product ${m} x ${k} x ${n}`, run(await engine.compile(g)), 2 * m * k * n, 'GFLOP/s');
    }
    const [t, heads, headDim] = [512, 4, 64];
    const g = new Graph();
    const qkv = g.input('qkv', [t, 3 * heads * headDim]);
    g.output('y', attention(qkv, qkv, qkv, { heads, kvHeads: heads, headDim, queryRanges: g.input('ranges', [t, 6], 'u32'), columns: [0, heads * headDim, 2 * heads * headDim] }));
    const causal = await engine.compile(g);
    await causal.run({ ranges: Uint32Array.from({ length: 6 * t }, (_, i) => (i % 6 === 1 ? Math.floor(i / 6) + 1 : 0)) });
    await measure(`causal attention, ${t} tokens, ${heads} heads of ${headDim}`, run(causal), 2 * t * (t + 1) * heads * headDim, 'GFLOP/s');
    await benchModel(engine, measure);
    if (json) console.log(JSON.stringify({ adapter: device.adapter, turns, loadAverage: loadavg()[0], results: lines }));
  } finally {
    engine.dispose();
  }
}

/** Training and sampling of the base that is shipped. */
async function benchModel(engine: WebGpuEngine, measure: (name: string, work: () => Promise<unknown>, amount: number, unit: Line['unit']) => Promise<void>): Promise<void> {
  const files = tinyBase();
  const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
  const model = new VisionLanguageModel(engine, config);
  try {
    await model.load(await openCheckpoint(files));
    model.addAdapter('bench', loraConfig({ r: 8 }), 1);
    model.setTrainable({ adapter: 'bench' });
    const sequence = (length: number, row: number): TokenSequence => {
      const inputIds = Array.from({ length }, (_, i) => 20 + ((row * 31 + i * 17) % 400));
      return { inputIds, positionIds: getRopeIndex(inputIds, [], config).positionIds, images: [] };
    };
    const batch = packBatch(config, Array.from({ length: 24 }, (_, r) => ({ sequence: sequence(128, r) })));
    let step = 0;
    await measure('tiny base: a training step with LoRA', async () => {
      await model.accumulate(batch, new Float32Array(batch.targets.length).fill(-1 / batch.targets.length), { adapter: 'bench' });
      await model.step({ learningRate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxNorm: 1, step: ++step, gradScale: 1 });
    }, batch.tokens, 'tokens/s');
    const prompts = Array.from({ length: 16 }, (_, r) => sequence(64, r));
    await measure('tiny base: 8 completions of 16 prompts', () => generate(model, prompts, { maxNewTokens: 24, stopIds: [], seed: 1, promptOf: Array.from({ length: 128 }, (_, i) => i >> 3) }), 128 * 24, 'tokens/s');
  } finally {
    model.dispose();
  }
}
