/**
 * @file Loads a built package as a user's program would: as ESM and as CommonJS, from every entry of its `exports`, and
 * checks that both give the same names and that the declarations are there. `node scripts/check-built.mjs packages/model`
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './lib/run.mjs';

const home = join(ROOT, process.argv[2] ?? '');
const manifest = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
const require = createRequire(join(home, 'package.json'));
const problems = [];

for (const [entry, targets] of Object.entries(manifest.publishConfig?.exports ?? manifest.exports)) {
  if (typeof targets === 'string') continue;
  const files = [targets.import?.default, targets.import?.types, targets.require?.default, targets.require?.types];
  const missing = files.filter((file) => file === undefined || !existsSync(join(home, file)));
  if (missing.length > 0) {
    problems.push(`${entry}: not built: ${missing.join(', ')}`);
    continue;
  }
  const esm = Object.keys(await import(pathToFileURL(join(home, targets.import.default)).href)).toSorted();
  const cjs = Object.keys(require(join(home, targets.require.default))).filter((name) => name !== '__esModule').toSorted();
  if (esm.join() !== cjs.join()) problems.push(`${entry}: ESM and CommonJS export different names: ${esm.filter((name) => !cjs.includes(name))} | ${cjs.filter((name) => !esm.includes(name))}`);
}

for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);
