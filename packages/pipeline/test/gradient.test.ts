import { getRopeIndex, type GridThw, loraConfig, packBatch, type PackedBatch, VisionLanguageModel } from '@trimpi/model';
import { type Engine, openDevice, PhiloxStream, ReferenceEngine, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { makeTiny } from '../src/base/tiny.ts';

const device = await openDevice();
afterAll(() => device.dispose());

const TARGETS = String.raw`.*(q_proj|v_proj|o_proj|gate_proj|down_proj|attn\.qkv|merger\.mlp\.2)`;

/** The tiny model (with windows of two cells, so that this image has two) with random weights, an adapter on text and vision whose B is not zero, everything trainable. */
function makeModel(engine: Engine): VisionLanguageModel {
  const { config } = makeTiny();
  const model = new VisionLanguageModel(engine, { ...config, vision: { ...config.vision, windowSize: 32 } }, { maxPositions: 64, maxPatchRows: 16 });
  model.initialise(3, (name, shape) => (name.includes('embed_tokens') ? 0.3 : 0.7 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1))));
  const adapter = model.addAdapter('a', loraConfig({ r: 4, loraAlpha: 8, targetModules: TARGETS }), 5);
  const random = new PhiloxStream(8);
  for (const name of adapter.store.names.filter((n) => n.endsWith('.b'))) {
    adapter.store.write(name, Float32Array.from({ length: adapter.store.shape(name).reduce((a, b) => a * b, 1) }, () => 0.05 * random.normal()));
  }
  model.setTrainable('text', 'vision', { adapter: 'a' });
  return model;
}

/** One image of 3 x 2 cells and text around it. */
function makeBatch(model: VisionLanguageModel): { batch: PackedBatch; dLogp: Float64Array } {
  const { config } = model;
  const random = new PhiloxStream(17);
  const grid: GridThw = [1, 4, 6];
  const pixelValues = Float32Array.from({ length: 24 * 384 }, () => random.normal());
  const inputIds = [3, 40, config.visionStartTokenId, ...Array.from({ length: 6 }, () => config.imageTokenId), config.visionEndTokenId, 7, 300, 12, 44];
  const positionIds = getRopeIndex(inputIds, [grid], config).positionIds;
  const batch = packBatch(config, [{ sequence: { inputIds, positionIds, images: [{ gridThw: grid, pixelValues }] }, completions: [[5, 9, 100, 33], [260, 8]] }]);
  return { batch, dLogp: Float64Array.from(batch.targets, () => random.normal()) };
}

describe('the whole tiny model, images in, LoRA on', () => {
  it('loss on WebGPU is that of the float64 engine, and 200 gradients are its finite differences', { timeout: 1_200_000 }, async () => {
    const gpu = makeModel(new WebGpuEngine(device));
    const reference = makeModel(new ReferenceEngine());
    const { batch, dLogp } = makeBatch(gpu);
    const loss = (logp: ArrayLike<number>) => dLogp.reduce((s, w, i) => s + w * logp[i]!, 0);
    const own = await gpu.accumulate(batch, dLogp, { adapter: 'a' });
    const exact = async () => loss((await reference.score(batch, { adapter: 'a' })).logp);
    expect(Math.abs(loss(own.logp) - (await exact()))).toBeLessThan(1e-3);

    const random = new PhiloxStream(23);
    const stores = [
      [gpu.text, reference.text, 70],
      [gpu.vision, reference.vision, 70],
      [gpu.adapter('a').store, reference.adapter('a').store, 60],
    ] as const;
    let checked = 0;
    let notSmall = 0;
    for (const [store, twin, count] of stores) {
      for (let k = 0; k < count; k++) {
        const name = store.names[random.integer(store.names.length)]!;
        const size = store.shape(name).reduce((a, b) => a * b, 1);
        // Rows of the embedding that the batch does not use have no gradient: look at one it uses.
        const index = name === 'embed_tokens' ? [3, 40, 7, 300, 5][k % 5]! * 160 + random.integer(160) : random.integer(size);
        const gradient = (await store.read(name, 'gradients'))[index]!;
        const values = await twin.read(name);
        const at = values[index]!;
        const h = 1e-3;
        const sides: number[] = [];
        for (const sign of [1, -1]) {
          twin.writeRows(name, index, Float64Array.of(at + sign * h));
          sides.push(await exact());
        }
        twin.writeRows(name, index, Float64Array.of(at));
        const numeric = (sides[0]! - sides[1]!) / (2 * h);
        expect(Math.abs(numeric - gradient), `${store.values.name} ${name}[${index}]: ${gradient} against ${numeric}`).toBeLessThan(2e-3 * (1 + Math.abs(numeric)));
        checked++;
        if (Math.abs(numeric) > 0.01) notSmall++;
      }
    }
    expect(checked).toBe(200);
    expect(notSmall).toBeGreaterThan(50);
  });
});
