import { type Command, CommanderError } from 'commander';
import { exitCodeOf, explain } from './errors.ts';
import { nearest } from './options.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line (without `node` and the script) and returns the exit code: 0; 1 for a failure or findings; 2 for
 * wrong options; 130 after Ctrl-C. Nothing is thrown: what went wrong is on stderr, as JSON when `--json` was given.
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  process.exitCode = 0;
  const program = createProgram();
  try {
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has printed its message already.
    if (error instanceof CommanderError) {
      if (error.code === 'commander.missingMandatoryOptionValue') hintAtMisspelt(program, args);
      return error.exitCode === 0 ? 0 : 2;
    }
    const json = args.includes('--json');
    console.error(json ? JSON.stringify({ error: explain(error), exitCode: exitCodeOf(error) }) : `\n${explain(error)}`);
    return exitCodeOf(error);
  }
}

/** Commander reports a missing option before a misspelt one, which often is the cause. */
function hintAtMisspelt(program: Command, args: readonly string[]): void {
  const flagsOf = (command: Command): string[] => [...command.options.map((o) => o.long ?? ''), ...command.commands.flatMap(flagsOf)];
  const known = flagsOf(program);
  for (const flag of args.map((arg) => arg.split('=')[0]!).filter((arg) => arg.startsWith('--') && !known.includes(arg))) {
    const near = nearest(flag, known);
    console.error(`${flag} is no option.${near === undefined ? '' : ` Did you mean ${near}?`}`);
  }
}
