import { readFileSync, writeFileSync } from 'node:fs';
import { floatTensor, memoryFiles, openCheckpoint, serializeSafetensors, VisionLanguageModel } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { alignMerger } from '../src/base/align.ts';
import { drawScenes, encodePool } from '../src/base/scenes.ts';
import { measureBase, pretrainText, TINY_BASE_MIX } from '../src/base/text.ts';
import { makeTiny } from '../src/base/tiny.ts';
import { WordCodec } from '../src/base/words.ts';

const [dir = '.cache/base', from = 'vision', to = 'base', poolText = '6000', mixText = '4500000', repeatText = '800000', drillText = '600000'] = process.argv.slice(2);
const tiny = makeTiny();
const engine = new WebGpuEngine(await openDevice());
const model = new VisionLanguageModel(engine, tiny.config);
await model.load(await openCheckpoint(memoryFiles({ 'model.safetensors': new Uint8Array(readFileSync(`${dir}/${from}.safetensors`)) })));
if (from === 'vision') {
  const vision = await model.tensors();
  const d = tiny.config.hiddenSize;
  model.initialise(12, (name, shape) => (name.includes('embed_tokens') ? 0.3 : /(o_proj|down_proj)/.test(name) ? 0.02 : 1 / Math.sqrt(shape[1] ?? d)));
  const files = new Map(await model.tensors());
  for (const [k, v] of vision) if (k.startsWith('model.visual.')) files.set(k, v);
  await model.load(await openCheckpoint(memoryFiles({ 'model.safetensors': serializeSafetensors(files) })));
}
// A better tower under a decoder that was trained before: its weights take the place of the old ones.
if (process.env['VISION'] !== undefined) {
  const tower = await openCheckpoint(memoryFiles({ 'model.safetensors': new Uint8Array(readFileSync(process.env['VISION'])) }));
  const files = new Map(await model.tensors());
  for (const [k, v] of files) if (k.startsWith('model.visual.')) files.set(k, floatTensor(await tower.readFloat32(k), v.shape));
  await model.load(await openCheckpoint(memoryFiles({ 'model.safetensors': serializeSafetensors(files) })));
}
const started = Date.now();
const clock = () => ((Date.now() - started) / 1000).toFixed(0);
const pool = await drawScenes(tiny.config, 20261121, 0, Number(poolText));
const held = await drawScenes(tiny.config, 20261121, 1_000_000, 320);
console.log(clock(), 'drawn');
const codec = new WordCodec(tiny.tokenizer);
const dataOf = async (p: typeof pool) => ({ scenes: p.scenes, cells: Array.from({ length: p.size }, (_, i) => p.get(i).cells), features: await encodePool(model, p) });
if (process.env['ALIGN'] === '1') {
  const some = await drawScenes(tiny.config, 20261121, 0, Math.min(1500, pool.size));
  console.log(clock(), 'aligned: explains', (await alignMerger(model, codec, await dataOf(some))).toFixed(3), 'of the word sums');
}
const data = await dataOf(pool);
const test = await dataOf(held);
console.log(clock(), 'encoded');
let sums: Record<string, [number, number]> = {};
let lastMeasure = 0;
const save = async (name: string) => writeFileSync(`${dir}/${name}.safetensors`, serializeSafetensors(await model.tensors()));
const measuring: Promise<void>[] = [];
await pretrainText(model, codec, data, {
  seed: 21, learningRate: Number(process.env['RATE'] ?? 2e-3), batchTokens: 3000, repeatTokens: Number(repeatText), drillTokens: Number(drillText), mix: TINY_BASE_MIX.slice(Number(process.env['PHASE'] ?? 0)).map((p, _, all) => ({ ...p, tokens: (p.tokens * Number(mixText)) / all.reduce((n, q) => n + q.tokens, 0) })),
  onStep({ phase, step, tokens, losses }) {
    for (const [k, v] of Object.entries(losses)) sums[k] = [(sums[k]?.[0] ?? 0) + v, (sums[k]?.[1] ?? 0) + 1];
    if (step % 20 === 0) {
      console.log(clock(), phase, 'step', step, 'tokens', tokens, Object.entries(sums).map(([k, [a, n]]) => `${k} ${(a / n).toFixed(3)}`).join(' '));
      sums = {};
    }
    if (tokens - lastMeasure > 500_000) {
      lastMeasure = tokens;
      measuring.push(save(`${to}-partial`));
    }
  },
});
await Promise.all(measuring);
await save(to);
console.log(clock(), JSON.stringify(await measureBase(model, codec, test, { depths: [1, 2, 3], perDepth: 192, seed: 1 })));
engine.dispose();
