/**
 * @file First stage of the tiny base: the vision tower learns to see. Dense targets from the scene graph: for every
 * merged cell whether an object's centre lies in it, and that object's shape, colour, size and material.
 */
import { COLORS, MATERIALS, type ObjectType, SHAPES, SIZES } from '@trimpi/datasets';
import type { VisionLanguageModel } from '@trimpi/model';
import { backward, Graph, HYPER_LENGTH, logSoftmax, matmul, packHyper, ParameterStore, PhiloxStream, type Plan, type PlanInputs, type Tensor } from '@trimpi/runtime';
import { checkFinite } from '../errors.ts';
import { BatchLayout, type Picture } from './layout.ts';
import type { CropPool, ScenePool } from './scenes.ts';
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
  /** Scenes of a step. */
  readonly batch: number;
  /** Crops of a step; none by default. */
  readonly crops?: number;
  readonly learningRate: number;
  readonly seed: number;
}

/** Share of held-out objects all of whose four attributes are right, and of right cells by head. */
export interface VisionScore {
  readonly allFour: number;
  readonly byHead: Readonly<Record<string, number>>;
}

interface VisionBatch {
  readonly data: PlanInputs;
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly targets: Readonly<Record<string, Int32Array>>;
}

/** Trains tower and merger under heads of their own. All state besides the stores is `step`: order and flips are functions of the seed. */
export class VisionPretrainer {
  step = 0;
  /** What is trained, with its moments. */
  readonly stores: readonly ParameterStore[];
  readonly #model: VisionLanguageModel;
  readonly #pool: ScenePool;
  readonly #crops: CropPool | undefined;
  readonly #options: VisionTraining;
  readonly #heads: ParameterStore;
  readonly #plans = new Map<boolean, Promise<Plan>>();
  readonly #layouts = new Map<boolean, BatchLayout>();
  #epoch: { readonly index: number; readonly order: readonly Picture[] } | undefined;
  #ahead: { readonly step: number; readonly inputs: VisionBatch } | undefined;

