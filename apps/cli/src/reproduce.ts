/** @file `trimpi reproduce`: the paper's table, row by row and seed by seed. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { folderFiles } from '@trimpi/model/node';
import { type Benchmark, BENCHMARKS, type CheckpointSettings, type ReproduceEvent, type ReproduceOverrides, reproduceSettings, rlOf, ROWS, type RowName, type Scale, SCALES, scaleSettings, type Setting, settingTitle } from '@trimpi/pipeline';
import { reproduce } from '@trimpi/pipeline/node';
import type { WebGpuEngine } from '@trimpi/runtime';
import { UsageError } from './errors.ts';
import { checkPlace } from './folder.ts';
import { interruptible } from './interrupt.ts';
import { deviceLimits, requireFolder } from './model/load.ts';
import { examples, integer, integers, oneOf } from './options.ts';
import { OPTIONAL } from './train/optional.ts';
import { checked, type Defaults, parseSettings, readText } from './train/settings.ts';
import { MATMUL, type Matmul, openTrainingEngine } from './training-engine.ts';

interface ReproduceCommandOptions {
  readonly n: readonly number[];
  readonly benchmarks: readonly Benchmark[];
  readonly seeds: readonly number[];
  readonly rows?: readonly RowName[];
  readonly scale: Scale;
  readonly out: string;
  readonly config?: string;
  readonly base?: string;
  readonly tune?: CheckpointSettings['tune'];
  readonly bits?: number;
  readonly maxTokens?: number;
  readonly maxRollouts?: number;
  readonly minutes?: number;
  readonly matmul: Matmul;
  readonly json?: boolean;
}

export function reproduceCommand(program: Command): void {
  const row = oneOf(...ROWS);
  const benchmark = oneOf(...BENCHMARKS);
  program
    .command('reproduce')
    .description("the paper's table at a size for this machine: rows by seeds with intervals and paired tests; goes on where it was stopped")
    .option('--n <list>', "depths of ClevrPolicy's policies", integers(2, 6), [2])
    .option('--benchmarks <list>', `of ${BENCHMARKS.join(', ')}: ClevrPolicy in words, with pictures, GTAPolicy`, (text) => text.split(',').map((name) => benchmark(name.trim())), ['clevr-t'])
    .option('--seeds <list>', 'seeds, with commas between them', integers(0, 2 ** 32 - 1), [1, 2, 3])
    .option('--rows <list>', `rows, with commas between them (default: all ${ROWS.length})`, (text) => text.split(',').map((name) => row(name.trim())))
    .option('--scale <scale>', 'tiny: two CPU cores, some minutes a row; small: a GPU; full: the data and steps of the paper on a checkpoint of Qwen2.5-VL', oneOf(...SCALES), 'tiny')
    .option('--out <dir>', 'folder of results and stages', 'runs/reproduce')
    .option('--config <file>', 'YAML or JSON with settings over those of the scale, such as testSize, suiteSize or rl: { steps: 50 } (see ReproduceSettings of @trimpi/pipeline)')
    .option('--base <dir>', 'another base than the ones that are shipped (the tiny one up to N=3 in words, else the small one); with --scale full the checkpoint folder')
    .option('--tune <what>', '--scale full: lora (one adapter through all stages, the default) or full (all parameters of the language model)', oneOf('lora', 'full'))
    .option('--bits <n>', '--scale full: bits of the frozen weights, 32, 16, 8 or 4 (default: 16)', integer(1))
    .option('--max-tokens <n>', '--scale full: most tokens in memory at once when training (default: 8192)', integer(16))
    .option('--max-rollouts <n>', '--scale full: most completions sampled at once (default: 256)', integer(1))
    .option('--minutes <n>', 'stop after so many minutes, with all saved', integer(1, 35_000))
    .option(...MATMUL)
    .option('--json', 'events as lines of JSON, the results last')
    .addHelpText('after', `${examples('trimpi reproduce --rows cot-sft,cot-sft+grpo,cot-sft+poro-grpo', 'trimpi reproduce --n 2,3 --seeds 1,2,3,4,5 --minutes 120', 'trimpi reproduce --benchmarks clevr-t,clevr-m,gta --n 4,6', 'trimpi reproduce --scale full --base models/Qwen2.5-VL-3B-Instruct --bits 4 --n 6 --seeds 1')}\n\nRows: ${ROWS.join(', ')}. Ctrl-C saves; the same command goes on.`)
    .action(run);
}

async function run({ n, benchmarks, seeds, rows, scale, out, config, base, tune, bits, maxTokens, maxRollouts, minutes, matmul, json = false }: ReproduceCommandOptions): Promise<void> {
  if (scale === 'full' && base === undefined) throw new UsageError('--scale full needs --base: the folder of a Qwen2.5-VL checkpoint (config, tokenizer, weights).');
  const named = Object.entries({ '--tune': tune, '--bits': bits, '--max-tokens': maxTokens, '--max-rollouts': maxRollouts }).find(([, value]) => value !== undefined);
  if (scale !== 'full' && named !== undefined) throw new UsageError(`${named[0]} is for --scale full, and the scale is ${scale}.`);
  if (base !== undefined) requireFolder('base', base);
  const checkpoint = { ...(tune === undefined ? {} : { tune }), ...(bits === undefined ? {} : { bits }), ...(maxTokens === undefined ? {} : { maxTokens }), ...(maxRollouts === undefined ? {} : { maxRollouts }) };
  checkPlace(out);
  const settings = config === undefined ? undefined : readOverrides(config, { n, benchmarks, rows: rows ?? ROWS, scale, checkpoint: scale === 'full' ? checkpoint : undefined });
  const results = await withDevice(matmul, (engine, adapterName) => interruptible((interrupted) =>
    reproduce({
      n, benchmarks, seeds, scale, engine, adapterName, dir: resolve(out),
      signal: minutes === undefined ? interrupted : AbortSignal.any([interrupted, AbortSignal.timeout(minutes * 60_000)]),
      ...(rows === undefined ? {} : { rows }),
      ...(settings === undefined ? {} : { settings }),
      ...(base === undefined ? {} : { base: folderFiles(resolve(base)) }),
      ...(scale === 'full' ? { checkpoint, limits: deviceLimits(engine) } : {}),
      onEvent: (event) => (json ? console.log(JSON.stringify(event)) : show(event)),
    }),
  ));
  if (json) {
    console.log(JSON.stringify(results));
    return;
  }
  for (const { claim, verdict, ...setting } of results.orderings) console.log(`${settingTitle(setting)} ${verdict}: ${claim}`);
  console.log(`\nThe table: ${resolve(out, 'results.md')} and results.html; figures in results.json.`);
}

interface Table {
  readonly n: readonly number[];
  readonly benchmarks: readonly Benchmark[];
  readonly rows: readonly RowName[];
  readonly scale: Scale;
  readonly checkpoint: Partial<CheckpointSettings> | undefined;
}

/** @throws UsageError with file, line and column. */
export function readOverrides(file: string, { n, benchmarks, rows, scale, checkpoint }: Table): ReproduceOverrides {
  const settings = benchmarks.flatMap((benchmark): Setting[] => (benchmark === 'gta' ? [{ benchmark, n: 0 }] : n.map((depth) => ({ benchmark, n: depth }))));
  const algorithms = rows.flatMap((row) => rlOf(row)?.algorithm ?? []);
  const { checkpoint: _, ...defaults } = scaleSettings(scale, settings[0]!, checkpoint);
  const { given, fail } = parseSettings(readText(file, 'one of its settings a line, such as testSize: 50.'), file, defaults as unknown as Defaults, {}, OPTIONAL);
  const overrides = given as ReproduceOverrides;
  for (const setting of settings) checked(fail, () => reproduceSettings(scale, setting, { checkpoint, overrides, algorithms }));
  return overrides;
}

