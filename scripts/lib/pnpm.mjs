/** @file Brings the pnpm that `packageManager` names, by npm and from where npm's configuration says, into .cache. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CACHE, npmCommand, ROOT, run, UserError, withPath } from './run.mjs';

/** The version of `packageManager: "pnpm@10.1.2+sha512..."`. */
export function pnpmVersion(packageJson) {
  const match = /^pnpm@(\d+\.\d+\.\d+)(?:\+|$)/.exec(packageJson.packageManager ?? '');
  if (match === null) throw new UserError(`package.json: packageManager must name pnpm and its version (got ${JSON.stringify(packageJson.packageManager)}).`);
  return match[1];
}

/**
 * @returns {Promise<{ script: string, env: NodeJS.ProcessEnv }>} the script to run with Node, and an environment in which `pnpm` is on the path.
 */
export async function ensurePnpm({ env = process.env, exec = run } = {}) {
  const version = pnpmVersion(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
  const home = join(CACHE, `pnpm-${version}`);
  const script = join(home, 'node_modules', 'pnpm', 'bin', 'pnpm.cjs');
  if (!existsSync(script)) {
    console.error(`Fetching pnpm ${version} ...`);
    mkdirSync(home, { recursive: true });
    // A package of its own, so that npm reads no workspace above.
    writeFileSync(join(home, 'package.json'), '{"private":true}\n');
    const npm = npmCommand(env);
    const { code, stderr } = await exec(npm.command, [...npm.args, 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', `pnpm@${version}`], { cwd: home, capture: true, env });
    if (code !== 0 || !existsSync(script)) {
      throw new UserError(`pnpm ${version} could not be fetched by npm:\n${stderr.trim()}\nCheck the network and npm's registry setting (npm config get registry), then run the command again.`);
    }
  }
  return { script, env: withPath(env, join(home, 'node_modules', '.bin'), dirname(process.execPath)) };
}

/** Installs the packages of the workspace exactly as the lockfile says. */
export async function installPackages(pnpm, exec = run) {
  // `npm run --silent` hands its level on in the environment, and pnpm would then fail without a word.
  const args = [pnpm.script, 'install', '--frozen-lockfile', '--prefer-offline', '--reporter=append-only', '--loglevel=info', '--config.confirmModulesPurge=false'];
  const { code, stdout, stderr } = await exec(process.execPath, args, { capture: true, env: pnpm.env });
  if (code !== 0) {
    throw new UserError(`The packages could not be installed:\n${`${stdout}\n${stderr}`.trim().split('\n').slice(-20).join('\n')}\nCheck the network, then run the command again. After a change of a package.json, run: pnpm install`);
  }
}
