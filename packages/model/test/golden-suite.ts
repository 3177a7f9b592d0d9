/** @file The golden cases of transformers and PEFT, defined once for Node and for browsers. */
import type { Engine } from '@trimpi/runtime';
import { expect, it } from 'vitest';
import { generate, getRopeIndex, type GridThw, loraConfig, memoryFiles, type PackedBatch, readAdapter, type Scores, type VisionLanguageModel } from '../src/index.ts';
import { goldenCase, goldenModel, openGolden, readBytes, readJson } from './golden-cases.ts';

export const CASES = ['case_single', 'case_batch_right_pad', 'case_text_only'];

/** Tolerances of the golden set's README for a float32 implementation. */
const HIDDEN = 5e-4;
const LOGITS = 1e-3;

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i]! - want[i]!));
  return Number.isNaN(most) ? Infinity : most;
}

/** The mean loss of the golden labels and its gradient with respect to each predicted token's log-probability. */
function loss(scores: Scores): number {
  return -Array.from(scores.logp).reduce((a, b) => a + b, 0) / scores.logp.length;
}

/** Hidden states of every layer, logits, log-probabilities and entropy of transformers. */
export function goldenForward(engine: Engine, names: readonly string[]): void {
  it.each(names)('%s: hidden states of every layer, logits, log-probabilities, entropy', async (name) => {
    const { batch, get, file, tokenPlaces, length } = await goldenCase(name);
    const model = await goldenModel(engine);
    const vision = batch.vision === undefined ? [] : ['vision.patch_embed', 'vision.block.0', 'vision.block.1', 'vision.block.2'];
    const text = ['text.layer.0', 'text.layer.1'];
    const out = await model.inspect(batch, ['text.embedded', ...vision, ...text, 'logits', 'logp', 'entropy']);
    // The tower's rows are in window order, as the golden blocks; the patch embedding is golden in input order.
    for (const key of vision.slice(1)) expect(largest(out[key]!, await get(`fw.${key}`)), key).toBeLessThan(HIDDEN);
    const rowsOf = async (key: string, width: number) => {
      const all = await get(key);
      return Float32Array.from(tokenPlaces.flatMap(([r, i]) => [...all.subarray((r * length + i) * width, (r * length + i + 1) * width)]));
    };
    expect(largest(out['text.embedded']!, await rowsOf('fw.text.inputs_embeds', 64)), 'embedded').toBeLessThan(HIDDEN);
    for (const key of text) expect(largest(out[key]!, await rowsOf(`fw.${key}`, 64)), key).toBeLessThan(HIDDEN);
    const logits = await get('fw.logits');
    const logp = await get('fw.token_logprobs');
    const entropy = await get('fw.token_entropy');
    batch.predictors.forEach((token, i) => {
      const [r, at] = tokenPlaces[token]!;
      expect(largest(out['logits']!.subarray(i * 528, (i + 1) * 528), logits.subarray((r * length + at) * 528, (r * length + at + 1) * 528)), `logits ${r},${at}`).toBeLessThan(LOGITS);
      expect(Math.abs(out['logp']![i]! - logp[r * (length - 1) + at]!)).toBeLessThan(LOGITS);
      expect(Math.abs(out['entropy']![i]! - entropy[r * (length - 1) + at]!)).toBeLessThan(LOGITS);
    });
    expect(batch.predictors.length).toBeGreaterThan(10);
    expect(file.tensors.size).toBeGreaterThan(5);
    model.dispose();
  });
}

/** The golden loss is the mean over labels that are not -100. */
async function labelled(name: string): Promise<PackedBatch> {
  return (await goldenCase(name, (label) => label >= 0)).batch;
}

async function adapterModel(engine: Engine): Promise<VisionLanguageModel> {
  const model = await goldenModel(engine);
  const files = memoryFiles({ 'adapter_config.json': JSON.stringify(readJson('adapter_text/adapter_config.json')), 'adapter_model.safetensors': readBytes('adapter_text/adapter_model.safetensors') });
  model.loadAdapter('golden', await readAdapter(files, model.config));
  return model;
}

