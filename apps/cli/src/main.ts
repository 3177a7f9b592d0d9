/** @file The command `trimpi`. */
import { runCommand } from './run.ts';

// A reader that goes away (`| head`) is as Ctrl-C, once: what runs is saved. Later lines go nowhere.
let gone = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  if (!gone) process.kill(process.pid, 'SIGINT');
  gone = true;
});

process.exitCode = await runCommand(process.argv.slice(2));
