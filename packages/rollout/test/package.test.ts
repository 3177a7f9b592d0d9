/**
 * @file The package as users get it: built, packed, checked by publint and are-the-types-wrong, and used from the
 * tarball by an ES module, a CommonJS module, TypeScript under both resolutions, a bundler, Chromium, and a place without Node.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(join(root, 'package.json'));
/** The consumers below import the package by its name; spelled in parts, it is not taken for an import of this file. */
const SELF = ['@trimpi', 'rollout'].join('/');
const work = mkdtempSync(join(tmpdir(), 'rollout-package-'));
const consumer = join(work, 'consumer');
let tarball = '';
const { findChromium } = (await import(pathToFileURL(join(root, '..', '..', 'scripts', 'lib', 'system.mjs')).href)) as { findChromium: () => string | undefined };
const chromium = findChromium();

/** The file behind a dependency's command. */
function command(name: string, bin: string): string {
  const places = [root, join(root, '..', '..')].map((place) => join(place, 'node_modules', name, bin));
  return places.find((place) => existsSync(place)) ?? (places[0] as string);
}

beforeAll(async () => {
  const staged = join(work, 'staged');
  mkdirSync(staged);
  await run(process.execPath, [command('tsup', 'dist/cli-default.js'), '--out-dir', join(staged, 'dist')], { cwd: root });
  const { publishConfig, devDependencies: _, scripts: __, ...manifest } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown> & { publishConfig: object };
  writeFileSync(join(staged, 'package.json'), JSON.stringify({ ...manifest, ...publishConfig }, null, 2));
  cpSync(join(root, 'README.md'), join(staged, 'README.md'));
  await run('npm', ['pack', '--offline', '--pack-destination', work], { cwd: staged });
  tarball = join(work, readdirSync(work).find((name) => name.endsWith('.tgz')) as string);
  const installed = join(consumer, 'node_modules', '@trimpi', 'rollout');
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components', '1']);
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }');
}, 600_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

const PROGRAM = `
const a = rollout.poroGrpo().advantages({ rewards: [0, 0, 1, 1], groupIds: ['g', 'g', 'g', 'g'] });
const { loss } = rollout.grpo().loss({ logps: [-1], oldLogps: [-1], advantages: [2], mask: [1], shape: [1, 1] });
globalThis.answer = [a[0] < 0, loss];
`;