/** Loss, gradients, merging and a training run of PEFT's adapters. */
export function goldenLora(engine: Engine): void {
  it.each(['single', 'batch_right_pad'])('%s: loss and every gradient', async (name) => {
    const golden = await openGolden('lora_text');
    const batch = await labelled(`case_${name}`);
    const model = await adapterModel(engine);
    model.setTrainable({ adapter: 'golden' });
    const n = batch.targets.length;
    const scores = await model.accumulate(batch, new Float32Array(n).fill(-1 / n), { adapter: 'golden' });
    expect(Math.abs(loss(scores) - (await golden.readFloat32(`${name}.loss`))[0]!)).toBeLessThan(1e-4);
    const gradients = await model.adapter('golden').read('gradients');
    expect(gradients.size).toBe(14);
    for (const [module, { loraA, loraB }] of gradients) {
      for (const [part, got] of [['lora_A', loraA], ['lora_B', loraB]] as const) {
        const want = await golden.readFloat32(`${name}.grad.${module}.${part}.weight`);
        want.forEach((g, i) => expect(Math.abs(got[i]! - g), `${module}.${part}[${i}]`).toBeLessThan(1e-3 * (1 + Math.abs(g))));
      }
    }
    model.dispose();
  });

  it('merging an adapter gives the same log-probabilities as wearing it', async () => {
    const batch = await labelled('case_single');
    const model = await adapterModel(engine);
    const worn = await model.score(batch, { adapter: 'golden' });
    await model.merge('golden');
    const merged = await model.score(batch);
    expect(largest(merged.logp, worn.logp)).toBeLessThan(1e-4);
    expect(largest(worn.logp, (await (await goldenModel(engine)).score(batch)).logp)).toBeGreaterThan(0.1);
    model.dispose();
  });

  it('six AdamW steps with clipping: losses, gradient norms and final factors', async () => {
    const golden = await openGolden('lora_train_adamw');
    const settings = golden.metadata;
    // The golden run alternates between its two batches.
    const batches = [await labelled('case_single'), await labelled('case_batch_right_pad')] as const;
    const model = await goldenModel(engine);
    const adapter = model.addAdapter('fresh', loraConfig({ r: 4, loraAlpha: 8 }), 0);
    const of = async (prefix: string) => {
      const out = new Map<string, { loraA: Float32Array; loraB: Float32Array }>();
      for (const t of adapter.targets) out.set(t.name, { loraA: await golden.readFloat32(`${prefix}.${t.name}.lora_A.weight`), loraB: await golden.readFloat32(`${prefix}.${t.name}.lora_B.weight`) });
      return out;
    };
    adapter.write(await of('init'));
    model.setTrainable({ adapter: 'fresh' });
    const losses = await golden.readFloat32('adamw.losses');
    const norms = await golden.readFloat32('adamw.gradnorms');
    for (let step = 1; step <= losses.length; step++) {
      const batch = batches[(step - 1) % 2]!;
      const n = batch.targets.length;
      const scores = await model.accumulate(batch, new Float32Array(n).fill(-1 / n), { adapter: 'fresh' });
      expect(Math.abs(loss(scores) - losses[step - 1]!), `loss ${step}`).toBeLessThan(1e-3);
      const norm = await model.step({
        learningRate: Number(settings['lr']), beta1: Number(settings['beta1']), beta2: Number(settings['beta2']), eps: Number(settings['eps']),
        weightDecay: Number(settings['weight_decay']), maxNorm: Number(settings['max_norm']), step, gradScale: 1,
      });
      expect(Math.abs(norm - norms[step - 1]!) / norms[step - 1]!, `norm ${step}`).toBeLessThan(5e-3);
    }
    const final = await of('adamw.final');
    for (const [module, { loraA, loraB }] of await adapter.read()) {
      expect(largest(loraA, final.get(module)!.loraA), module).toBeLessThan(2e-3);
      expect(largest(loraB, final.get(module)!.loraB), module).toBeLessThan(2e-3);
    }
    model.dispose();
  });
}

/** Greedy ids of transformers. */
export function goldenGreedy(engine: Engine): void {
  it('greedy generation', async () => {
    const golden = await openGolden('generate_single');
    const single = await openGolden('case_single');
    const model = await goldenModel(engine);
    const ids = Array.from(await golden.readFloat32('in.prompt_ids'));
    const grid = await single.readFloat32('in.image_grid_thw');
    const pixels = await single.readFloat32('in.pixel_values');
    const grids: GridThw[] = [[grid[0]!, grid[1]!, grid[2]!], [grid[3]!, grid[4]!, grid[5]!]];
    const first = grids[0]![0] * grids[0]![1] * grids[0]![2] * 1176;
    const images = [{ gridThw: grids[0]!, pixelValues: pixels.slice(0, first) }, { gridThw: grids[1]!, pixelValues: pixels.slice(first) }];
    const want = Array.from(await golden.readFloat32('out.sequences')).slice(ids.length);
    const [got] = await generate(model, [{ inputIds: ids, positionIds: getRopeIndex(ids, grids, model.config).positionIds, images }], { temperature: 0, maxNewTokens: want.length, stopIds: [], seed: 1 });
    expect(Array.from(got!.tokens)).toEqual(want);
    model.dispose();
  });
}
