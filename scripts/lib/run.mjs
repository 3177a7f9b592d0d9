/** @file Child processes, without a shell. */
import { spawn } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of the repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What this repository's tools may leave behind, outside of version control. */
export const CACHE = join(ROOT, '.cache', 'bootstrap');

/** An error whose message is meant for the user: it says what is missing and what mends it. No stack is shown. */
export class UserError extends Error {}

/** Runs a program: a UserError ends it with its message and code 1, anything else with its stack. What `main` answers with, if a number, is the code. */
export async function program(main) {
  try {
    const code = await main();
    if (typeof code === 'number') process.exitCode = code;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}

/**
 * Runs a command to its end.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, capture?: boolean, toStderr?: boolean, timeout?: number, signal?: AbortSignal }} [options] `capture` keeps the output instead of showing it; `toStderr` shows all of it on standard error; `signal` asks the child to end (SIGTERM).
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>} code 127 when the command is not there, 128 + n when a signal ended it.
 */
export function run(command, args, options = {}) {
  const { cwd = ROOT, env = process.env, capture = false, toStderr = false, timeout = 0 } = options;
  return new Promise((resolve) => {
    let child;
    options.signal?.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
    child = spawn(command, args, { cwd, env, stdio: capture ? ['ignore', 'pipe', 'pipe'] : toStderr ? ['inherit', 2, 'inherit'] : 'inherit', timeout, windowsHide: true });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: `${stderr}${error.message}` }));
    child.on('close', (code, signal) => resolve({ code: code ?? 128, stdout, stderr: signal === null ? stderr : `${stderr}\nended by ${signal}` }));
  });
}

/** npm, by the script that is running us if there is one: on Windows the command itself is no executable. */
export function npmCommand(env = process.env) {
  const script = env.npm_execpath;
  if (script !== undefined && /npm-cli\.c?js$/.test(script)) return { command: process.execPath, args: [script] };
  return { command: process.platform === 'win32' ? 'npm.cmd' : 'npm', args: [] };
}

/** The environment with folders put in front of the search path. */
export function withPath(env, ...folders) {
  const key = Object.keys(env).find((name) => name.toUpperCase() === 'PATH') ?? 'PATH';
  return { ...env, [key]: [...folders, env[key] ?? ''].join(delimiter) };
}
