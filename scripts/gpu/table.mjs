#!/usr/bin/env node
/**
 * @file The paper's table on one machine with a GPU and many cores: `trimpi reproduce` for parts of it, several at a time. Parts
 * share nothing but their depth and seed: each has its folder (stages that several need are trained in each), and the
 * rows that are done are gathered in one, as `trimpi reproduce --out` would have made it.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { program, ROOT, run, UserError } from '../lib/run.mjs';

const HELP = `node scripts/gpu/table.mjs [options]
  --n LIST           depths of ClevrPolicy's policies (default 2)
  --benchmarks LIST  of clevr-t, clevr-m, gta (default clevr-t)
  --seeds LIST       seeds (default 1,2,3)
  --rows GROUPS      groups of rows; groups are divided by ';', rows by ',' (default: all rows in six groups)
  --jobs-file FILE   JSON instead of the four above: [{"benchmark": "clevr-t", "n": 2, "seed": 1, "rows": ["in-context"]}, ...]
  --jobs N           how many run at a time (default 4)
  --minutes N        all of it ends after so many minutes; what is not done is saved (default 60)
  --scale SCALE      tiny or small (default tiny)
  --dir DIR          folder of the jobs, their logs and the table (default runs/gpu-table)
  --tar FILE         puts the table (its rows, without weights) into a tar.gz`;

/** What is trained together, by the stages that it needs; the parts that others wait for longest come first. */
const GROUPS = [
  ['vm-cpt+cot-sft', 'cpt+cot-sft', 'vm-cpt+cot-sft+grpo', 'vm-cpt+cot-sft+poro-grpo'],
  ['vm-cpt+cot-sft+dapo', 'vm-cpt+cot-sft+poro-dapo'],
  ['in-context', 'direct-sft', 'cot-sft', 'cot-sft+grpo', 'cot-sft+poro-grpo'],
  ['cot-sft+dapo', 'cot-sft+poro-dapo'],
  ['direct-sft+grpo', 'direct-sft+poro-grpo'],
  ['direct-sft+dapo', 'direct-sft+poro-dapo'],
];
/** Between the end that a job is told and the signal that makes it save, and between that and its being killed. */
const GRACE_MS = 60_000;

const { values: options } = parseArgs({
  options: {
    n: { type: 'string', default: '2' }, benchmarks: { type: 'string', default: 'clevr-t' }, seeds: { type: 'string', default: '1,2,3' }, rows: { type: 'string' }, 'jobs-file': { type: 'string' },
    jobs: { type: 'string', default: '4' }, minutes: { type: 'string', default: '60' }, scale: { type: 'string', default: 'tiny' },
    dir: { type: 'string', default: join(ROOT, 'runs', 'gpu-table') }, tar: { type: 'string' }, help: { type: 'boolean', default: false },
  },
});

/** Jobs of the first depth and seed come before those of the next. */
async function jobList() {
  if (options['jobs-file'] !== undefined) return JSON.parse(await readFile(options['jobs-file'], 'utf8'));
  const groups = options.rows === undefined ? GROUPS : options.rows.split(';').map((group) => group.split(',').map((row) => row.trim()));
  const numbers = (text) => text.split(',').map(Number);
  const settings = options.benchmarks.split(',').flatMap((benchmark) => (benchmark === 'gta' ? [{ benchmark, n: 0 }] : numbers(options.n).map((n) => ({ benchmark, n }))));
  return settings.flatMap((setting) => numbers(options.seeds).flatMap((seed) => groups.map((rows) => ({ ...setting, seed, rows }))));
}

const folderOf = (index) => join(resolve(options.dir), `job-${index}`);

/** Runs one job to its end or the deadline; every line of its output is logged with the seconds since the start. */
async function runJob({ benchmark = 'clevr-t', n, seed, rows }, index, deadline, start) {
  const left = deadline - Date.now();
  if (left < 1000) return 'not begun';
  const folder = folderOf(index);
  await mkdir(folder, { recursive: true });
  const log = createWriteStream(join(resolve(options.dir), `job-${index}.log`));
  const write = (line) => log.write(`${((Date.now() - start) / 1000).toFixed(1)} ${line}\n`);
  const args = ['reproduce', '--benchmarks', benchmark, ...(benchmark === 'gta' ? [] : ['--n', n]), '--seeds', seed, '--rows', rows.join(','), '--scale', options.scale, '--out', folder, '--minutes', Math.ceil(left / 60_000), '--json'].map(String);
  const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', join(ROOT, 'apps', 'cli', 'src', 'main.ts'), ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const signals = [setTimeout(() => child.kill('SIGINT'), left), setTimeout(() => child.kill('SIGKILL'), left + GRACE_MS)];
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', write);
  const code = await new Promise((settle) => {
    child.on('error', () => settle('no process'));
    child.on('close', (exit, signal) => settle(exit ?? signal));
  });
  signals.forEach(clearTimeout);
  await new Promise((written) => log.end(written));
  return code;
}

/** Copies the rows that the jobs have finished, their baselines and settings into one folder; answers with the number of rows. */
async function gather(jobs, target) {
  let count = 0;
  for (const [index, { benchmark = 'clevr-t', n, seed, rows }] of jobs.entries()) {
    const settingFolder = benchmark === 'gta' ? 'gta' : `n${n}${benchmark === 'clevr-m' ? 'm' : ''}`;
    const seedFolder = join(settingFolder, `seed-${seed}`);
    const own = rows.map((row) => join(seedFolder, `${row}.json`)).filter((file) => existsSync(join(folderOf(index), file)));
    for (const file of [join(settingFolder, 'settings.json'), join(seedFolder, 'baselines.json'), ...own]) {
      if (existsSync(join(folderOf(index), file))) await cp(join(folderOf(index), file), join(target, file));
    }
    count += own.length;
  }
  return count;
}

async function main() {
  const start = Date.now();
  const deadline = start + Number(options.minutes) * 60_000;
  const jobs = await jobList();
  const of = jobs.reduce((sum, job) => sum + job.rows.length, 0);
  const queue = [...jobs.entries()];
  await mkdir(resolve(options.dir), { recursive: true });
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, job] = next;
      const code = await runJob(job, index, deadline, start);
      console.log(`${((Date.now() - start) / 1000).toFixed(0)} s: job ${index} (${job.benchmark ?? 'clevr-t'} N=${job.n}, seed ${job.seed}: ${job.rows.join(', ')}) ended with ${code}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(Number(options.jobs), jobs.length) }, worker));
  const table = join(resolve(options.dir), 'table');
  console.log(`${await gather(jobs, table)} of ${of} rows: ${table}`);
  if (options.tar === undefined) return;
  const { code, stderr } = await run('tar', ['-czf', resolve(options.tar), '-C', resolve(options.dir), 'table', ...jobs.flatMap((_, index) => [`job-${index}.log`]).filter((name) => existsSync(join(resolve(options.dir), name)))], { capture: true });
  if (code !== 0) throw new UserError(`tar failed: ${stderr.trim()}`);
  console.log(`Packed: ${resolve(options.tar)}`);
}

if (options.help) console.log(HELP);
else await program(main);