  constructor(model: VisionLanguageModel, pool: ScenePool, options: VisionTraining, crops?: CropPool) {
    this.#model = model;
    this.#pool = pool;
    this.#crops = crops;
    this.#options = options;
    const width = model.config.vision.outHiddenSize;
    this.#heads = new ParameterStore(model.engine, 'vision-heads', HEADS.map(([name, n]) => ({ name, shape: [n, width] })));
    this.#heads.setTrainable(true);
    const random = new PhiloxStream(options.seed, 0x715);
    for (const [name, n] of HEADS) this.#heads.write(name, Float32Array.from({ length: n * width }, () => random.normal() / Math.sqrt(width)));
    model.setTrainable('vision');
    this.stores = [model.vision, this.#heads];
  }

  get finished(): boolean {
    return this.step >= this.#options.steps;
  }

  /** One update; the mean loss of each head. */
  async next(): Promise<Record<string, number>> {
    const { learningRate, steps } = this.#options;
    const step = this.step + 1;
    const plan = await this.#plan(true);
    const { data, weights, targets } = this.#ahead?.step === this.step ? this.#ahead.inputs : this.#trainingInputs(this.step);
    const hyper = packHyper({ learningRate: scheduled(learningRate, step, steps, 60), beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    const running = plan.run({ ...data, ...weights, hyper }, HEADS.map(([name]) => `logp.${name}`));
    // The device has its work by the next turn of the event loop; meanwhile the next batch is made.
    await new Promise((r) => setTimeout(r));
    if (step < steps) this.#ahead = { step, inputs: this.#trainingInputs(step) };
    const out = await running;
    const losses = Object.fromEntries(HEADS.map(([name]) => {
      const n = targets[`target.${name}`]!.reduce((a, x) => a + (x >= 0 ? 1 : 0), 0);
      return [name, -Array.from(out[`logp.${name}`]!).reduce((a, b) => a + b, 0) / Math.max(1, n)];
    }));
    checkFinite(`step ${step} (vision)`, losses);
    this.step = step;
    return losses;
  }

  /** The batch of a step, counted from 0. */
  #trainingInputs(step: number): VisionBatch {
    const { batch, crops = 0 } = this.#options;
    return this.#inputsOf(true, [
      ...Array.from({ length: batch }, (_, i) => this.#pick(step * batch + i)),
      ...Array.from({ length: crops }, (_, i): Picture => ({ pool: this.#crops!, index: (step * crops + i) % this.#crops!.size })),
    ]);
  }

  /** On scenes that were never trained on; those that do not fill a batch are left out. */
  async measure(held: ScenePool): Promise<VisionScore> {
    const { batch } = this.#options;
    const right: Record<string, number> = Object.fromEntries(HEADS.map(([name]) => [name, 0]));
    const counted: Record<string, number> = { ...right };
    let allFour = 0;
    let objects = 0;
    const plan = await this.#plan(false);
    const { cells } = this.#layout(false);
    for (let i = 0; i + batch <= held.size; i += batch) {
      const { data, targets } = this.#inputsOf(false, Array.from({ length: batch }, (_, j) => ({ pool: held, index: i + j })));
      const out = await plan.run(data, HEADS.map(([name]) => `logits.${name}`));
      for (let c = 0; c < cells; c++) {
        let all = true;
        for (const [name, n] of HEADS) {
          const target = targets[`target.${name}`]![c]!;
          if (target < 0) continue;
          const logits = out[`logits.${name}`]!.subarray(c * n, (c + 1) * n);
          counted[name]!++;
          if (logits.indexOf(Math.max(...logits)) === target) right[name]!++;
          else if (name !== 'object') all = false;
        }
        if (targets['target.object']![c] === 1) {
          objects++;
          if (all) allFour++;
        }
      }
    }
    return { allFour: allFour / Math.max(1, objects), byHead: Object.fromEntries(HEADS.map(([name]) => [name, right[name]! / Math.max(1, counted[name]!)])) };
  }

  dispose(): void {
    for (const plan of this.#plans.values()) void plan.then((p) => p.dispose(), () => undefined);
    this.#heads.dispose();
    this.#model.setTrainable();
  }

  /** Image number `index` of the whole training: every image once an epoch, in an order and mirrored as the seed says. */
  #pick(index: number): Picture {
    const pool = this.#pool;
    const epoch = Math.floor(index / pool.size);
    if (this.#epoch?.index !== epoch) {
      const random = new PhiloxStream(this.#options.seed, 0x10000 + epoch);
      this.#epoch = { index: epoch, order: random.shuffle(Array.from({ length: pool.size }, (_, i) => ({ pool, index: i, mirrored: random.next() < 0.5 }))) };
    }
    return this.#epoch.order[index % pool.size]!;
  }

  #plan(train: boolean): Promise<Plan> {
    let plan = this.#plans.get(train);
    if (plan === undefined) this.#plans.set(train, (plan = this.#model.engine.compile(this.#record(train))));
    return plan;
  }

  #record(train: boolean): Graph {
    const g = new Graph();
    const layout = this.#layout(train);
    const { cells } = layout;
    const rows = layout.record(this.#model, g);
    const seeds: [Tensor, Tensor][] = [];
    for (const [name] of HEADS) {
      const logits = matmul(rows, this.#heads.tensor(g, name), { transposeB: true });
      g.output(`logits.${name}`, logits);
      const { logp } = logSoftmax(logits, g.input(`target.${name}`, [cells], 'i32'));
      g.output(`logp.${name}`, logp);
      if (train) seeds.push([logp, g.input(`weight.${name}`, [cells])]);
    }
    if (train) {
      backward(g, seeds);
      const hyper = g.input('hyper', [HYPER_LENGTH]);
      // The shipped bases were made so: tower and heads, which are thrown away after, are each clipped by their own norm.
      for (const store of this.stores) store.recordAdamW(g, hyper);
    }
    return g;
  }

  /** Crops are only trained on. */
  #layout(train: boolean): BatchLayout {
    let layout = this.#layouts.get(train);
    if (layout === undefined) {
      const { batch, crops = 0 } = this.#options;
      this.#layouts.set(train, (layout = new BatchLayout(this.#model.config, Array.from({ length: batch + (train ? crops : 0) }, (_, i) => (i < batch ? this.#pool : this.#crops!)))));
    }
    return layout;
  }

  #inputsOf(train: boolean, pictures: readonly Picture[]): VisionBatch {
    const layout = this.#layout(train);
    const { cells } = layout;
    const targets: Record<string, Int32Array> = Object.fromEntries(HEADS.map(([name]) => [`target.${name}`, new Int32Array(cells).fill(-1)]));
    let objects = 0;
    let at = 0;
    for (const picture of pictures) {
      for (const o of this.#objectsOf(picture)) {
        targets['target.object']![at] = o === undefined ? 0 : 1;
        if (o !== undefined) {
          objects++;
          targets['target.shape']![at] = SHAPES.indexOf(o.shape);
          targets['target.color']![at] = COLORS.indexOf(o.color);
          targets['target.size']![at] = SIZES.indexOf(o.size);
          targets['target.material']![at] = MATERIALS.indexOf(o.material);
        }
        at++;
      }
    }
    const weights: Record<string, Float32Array> = Object.fromEntries(
      HEADS.map(([name]) => [`weight.${name}`, Float32Array.from(targets[`target.${name}`]!, (t) => (t < 0 ? 0 : name === 'object' ? -4 / cells : -1 / objects))]),
    );
    return { data: { ...layout.inputs(pictures), ...targets }, weights, targets };
  }

  /** What lies in each cell of a picture. */
  #objectsOf({ pool, index, mirrored = false }: Picture): (ObjectType | undefined)[] {
    const { patchSize, spatialMergeSize } = this.#model.config.vision;
    const columns = pool.width / (patchSize * spatialMergeSize);
    const own = pool.objects(index);
    return own.map((_, c) => own[mirrored ? c - (c % columns) + (columns - 1 - (c % columns)) : c]);
  }
}