describe('the packed tarball', () => {
  it('holds what it should and depends on nothing', () => {
    const installed = join(consumer, 'node_modules', '@trimpi', 'rollout');
    expect(readdirSync(installed).toSorted()).toEqual(['README.md', 'dist', 'package.json']);
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies?: object; sideEffects: boolean };
    expect(manifest.dependencies ?? {}).toEqual({});
    expect(manifest.sideEffects).toBe(false);
    for (const file of ['index.js', 'index.cjs']) expect(readFileSync(join(installed, 'dist', file), 'utf8')).not.toMatch(/from ['"]|require\(['"](?!\.)/);
  });
  it('passes publint', async () => {
    const { publint } = (await import('publint')) as typeof import('publint');
    const { messages } = await publint({ pkgDir: join(consumer, 'node_modules', '@trimpi', 'rollout'), strict: true, pack: false });
    expect(messages).toEqual([]);
  });
  it('passes are-the-types-wrong', async () => {
    const { stdout } = await run(process.execPath, [command('@arethetypeswrong/cli', 'dist/index.js'), tarball, '--format', 'json', '--exclude-entrypoints', 'package.json'], { maxBuffer: 1 << 26 });
    const { problems, analysis } = JSON.parse(stdout) as { problems?: unknown; analysis: { problems: unknown[] } };
    expect(problems ?? {}).toEqual({});
    expect(analysis.problems).toEqual([]);
  });
});

describe('consumers', () => {
  it('an ES module', async () => {
    writeFileSync(join(consumer, 'esm.mjs'), `import * as rollout from '${SELF}';${PROGRAM}console.log(JSON.stringify(answer))`);
    expect(JSON.parse((await run(process.execPath, ['esm.mjs'], { cwd: consumer })).stdout)).toEqual([true, -2]);
  });
  it('a CommonJS module', async () => {
    writeFileSync(join(consumer, 'cjs.cjs'), `const rollout = require('${SELF}');${PROGRAM}console.log(JSON.stringify(answer))`);
    expect(JSON.parse((await run(process.execPath, ['cjs.cjs'], { cwd: consumer })).stdout)).toEqual([true, -2]);
  });
  it.each([
    ['node16', 'node16', 'use.mts'],
    ['node16', 'node16', 'use.cts'],
    ['bundler', 'esnext', 'use.ts'],
  ])('TypeScript under %s (%s, %s), strictest', async (moduleResolution, module, file) => {
    const source = `import { type Objective, RolloutError, fromTrl, grpo, poro } from '${SELF}';
const objective: Objective = poro(grpo({ epsilonHigh: 0.28 }));
const advantages: Float64Array = objective.advantages({ rewards: [1, null, 0], groupIds: ['a', 'a', 'a'] });
const { loss, dLogp, metrics } = fromTrl({ loss_type: 'dapo' }).loss({ logps: new Float32Array(3), oldLogps: [0, 0, 0], advantages, mask: [true, true, false], shape: [3, 1] });
export const result: [number, Float64Array, Record<string, number>, typeof RolloutError] = [loss, dLogp, metrics, RolloutError];
// @ts-expect-error an option that is not there
grpo({ epsilonhigh: 1 });
`;
    writeFileSync(join(consumer, file), source);
    const flags = ['--strict', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--noEmit', '--target', 'es2022', '--lib', 'es2023,dom'];
    await run(process.execPath, [require.resolve('typescript/bin/tsc'), '--moduleResolution', moduleResolution, '--module', module, ...flags, file], { cwd: consumer }).catch((error: { stdout: string }) => {
      throw new Error(error.stdout);
    });
  });
  it('a bundler, which keeps less than 12 kB gzipped of it when only GRPO is imported', async () => {
    const bundle = async (source: string): Promise<string> => {
      const { outputFiles } = await build({ stdin: { contents: source, resolveDir: consumer }, bundle: true, minify: true, format: 'esm', platform: 'browser', write: false });
      return (outputFiles[0] as { text: string }).text;
    };
    const grpo = await bundle(`import { grpo } from '${SELF}'; globalThis.grpo = grpo;`);
    const all = await bundle(`import * as rollout from '${SELF}'; globalThis.rollout = rollout;`);
    const size = gzipSync(grpo).length;
    console.log(`gzipped: GRPO only ${size} bytes, everything ${gzipSync(all).length} bytes`);
    expect(size).toBeLessThan(12_000);
    expect(grpo).not.toMatch(/vllm|norm_adv_by_std|AbortController/);
  });
  it.skipIf(chromium === undefined)('Chromium, unbundled, in a page and in a worker', async () => {
    const files: Record<string, string> = {
      '/': `<!doctype html><script type="importmap">{"imports":{"${SELF}":"/dist/index.js"}}</script><script type="module" src="/page.js"></script>`,
      '/page.js': `import * as rollout from '${SELF}';${PROGRAM}`,
      // A worker knows no import map.
      '/worker.js': `import * as rollout from '/dist/index.js';${PROGRAM}postMessage(answer);`,
    };
    const server = createServer((request, response) => {
      const path = request.url ?? '/';
      const dist = join(consumer, 'node_modules', '@trimpi', 'rollout', 'dist', basename(path));
      const body = files[path] ?? (path.startsWith('/dist/') && existsSync(dist) ? readFileSync(dist, 'utf8') : undefined);
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': path === '/' ? 'text/html' : 'text/javascript' }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { chromium: engine } = (await import('playwright-core')) as typeof import('playwright-core');
    const browser = await engine.launch({ ...(chromium === undefined ? {} : { executablePath: chromium }), args: ['--no-sandbox', '--headless=new', '--disable-background-networking', '--no-first-run'] });
    try {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await page.waitForFunction('globalThis.answer !== undefined');
      expect(await page.evaluate('answer')).toEqual([true, -2]);
      const worker = `new Promise((resolve, reject) => { const w = new Worker('/worker.js', { type: 'module' }); w.onmessage = (e) => resolve(e.data); w.onerror = (e) => reject(new Error(e.message)); })`;
      expect(await page.evaluate(worker)).toEqual([true, -2]);
    } finally {
      await browser.close();
      server.close();
    }
  });
  it('a place with nothing but JavaScript (no Node, no DOM)', async () => {
    const { outputFiles } = await build({ stdin: { contents: `import * as rollout from '${SELF}';${PROGRAM}`, resolveDir: consumer }, bundle: true, format: 'iife', platform: 'browser', write: false });
    const context = createContext({});
    runInContext((outputFiles[0] as { text: string }).text, context);
    expect(JSON.parse(runInContext('JSON.stringify(answer)', context) as string)).toEqual([true, -2]);
  });
});
