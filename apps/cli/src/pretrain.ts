/** @file `trimpi pretrain`: the tiny base from nothing. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { pretrain, type PretrainEvent, type PretrainRecipe, SMALL_BASE_RECIPE, TINY_BASE_RECIPE } from '@trimpi/pipeline';
import { folderStorage, pretrainProcesses } from '@trimpi/pipeline/node';
import { checkPlace } from './folder.ts';
import { interruptible, InterruptedError } from './interrupt.ts';
import { examples, number, oneOf } from './options.ts';
import { MATMUL, type Matmul, openTrainingEngine } from './training-engine.ts';

interface PretrainCommandOptions {
  readonly out: string;
  readonly recipe: keyof typeof RECIPES;
  readonly share?: number;
  readonly matmul: Matmul;
  readonly json?: boolean;
}

/** A GPU has the memory to keep what a processor makes again. */
const GPU_PLAN_BYTES = 2 ** 33;

const RECIPES = { tiny: TINY_BASE_RECIPE, small: SMALL_BASE_RECIPE };

export function pretrainCommand(program: Command): void {
  program
    .command('pretrain')
    .description('train a base from nothing on generated data: hours on CPU cores, minutes on a GPU; goes on where it was stopped')
    .option('--recipe <name>', 'tiny: the base of the demo; small: policies up to six deep, with pictures', oneOf('tiny', 'small'), 'tiny')
    .option('--share <x>', 'only this share of the steps, scenes and tokens of the recipe, above 0 to 1: a trial of this machine (default: all)', number(1e-6, 1))
    .option('--out <dir>', 'folder of checkpoint and base; the same command goes on', 'runs/pretrain')
    .option(...MATMUL)
    .option('--json', 'events as lines of JSON')
    .addHelpText('after', `${examples('trimpi pretrain', 'trimpi pretrain --share 0.01 --out runs/trial', 'trimpi pretrain --recipe small --out runs/base --json > curves.jsonl')}\n\nCtrl-C saves. The finished folder is a base for trimpi train (base: DIR).`)
    .action(run);
}

async function run({ out, recipe, share, matmul, json = false }: PretrainCommandOptions): Promise<void> {
  checkPlace(out);
  const storage = folderStorage(resolve(out));
  const { engine } = await openTrainingEngine(matmul);
  const workers = pretrainProcesses();
  try {
    const lines = new Lines();
    const result = await interruptible((signal) => pretrain({ engine, storage, recipe: share === undefined ? RECIPES[recipe] : shareOf(RECIPES[recipe], share), workers, signal, ...(engine.device.adapter.software ? {} : { planBytes: GPU_PLAN_BYTES }), onEvent: (e) => (json ? console.log(JSON.stringify(e)) : lines.show(e)) }));
    if (result === undefined) throw new InterruptedError();
    console.log(json ? JSON.stringify(result) : `Done. The base is in ${storage.name}.`);
  } finally {
    workers.dispose();
    engine.dispose();
  }
}

/** A recipe with so much of its work, and no less than a step of each stage needs. */
export function shareOf(recipe: PretrainRecipe, share: number): PretrainRecipe {
  const { vision, text, measure } = recipe;
  const of = (amount: number, least = 1) => Math.min(amount, Math.max(least, Math.ceil(amount * share)));
  return {
    ...recipe,
    // Scenes that do not fill a batch are not measured.
    vision: { ...vision, steps: of(vision.steps), scenes: of(vision.scenes, vision.batch), ...(vision.cropPool === undefined ? {} : { cropPool: of(vision.cropPool, 96) }) },
    text: {
      ...text, scenes: of(text.scenes, vision.batch), repeatTokens: of(text.repeatTokens), drillTokens: of(text.drillTokens),
      ...(text.decayTokens === undefined ? {} : { decayTokens: of(text.decayTokens) }),
      mix: text.mix.map((phase) => ({ ...phase, tokens: of(phase.tokens) })),
    },
    measure: { ...measure, scenes: of(measure.scenes, vision.batch), policies: of(measure.policies, 8) },
  };
}

/** A line every ten seconds with the mean losses since the last one. */
class Lines {
  readonly #started = Date.now();
  #last = 0;
  #sums = new Map<string, [sum: number, count: number]>();

  show(event: PretrainEvent): void {
    switch (event.kind) {
      case 'drawn':
        this.#print(`${event.scenes} of ${event.of} scenes drawn`);
        return;
      case 'step': {
        for (const [name, loss] of Object.entries(event.losses)) {
          const [sum, count] = this.#sums.get(name) ?? [0, 0];
          this.#sums.set(name, [sum + loss, count + 1]);
        }
        if (Date.now() - this.#last < 10_000 && event.done < 1) return;
        this.#last = Date.now();
        this.#print(`${event.stage} ${(100 * event.done).toFixed(1)} %, step ${event.step}: ${[...this.#sums].map(([name, [sum, count]]) => `${name} ${(sum / count).toFixed(3)}`).join(', ')}`);
        this.#sums = new Map();
        return;
      }
      case 'vision':
        this.#print(`vision on unseen scenes: all four attributes right for ${(100 * event.score.allFour).toFixed(1)} % of objects`);
        return;
      case 'aligned':
        this.#print(`merger turned to the words: explains ${(100 * event.explained).toFixed(1)} %`);
        return;
      case 'measured':
        this.#print(`on unseen scenes: ${Object.entries(event.scores).map(([name, share]) => `${name} ${(100 * share).toFixed(1)} %`).join(', ')}`);
        return;
      default:
        event satisfies never;
    }
  }

  #print(text: string): void {
    console.log(`${((Date.now() - this.#started) / 1000).toFixed(0).padStart(6)} s  ${text}`);
  }
}