async function withDevice<T>(matmul: Matmul, work: (engine: WebGpuEngine, adapterName: string) => Promise<T>): Promise<T> {
  const { engine, note } = await openTrainingEngine(matmul);
  try {
    return await work(engine, engine.device.adapter.description + note);
  } finally {
    engine.dispose();
  }
}

/** How many were drawn when it was said last. */
let pictures = 0;

function show(event: ReproduceEvent): void {
  switch (event.type) {
    case 'note':
      console.log(event.text);
      break;
    case 'progress':
      if (event.done < pictures) pictures = 0;
      if (event.done - pictures >= 1_000) console.log(`  ${(pictures = event.done)} of ${event.of} pictures`);
      break;
    case 'row':
      console.log(`[${event.done + 1}/${event.of}] ${event.setting}, seed ${event.seed}: ${event.title}${event.secondsLeft === null ? '' : ` (about ${Math.ceil(event.secondsLeft / 60)} min left in all)`}`);
      break;
    case 'step':
      if (event.step % 20 === 0 || event.step === event.of) console.log(`  ${event.stage} ${event.step}/${event.of}: ${event.value}`);
      break;
    case 'result':
      console.log(`  ${(100 * event.accuracy).toFixed(1)} % right ${event.row === 'in-context' ? 'with the policy in the prompt' : 'without the policy'}`);
      break;
    default:
      event satisfies never;
  }
}
