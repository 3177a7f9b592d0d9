/** @file The contestants of the benchmark, as the parent sees them. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../../../scripts/lib/run.mjs';

/** A contestant that takes longer than this for one call is out of the case. */
const TIMEOUT_MS = 240_000;

/** One contestant: a child process that answers calls. */
class Contestant {
  #child;
  #waiting = new Map();
  #next = 0;

  constructor(name, peers, execPath, sources) {
    const execArgv = sources ? ['--conditions=@trimpi/source', '--import', 'tsx'] : [];
    this.#child = fork(join(import.meta.dirname, 'worker.mjs'), [name], { cwd: ROOT, execPath, execArgv, env: { ...process.env, TRIMPI_BENCH_PEERS: peers }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let last = '';
    this.#child.stderr.on('data', (data) => (last = `${last}${data}`.slice(-600)));
    this.#child.on('message', ({ id, value, error }) => {
      this.#waiting.get(id)?.(error === undefined ? { value } : { error });
      this.#waiting.delete(id);
    });
    this.#child.on('exit', (code) => {
      for (const answer of this.#waiting.values()) answer({ error: `the process ended with ${code}: ${last}` });
      this.#waiting.clear();
    });
    this.#child.on('error', () => {});
  }

  async call(call, args = {}) {
    if (!this.#child.connected) throw new Error('the process has ended');
    const id = this.#next++;
    let timer;
    const answer = await new Promise((settle) => {
      this.#waiting.set(id, settle);
      timer = setTimeout(() => settle({ error: `took longer than ${TIMEOUT_MS / 1000} s` }), TIMEOUT_MS);
      this.#child.send({ id, call, ...args });
    });
    clearTimeout(timer);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }

  kill() {
    this.#child.kill('SIGKILL');
  }

  async close() {
    const ended = new Promise((r) => this.#child.once('exit', r));
    if (!this.#child.connected) return;
    const timer = setTimeout(() => this.kill(), 5000);
    await this.call('close').catch(() => this.kill());
    await ended;
    clearTimeout(timer);
  }
}

/** The processes, each begun when it is first needed and again when it has been ended. */
export class Contestants {
  /** What each says of its adapter. */
  adapters = {};
  /** What our own says of it in full. */
  facts;
  #peers;
  #execPath;
  #sources;
  #running = new Map();

  /** @param sources Those that are run from the sources of the workspace. */
  constructor(peers, execPath, sources) {
    this.#peers = peers;
    this.#execPath = execPath;
    this.#sources = sources;
  }

  async get(name) {
    const known = this.#running.get(name);
    if (known !== undefined) return known;
    const worker = new Contestant(name, this.#peers, this.#execPath, this.#sources.includes(name));
    this.#running.set(name, worker);
    const { adapter, facts } = await worker.call('open');
    this.adapters[name] = adapter;
    this.facts ??= facts;
    return worker;
  }

  kill(name) {
    this.#running.get(name)?.kill();
    this.#running.delete(name);
  }

  async close() {
    for (const worker of this.#running.values()) await worker.close();
  }
}
