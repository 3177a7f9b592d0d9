/**
 * @file First stage of the tiny base: the vision tower learns to see. Dense targets from the scene graph: for every
 * merged cell whether an object's centre lies in it, and that object's shape, colour, size and material.
 */
import { COLORS, MATERIALS, SHAPES, SIZES } from '@trimpi/datasets';
import { type VisionLanguageModel } from '@trimpi/model';
import { backward, gatherRows, Graph, HYPER_LENGTH, logSoftmax, matmul, packHyper, ParameterStore, PhiloxStream, type Tensor } from '@trimpi/runtime';
import { packVisionInputs, recordVisionTower } from '@trimpi/model';
import type { ScenePool } from './scenes.ts';
import { scheduled } from './schedule.ts';

const HEADS = [
  ['object', 2],
  ['shape', SHAPES.length],
  ['color', COLORS.length],
  ['size', SIZES.length],
  ['material', MATERIALS.length],
] as const;

export interface VisionTraining {
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly onStep?: (step: number, losses: Record<string, number>) => void;
}

/** Trains the tower and its merger. Returns the share of held-out objects all of whose four attributes are right. */
export async function pretrainVision(model: VisionLanguageModel, pool: ScenePool, held: ScenePool, options: VisionTraining): Promise<{ readonly allFour: number; readonly byHead: Record<string, number> }> {
  const { engine, config } = model;
  const width = config.vision.outHiddenSize;
  const heads = new ParameterStore(engine, 'vision-heads', HEADS.map(([name, n]) => ({ name, shape: [n, width] })));
  heads.setTrainable(true);
  const random = new PhiloxStream(options.seed, 0x715);
  for (const [name, n] of HEADS) heads.write(name, Float32Array.from({ length: n * width }, () => (random.normal() * 1) / Math.sqrt(width)));
  model.setTrainable('vision');

  const record = (train: boolean) => {
    const g = new Graph();
    const merge = config.vision.spatialMergeSize ** 2;
    const cells = options.batch * 32;
    const features = recordVisionTower(model, g, cells * merge);
    // Targets are given in the order in which the tower puts cells out.
    const index = g.input('rows', [cells], 'i32');
    const inverse = g.input('inverse', [cells], 'i32');
    const rows = gatherRows(features, index, inverse);
    const seeds: [Tensor, Tensor][] = [];
    for (const [name] of HEADS) {
      const logits = matmul(rows, heads.tensor(g, name), { transposeB: true });
      g.output(`logits.${name}`, logits);
      const { logp } = logSoftmax(logits, g.input(`target.${name}`, [cells], 'i32'));
      g.output(`logp.${name}`, logp);
      if (train) seeds.push([logp, g.input(`weight.${name}`, [cells])]);
    }
    if (train) {
      backward(g, seeds);
      const hyper = g.input('hyper', [HYPER_LENGTH]);
      g.output('norm2', model.vision.recordAdamW(g, hyper));
      heads.recordAdamW(g, hyper);
    }
    return g;
  };
  const trainPlan = await engine.compile(record(true));
  const evalPlan = await engine.compile(record(false));

  const inputsOf = (source: ScenePool, picks: readonly [number, boolean][]) => {
    const items = picks.map(([i, flip]) => source.get(i, flip));
    const { inputs, rowOfCell } = packVisionInputs(config, items.map((s) => s.image));
    const cells = items.length * 32;
    const targets: Record<string, Int32Array> = Object.fromEntries(HEADS.map(([name]) => [`target.${name}`, new Int32Array(cells).fill(-1)]));
    let objects = 0;
    items.forEach(({ scene, cells: own }, s) => {
      own.forEach((object, c) => {
        const at = s * 32 + c;
        targets['target.object']![at] = object < 0 ? 0 : 1;
        if (object < 0) return;
        objects++;
        const o = scene.objects[object]!;
        targets['target.shape']![at] = SHAPES.indexOf(o.shape);
        targets['target.color']![at] = COLORS.indexOf(o.color);
        targets['target.size']![at] = SIZES.indexOf(o.size);
        targets['target.material']![at] = MATERIALS.indexOf(o.material);
      });
    });
    const weights: Record<string, Float32Array> = Object.fromEntries(
      HEADS.map(([name]) => [`weight.${name}`, Float32Array.from(targets[`target.${name}`]!, (t) => (t < 0 ? 0 : name === 'object' ? -4 / cells : -1 / objects))]),
    );
    const inverse = new Int32Array(cells);
    rowOfCell.forEach((row, cell) => (inverse[row] = cell));
    return { data: { ...inputs, rows: rowOfCell, inverse, ...targets }, weights, targets };
  };

  let order: [number, boolean][] = [];
  for (let step = 1; step <= options.steps; step++) {
    while (order.length < options.batch) {
      order = [...order, ...random.shuffle(Array.from({ length: pool.size }, (_, i): [number, boolean] => [i, random.next() < 0.5]))];
    }
    const { data, weights, targets } = inputsOf(pool, order.splice(0, options.batch));
    const hyper = packHyper({ learningRate: scheduled(options.learningRate, step, options.steps, 60), beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    const out = await trainPlan.run({ ...data, ...weights, hyper }, HEADS.map(([name]) => `logp.${name}`));
    if (options.onStep !== undefined) {
      options.onStep(step, Object.fromEntries(HEADS.map(([name]) => {
        const t = targets[`target.${name}`]!;
        const n = t.reduce((a, x) => a + (x >= 0 ? 1 : 0), 0);
        return [name, -Array.from(out[`logp.${name}`]!).reduce((a, b) => a + b, 0) / Math.max(1, n)];
      })));
    }
  }

  const right: Record<string, number> = Object.fromEntries(HEADS.map(([name]) => [name, 0]));
  const counted: Record<string, number> = { ...right };
  let allFour = 0;
  let objects = 0;
  for (let i = 0; i + options.batch <= held.size; i += options.batch) {
    const { data, targets } = inputsOf(held, Array.from({ length: options.batch }, (_, j): [number, boolean] => [i + j, false]));
    const out = await evalPlan.run(data, HEADS.map(([name]) => `logits.${name}`));
    for (let c = 0; c < options.batch * 32; c++) {
      let all = true;
      for (const [name, n] of HEADS) {
        const target = targets[`target.${name}`]![c]!;
        if (target < 0) continue;
        const logits = out[`logits.${name}`]!.subarray(c * n, (c + 1) * n);
        const best = logits.indexOf(Math.max(...logits));
        counted[name]!++;
        if (best === target) right[name]!++;
        else if (name !== 'object') all = false;
      }
      if (targets['target.object']![c] === 1) {
        objects++;
        if (all) allFour++;
      }
    }
  }
  trainPlan.dispose();
  evalPlan.dispose();
  heads.dispose();
  model.setTrainable();
  return { allFour: allFour / Math.max(1, objects), byHead: Object.fromEntries(HEADS.map(([name]) => [name, right[name]! / Math.max(1, counted[name]!)])) };
}
