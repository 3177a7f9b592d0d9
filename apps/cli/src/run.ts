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
  const json = args.includes('--json');
  const program = createProgram({ quiet: json });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      const hints = error.code === 'commander.missingMandatoryOptionValue' ? misspelt(program, args) : [];
      if (json) console.error(JSON.stringify({ error: [error.message.replace(/^error: /, ''), ...hints].join('\n'), exitCode: 2 }));
      // Commander has printed its message already.
      else for (const hint of hints) console.error(hint);
      return 2;
    }
    console.error(json ? JSON.stringify({ error: explain(error), exitCode: exitCodeOf(error) }) : `\n${explain(error)}`);
    return exitCodeOf(error);
  }
}

/** Commander reports a missing option before a misspelt one, which often is the cause. */
function misspelt(program: Command, args: readonly string[]): string[] {
  const flagsOf = (command: Command): string[] => [...command.options.map((o) => o.long ?? ''), ...command.commands.flatMap(flagsOf)];
  const known = flagsOf(program);
  return args.map((arg) => arg.split('=')[0]!).filter((arg) => arg.startsWith('--') && !known.includes(arg)).map((flag) => {
    const near = nearest(flag, known);
    return `${flag} is no option.${near === undefined ? '' : ` Did you mean ${near}?`}`;
  });
}
