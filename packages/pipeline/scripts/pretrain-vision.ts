import { mkdirSync, writeFileSync } from 'node:fs';
import { serializeSafetensors, VisionLanguageModel } from '@trimpi/model';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { drawScenes } from '../src/base/scenes.ts';
import { makeTiny } from '../src/base/tiny.ts';
import { pretrainVision } from '../src/base/vision.ts';

const [out = '.cache/base', stepsText = '1200', poolText = '6000'] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const tiny = makeTiny();
const engine = new WebGpuEngine(await openDevice());
const model = new VisionLanguageModel(engine, tiny.config);
model.initialise(11, (_, shape) => 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)));
const started = Date.now();
const clock = () => ((Date.now() - started) / 1000).toFixed(0);
const pool = await drawScenes(tiny.config, 20261121, 0, Number(poolText), (n) => n % 500 === 0 && console.log(clock(), 'drawn', n));
const held = await drawScenes(tiny.config, 20261121, 1_000_000, 320);
const sums: Record<string, number> = {};
const result = await pretrainVision(model, pool, held, {
  steps: Number(stepsText), batch: 32, learningRate: 2e-3, seed: 5,
  onStep(step, losses) {
    for (const [k, v] of Object.entries(losses)) sums[k] = (sums[k] ?? 0) + v / 20;
    if (step % 20 === 0) {
      console.log(clock(), 'step', step, Object.entries(sums).map(([k, v]) => `${k} ${v.toFixed(3)}`).join(' '));
      for (const k of Object.keys(sums)) sums[k] = 0;
    }
  },
});
console.log(clock(), 'held out', JSON.stringify(result));
writeFileSync(`${out}/vision.safetensors`, serializeSafetensors(await model.tensors()));
engine.dispose();
