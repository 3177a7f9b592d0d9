/** @file `trimpi reproduce`: the paper's table, row by row and seed by seed. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { folderFiles } from '@trimpi/model/node';
import { type Benchmark, BENCHMARKS, type ReproduceEvent, ROWS, type RowName, type Scale, settingTitle } from '@trimpi/pipeline';
import { reproduce } from '@trimpi/pipeline/node';
import { interruptible } from './interrupt.ts';
import { requireFolder } from './model/load.ts';
import { examples, integer, integers, oneOf } from './options.ts';

interface ReproduceCommandOptions {
  readonly n: readonly number[];
  readonly benchmarks: readonly Benchmark[];
  readonly seeds: readonly number[];
  readonly rows?: readonly RowName[];
  readonly scale: Scale;
  readonly out: string;
  readonly base?: string;
  readonly minutes?: number;
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
    .option('--scale <scale>', 'tiny: two CPU cores, some minutes a row; small: a GPU', oneOf('tiny', 'small'), 'tiny')
    .option('--out <dir>', 'folder of results and stages', 'runs/reproduce')
    .option('--base <dir>', 'another base than the ones that are shipped (the tiny one up to N=3 in words, else the small one)')
    .option('--minutes <n>', 'stop after so many minutes, with all saved', integer(1))
    .option('--json', 'events as lines of JSON, the results last')
    .addHelpText('after', `${examples('trimpi reproduce --rows cot-sft,cot-sft+grpo,cot-sft+poro-grpo', 'trimpi reproduce --n 2,3 --seeds 1,2,3,4,5 --minutes 120', 'trimpi reproduce --benchmarks clevr-t,clevr-m,gta --n 4,6')}\n\nRows: ${ROWS.join(', ')}. Ctrl-C saves; the same command goes on.`)
    .action(run);
}

async function run({ n, benchmarks, seeds, rows, scale, out, base, minutes, json = false }: ReproduceCommandOptions): Promise<void> {
  if (base !== undefined) requireFolder('base', base);
  const results = await interruptible((interrupted) =>
    reproduce({
      n, benchmarks, seeds, scale, dir: resolve(out),
      signal: minutes === undefined ? interrupted : AbortSignal.any([interrupted, AbortSignal.timeout(minutes * 60_000)]),
      ...(rows === undefined ? {} : { rows }),
      ...(base === undefined ? {} : { base: folderFiles(resolve(base)) }),
      onEvent: (event) => (json ? console.log(JSON.stringify(event)) : show(event)),
    }),
  );
  if (json) {
    console.log(JSON.stringify(results));
    return;
  }
  for (const { claim, verdict, ...setting } of results.orderings) console.log(`${settingTitle(setting)} ${verdict}: ${claim}`);
  console.log(`\nThe table: ${resolve(out, 'results.md')} and results.html; figures in results.json.`);
}

function show(event: ReproduceEvent): void {
  switch (event.type) {
    case 'note':
      console.log(event.text);
      break;
    case 'row':
      console.log(`[${event.done + 1}/${event.of}] ${event.setting}, seed ${event.seed}: ${event.title}${event.secondsLeft === null ? '' : ` (about ${Math.ceil(event.secondsLeft / 60)} min left in all)`}`);
      break;
    case 'step':
      if (event.step % 20 === 0 || event.step === event.steps) console.log(`  ${event.stage} ${event.step}/${event.steps}: ${event.value}`);
      break;
    case 'result':
      console.log(`  ${(100 * event.accuracy).toFixed(1)} % right without the policy`);
      break;
    default:
      event satisfies never;
  }
}
