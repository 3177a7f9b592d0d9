/**
 * @file Every check of the repository, counted: lint, imports, links, types, builds, readiness to publish, tests in Node, tests in a browser.
 * Ends with the line `N passed, N failed`. Arguments go to vitest (a part of a path runs only those tests).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT, run } from './lib/run.mjs';
import { count, countVitest, exitCode, newTally, summary } from './lib/tally.mjs';

const REPORTS = join(ROOT, '.cache', 'reports');
const BIN = {
  oxlint: join(ROOT, 'node_modules', 'oxlint', 'bin', 'oxlint'),
  tsc: join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
  turbo: join(ROOT, 'node_modules', 'turbo', 'bin', 'turbo'),
  vitest: join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
};

const filters = process.argv.slice(2);
const tally = newTally();
const started = Date.now();
mkdirSync(REPORTS, { recursive: true });

const packages = ['packages', 'apps'].flatMap((group) =>
  existsSync(join(ROOT, group)) ? readdirSync(join(ROOT, group)).filter((name) => existsSync(join(ROOT, group, name, 'package.json'))).map((name) => `${group}/${name}`) : [],
);

if (filters.length === 0) {
  await check('lint', BIN.oxlint, []);
  await check('imports', join(ROOT, 'scripts', 'check-imports.mjs'), []);
  await check('links of the documentation', join(ROOT, 'scripts', 'docs-links.mjs'), []);
  await beside(packages, async (folder) => {
    // The state of the last run is kept, so that an unchanged package costs a second.
    const state = join(ROOT, '.cache', 'tsc', `${folder.replace('/', '-')}.tsbuildinfo`);
    await check(`types: ${folder}`, BIN.tsc, ['--noEmit', '--incremental', '--tsBuildInfoFile', state, '-p', folder]);
  });
  await build();
}
await vitest('node');
if (process.env.CHROMIUM_PROBLEM) count(tally, `browser: ${process.env.CHROMIUM_PROBLEM.split('\n')[0]}`, false);
else if (hasBrowserTests()) await vitest('browser');

console.log(`\n${Math.round((Date.now() - started) / 1000)} s`);
for (const failure of tally.failures) console.log(`failed: ${failure}`);
for (const line of summary(tally)) console.log(line);
process.exitCode = exitCode(tally);

async function check(name, script, args) {
  const at = Date.now();
  const { code, stdout, stderr } = await run(process.execPath, [script, ...args], { capture: true });
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - at) / 1000).toFixed(1)} s)`);
  if (code !== 0) console.log(`${stdout}${stderr}`);
  count(tally, name, code === 0);
}

/** Builds with turbo; each package's build is one check, and so is loading what was built, as ESM and as CommonJS. */
async function build() {
  const at = Date.now();
  const { code, stdout, stderr } = await run(process.execPath, [BIN.turbo, 'run', 'build', '--continue', '--output-logs=errors-only'], { capture: true });
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} builds (${((Date.now() - at) / 1000).toFixed(1)} s)`);
  if (code !== 0) console.log(`${stdout}${stderr}`);
  count(tally, 'builds', code === 0);
  await beside(packages.filter((name) => name.startsWith('packages/')), (folder) => check(`built: ${folder}`, join(ROOT, 'scripts', 'check-built.mjs'), [folder]));
  await beside(packages.filter((name) => !isPrivate(name)), (folder) => check(`ready to publish: ${folder}`, join(ROOT, 'scripts', 'check-publish.mjs'), [folder]));
}

/** Does the work for each item, for as many at a time as there are processors: each is a process of one thread. */
async function beside(items, work) {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

function isPrivate(folder) {
  return JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')).private === true;
}

async function vitest(project) {
  const file = join(REPORTS, `vitest-${project}.json`);
  rmSync(file, { force: true });
  const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...(filters.length > 0 ? ['--passWithNoTests'] : []), ...filters];
  const { code } = await run(process.execPath, [BIN.vitest, ...args]);
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // No report is a failure of its own.
  }
  if (filters.length > 0 && code === 0 && (report === undefined || report.numTotalTests === 0)) return;
  countVitest(tally, project, report, code);
}

function hasBrowserTests() {
  return packages.some((folder) =>
    ['src', 'test'].some((sub) => existsSync(join(ROOT, folder, sub)) && readdirSync(join(ROOT, folder, sub), { recursive: true }).some((name) => String(name).endsWith('.browser.test.ts'))),
  );
}
