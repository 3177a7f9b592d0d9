/**
 * @file First stage of the tiny base: the vision tower learns to see. Dense targets from the scene graph: for every
 * merged cell whether an object's centre lies in it, and that object's shape, colour, size and material.
 */
import { COLORS, MATERIALS, type ObjectType, SHAPES, SIZES } from '@trimpi/datasets';
import { packVisionInputs, recordVisionTower, type VisionLanguageModel } from '@trimpi/model';
import { backward, gatherRows, Graph, HYPER_LENGTH, logSoftmax, matmul, packHyper, ParameterStore, PhiloxStream, type Plan, type PlanInputs, type Tensor } from '@trimpi/runtime';
import { PixelPlacer } from './pixels.ts';
import type { CropPool, PixelPool, ScenePool } from './scenes.ts';
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
  #epoch: { readonly index: number; readonly order: readonly [number, boolean][] } | undefined;

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
    const { batch, crops = 0, learningRate, steps } = this.#options;
    const step = this.step + 1;
    const plan = await this.#plan(true);
    const { data, weights, targets } = this.#inputsOf(true, this.#pool, Array.from({ length: batch }, (_, i) => this.#pick(this.step * batch + i)), Array.from({ length: crops }, (_, i) => (this.step * crops + i) % this.#crops!.size));
    const hyper = packHyper({ learningRate: scheduled(learningRate, step, steps, 60), beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.05, maxNorm: 1, step, gradScale: 1 });
    const out = await plan.run({ ...data, ...weights, hyper }, HEADS.map(([name]) => `logp.${name}`));
    this.step = step;
    return Object.fromEntries(HEADS.map(([name]) => {
      const n = targets[`target.${name}`]!.reduce((a, x) => a + (x >= 0 ? 1 : 0), 0);
      return [name, -Array.from(out[`logp.${name}`]!).reduce((a, b) => a + b, 0) / Math.max(1, n)];
    }));
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
      const { data, targets } = this.#inputsOf(false, held, Array.from({ length: batch }, (_, j): [number, boolean] => [i + j, false]), []);
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
  #pick(index: number): [number, boolean] {
    const { size } = this.#pool;
    const epoch = Math.floor(index / size);
    if (this.#epoch?.index !== epoch) {
      const random = new PhiloxStream(this.#options.seed, 0x10000 + epoch);
      this.#epoch = { index: epoch, order: random.shuffle(Array.from({ length: size }, (_, i): [number, boolean] => [i, random.next() < 0.5])) };
    }
    return this.#epoch.order[index % size]!;
  }

  #plan(train: boolean): Promise<Plan> {
    let plan = this.#plans.get(train);
    if (plan === undefined) this.#plans.set(train, (plan = this.#model.engine.compile(this.#record(train))));
    return plan;
  }

  #record(train: boolean): Graph {
    const g = new Graph();
    const { cells } = this.#layout(train);
    const features = recordVisionTower(this.#model, g, cells * this.#model.config.vision.spatialMergeSize ** 2);
    // Targets are given in raster order; the tower puts cells out in the order of its windows.
    const rows = gatherRows(features, g.input('rows', [cells], 'i32'), g.input('inverse', [cells], 'i32'));
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
      for (const store of this.stores) store.recordAdamW(g, hyper);
    }
    return g;
  }

  /** What all batches of a kind have in common; crops are only trained on. */
  #layout(train: boolean): BatchLayout {
    let layout = this.#layouts.get(train);
    if (layout === undefined) {
      const { config } = this.#model;
      const blocks = [{ pool: this.#pool as PixelPool, count: this.#options.batch }, ...(train && (this.#options.crops ?? 0) > 0 ? [{ pool: this.#crops! as PixelPool, count: this.#options.crops! }] : [])].map(({ pool, count }) => ({ count, placer: new PixelPlacer(config, pool.width, pool.height, 'window') }));
      const { inputs, rowOfCell } = packVisionInputs(config, blocks.flatMap(({ count, placer }) => Array.from({ length: count }, () => ({ gridThw: placer.gridThw, pixelValues: new Float32Array(placer.length) }))));
      const inverse = new Int32Array(rowOfCell.length);
      rowOfCell.forEach((row, cell) => (inverse[row] = cell));
      this.#layouts.set(train, (layout = { cells: rowOfCell.length, placers: blocks.map((b) => b.placer), inputs: { ...inputs, rows: rowOfCell, inverse } }));
    }
    return layout;
  }

  #inputsOf(train: boolean, source: ScenePool, picks: readonly (readonly [number, boolean])[], crops: readonly number[]) {
    const { cells, placers, inputs } = this.#layout(train);
    const [scenes, small] = placers;
    const pixelValues = new Float32Array(picks.length * scenes!.length + crops.length * (small?.length ?? 0));
    const targets: Record<string, Int32Array> = Object.fromEntries(HEADS.map(([name]) => [`target.${name}`, new Int32Array(cells).fill(-1)]));
    let objects = 0;
    let at = 0;
    const set = (o: ObjectType | undefined) => {
      targets['target.object']![at] = o === undefined ? 0 : 1;
      if (o !== undefined) {
        objects++;
        targets['target.shape']![at] = SHAPES.indexOf(o.shape);
        targets['target.color']![at] = COLORS.indexOf(o.color);
        targets['target.size']![at] = SIZES.indexOf(o.size);
        targets['target.material']![at] = MATERIALS.indexOf(o.material);
      }
      at++;
    };
    const columns = source.width / (this.#model.config.vision.patchSize * this.#model.config.vision.spatialMergeSize);
    picks.forEach(([i, flip], s) => {
      scenes!.write(source.rgb(i), pixelValues, s * scenes!.length, flip);
      const own = source.cells[i]!;
      for (let c = 0; c < own.length; c++) {
        const object = own[flip ? c - (c % columns) + (columns - 1 - (c % columns)) : c]!;
        set(object < 0 ? undefined : source.scenes[i]!.objects[object]!);
      }
    });
    crops.forEach((i, c) => {
      small!.write(this.#crops!.rgb(i), pixelValues, picks.length * scenes!.length + c * small!.length);
      for (let cell = 0; cell < 4; cell++) set(cell === 3 ? this.#crops!.types[i]! : undefined);
    });
    const weights: Record<string, Float32Array> = Object.fromEntries(
      HEADS.map(([name]) => [`weight.${name}`, Float32Array.from(targets[`target.${name}`]!, (t) => (t < 0 ? 0 : name === 'object' ? -4 / cells : -1 / objects))]),
    );
    return { data: { ...inputs, pixelValues, ...targets }, weights, targets };
  }
}

interface BatchLayout {
  readonly cells: number;
  /** Of scenes and, where there are, of crops. */
  readonly placers: readonly PixelPlacer[];
  readonly inputs: PlanInputs;
}
