/** @file The command `trimpi`. Commands are thin: they read options, call a package, and show what it reports. */
import { Command } from 'commander';
import { demo } from './demo.ts';
import { exitCodeOf, explain } from './errors.ts';

const program = new Command('trimpi').description('Multimodal Policy Internalization on WebGPU: put a policy into a model\'s weights.').version('0.1.0').showHelpAfterError();

program
  .command('demo')
  .description('all stages on ClevrPolicy-T with the tiny base that is shipped: about ten minutes on two CPU cores')
  .option('--out <dir>', 'folder of the run; the same command goes on with a run that was stopped', 'runs/demo')
  .option('--seed <n>', 'scenes, policies and sampling are a function of it', '1')
  .option('--config <file>', 'JSON with other settings (see RunConfig of @trimpi/pipeline)')
  .addHelpText('after', '\nExamples:\n  $ trimpi demo\n  $ trimpi demo --out runs/seed-2 --seed 2')
  .action(demo);

try {
  await program.parseAsync();
} catch (error) {
  console.error(`\n${explain(error)}`);
  process.exitCode = exitCodeOf(error);
}
