/** @file The commands and their options. They are thin: they read options, call a package, and show what it reports. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { completionCommand } from './completion.ts';
import { dataCommand } from './data/command.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { evalCommand } from './eval/command.ts';
import { examples, integer } from './options.ts';
import { modelCommands } from './model/command.ts';
import { serveCommand } from './serve/command.ts';
import { pretrainCommand } from './pretrain.ts';
import { reproduceCommand } from './reproduce.ts';
import { trainCommand } from './train/command.ts';

/** @param quiet nothing of Commander's own on standard error; who runs the program says what it threw. */
export function createProgram({ quiet = false }: { readonly quiet?: boolean } = {}): Command {
  // `exitOverride`, the output and the help settings pass to every command that is made with `.command()`.
  const program = new Command('trimpi')
    .description("Multimodal Policy Internalization on WebGPU: put a policy into a model's weights.")
    .version(version())
    .configureOutput(quiet ? { writeErr: () => undefined } : {})
    .showHelpAfterError('Add --help for all options and examples.')
    .exitOverride();

  program
    .command('demo')
    .description('all stages on ClevrPolicy-T with the tiny base that is shipped: about ten minutes on two CPU cores')
    .option('--out <dir>', 'folder of the run; the same command goes on with a run that was stopped', 'runs/demo')
    .option('--seed <n>', 'scenes, policies and sampling are a function of it (default: seed of --config, or 1)', integer(0, 2 ** 32 - 1))
    .option('--config <file>', 'JSON with other settings (see RunConfig of @trimpi/pipeline)')
    .option('--json', 'events as lines of JSON, the report last')
    .addHelpText('after', examples('trimpi demo', 'trimpi demo --out runs/seed-2 --seed 2'))
    .action(demo);

  trainCommand(program);
  pretrainCommand(program);
  reproduceCommand(program);
  evalCommand(program);
  dataCommand(program);
  modelCommands(program);
  serveCommand(program);

  program
    .command('doctor')
    .description('the WebGPU adapter, its driver, features and limits, and what to do when there is none')
    .option('--json', 'one JSON object')
    .addHelpText('after', examples('trimpi doctor', 'trimpi doctor --json | jq .adapter.limits'))
    .action(doctor);

  benchCommand(program);
  completionCommand(program);
  return program;
}

/** Of the package, whether it runs from `src` or from `dist`. */
function version(): string {
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}
