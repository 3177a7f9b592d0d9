#!/usr/bin/env node
/**
 * @file `npm run demo | trimpi | web | test | bench | docs | doctor | build | release` on a machine with nothing but Node and npm.
 *
 * Brings pnpm and the packages, makes sure of a WebGPU adapter (and of a Chromium for tests), builds with turbo, and
 * runs the task. Depends on nothing that is not in Node. Standard output is the task's alone; what is said here goes to standard error.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { nodeVersionProblem } from './lib/node-version.mjs';
import { ensurePnpm, installPackages } from './lib/pnpm.mjs';
import { program, ROOT, run, UserError } from './lib/run.mjs';
import { ensureAdapter, ensureChromium } from './lib/system.mjs';

const CLI = join(ROOT, 'apps', 'cli', 'dist', 'main.js');

const TASKS = {
  // `here`: paths in the arguments are those of the folder that npm was called in, not of the root, where npm runs scripts.
  demo: { adapter: true, build: true, here: true, command: (args) => [CLI, 'demo', ...args] },
  // Commands that need an adapter say so themselves.
  trimpi: { build: true, here: true, command: (args) => [CLI, ...args] },
  web: { build: true, command: (args) => [join(ROOT, 'apps', 'web', 'node_modules', 'vite', 'bin', 'vite.js'), 'preview', join(ROOT, 'apps', 'web'), '--host', '127.0.0.1', ...args] },
  build: { build: true },
  release: { build: true, command: (args) => [join(ROOT, 'node_modules', '@changesets', 'cli', 'bin.js'), 'publish', ...args] },
  // The tests build themselves, so that a broken build is one failed check of many.
  test: { adapter: true, chromium: true, command: (args) => [join(ROOT, 'scripts', 'test.mjs'), ...args] },
  bench: { adapter: true, command: (args) => [join(ROOT, 'packages', 'runtime', 'bench', 'main.mjs'), ...args] },
  docs: { command: (args) => [join(ROOT, 'scripts', 'docs.mjs'), ...args] },
  doctor: { command: (args) => [join(ROOT, 'scripts', 'doctor.mjs'), ...args] },
};

await program(() => main(process.argv.slice(2)));

async function main([name, ...args]) {
  const problem = nodeVersionProblem(process.version);
  if (problem !== undefined) throw new UserError(problem);
  const task = Object.hasOwn(TASKS, name ?? '') ? TASKS[name] : undefined;
  if (task === undefined) throw new UserError(`Unknown task ${JSON.stringify(name)}. Use one of: ${Object.keys(TASKS).join(', ')}.`);
  const pnpm = await ensurePnpm();
  await installPackages(pnpm);
  const env = { ...pnpm.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' };
  if (task.adapter) {
    const { info } = await ensureAdapter();
    console.error(`WebGPU adapter: ${info.description || info.device || info.vendor}`);
  }
  if (task.chromium) {
    try {
      env.CHROMIUM_PATH = await ensureChromium();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // Everything else is still tested; the browser tests then fail with this message.
      console.error(error.message);
      env.CHROMIUM_PROBLEM = error.message;
    }
  }
  if (task.build) {
    const turbo = join(ROOT, 'node_modules', 'turbo', 'bin', 'turbo');
    const { code, stdout, stderr } = await run(process.execPath, [turbo, 'run', 'build', '--output-logs=errors-only'], { env, capture: true });
    if (code !== 0) throw new UserError(`The build failed:\n${stdout}\n${stderr}`);
    if (!existsSync(CLI)) throw new UserError(`${CLI} was not built. Run: npm test`);
  }
  return task.command === undefined ? 0 : runTask(task.command(args), env, task.here ? (process.env.INIT_CWD ?? process.cwd()) : ROOT);
}

/** Runs the task. Ctrl-C reaches it from the terminal; a request to end is handed on, so that it can save before it ends. */
async function runTask(command, env, cwd) {
  const stop = new AbortController();
  process.on('SIGINT', () => {});
  process.once('SIGTERM', () => stop.abort());
  const { code } = await run(process.execPath, command, { cwd, env, signal: stop.signal });
  return code;
}
