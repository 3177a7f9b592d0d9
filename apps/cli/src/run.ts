import { CommanderError } from 'commander';
import { exitCodeOf, explain } from './errors.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line (without `node` and the script) and returns the exit code: 0; 1 for a failure or findings; 2 for
 * wrong options; 130 after Ctrl-C. Nothing is thrown: what went wrong is on stderr, as JSON when `--json` was given.
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  process.exitCode = 0;
  try {
    await createProgram().parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has printed its message already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const json = args.includes('--json');
    console.error(json ? JSON.stringify({ error: explain(error), exitCode: exitCodeOf(error) }) : `\n${explain(error)}`);
    return exitCodeOf(error);
  }
}
