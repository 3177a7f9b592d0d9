/** @file The processor's part of pre-training on every core: the same scenes and batches as one thread makes. */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Scene } from '@trimpi/datasets';
import type { TextBatch, TextPhase } from '../base/batches.ts';
import type { PretrainWorkers } from '../base/pretrain.ts';
import type { DrawnScenes, SceneRequest } from '../base/scenes.ts';
import { PipelineError } from '../errors.ts';
import type { WorkerRequest } from './pretrain-worker.ts';

/** Scenes that a process draws before it reports. */
const PIECE = 250;
/** Batches that each process makes ahead of their use. */
const AHEAD = 2;

/**
 * Processes that draw and make batches; `dispose` ends them.
 * @param count one for each processor by default.
 * @param execArgv options of Node for them; those of this process by default.
 */
export function pretrainProcesses(count = availableParallelism(), execArgv: readonly string[] = process.execArgv): PretrainWorkers & { dispose(): void } {
  const helpers = Array.from({ length: count }, () => new Helper(execArgv));
  return {
    async draw({ seed, first, count: all }, onProgress, signal) {
      const pieces: SceneRequest[] = [];
      for (let at = 0; at < all; at += PIECE) pieces.push({ seed, first: first + at, count: Math.min(PIECE, all - at) });
      const scenes: Scene[] = [];
      let rgb: Uint8Array | undefined;
      let done = 0;
      await Promise.all(helpers.map(async (helper) => {
        for (let piece = pieces.shift(); piece !== undefined && signal?.aborted !== true; piece = pieces.shift()) {
          const drawn = await helper.ask<DrawnScenes>({ kind: 'draw', scenes: piece });
          const bytes = drawn.rgb.length / piece.count;
          rgb ??= new Uint8Array(all * bytes);
          rgb.set(drawn.rgb, (piece.first - first) * bytes);
          drawn.scenes.forEach((scene, i) => (scenes[piece!.first - first + i] = scene));
          onProgress?.((done += piece.count));
        }
      }));
      return { scenes, rgb: rgb ?? new Uint8Array(0) };
    },
    batches(recipe, known) {
      for (const helper of helpers) helper.tell({ kind: 'recipe', recipe, known });
      const made = new Map<string, Promise<TextBatch>>();
      const request = (phase: TextPhase, index: number): Promise<TextBatch> => {
        const key = `${phase} ${index}`;
        let batch = made.get(key);
        if (batch === undefined) {
          batch = helpers[index % helpers.length]!.ask<TextBatch>({ kind: 'batch', phase, index });
          batch.catch(() => undefined);
          made.set(key, batch);
        }
        return batch;
      };
      return async (phase, index) => {
        for (const key of made.keys()) if (!key.startsWith(phase)) made.delete(key);
        const batch = request(phase, index);
        for (let i = 1; i <= AHEAD * helpers.length; i++) void request(phase, index + i);
        made.delete(`${phase} ${index}`);
        return batch;
      };
    },
    dispose: () => helpers.forEach((helper) => helper.end()),
  };
}

/** A process, which answers one request after the other. */
class Helper {
  readonly #child: ChildProcess;
  readonly #waiting: { readonly settle: (answer: unknown) => void; readonly fail: (error: Error) => void }[] = [];
  #ended: Error | undefined;

  constructor(execArgv: readonly string[]) {
    // Beside this module, in the sources and in the built package alike.
    const extension = /\.[cm]?[jt]s$/.exec(new URL(import.meta.url).pathname)?.[0] ?? '.js';
    this.#child = fork(fileURLToPath(new URL(`./pretrain-worker${extension}`, import.meta.url)), { serialization: 'advanced', execArgv: [...execArgv] });
    this.#child.on('message', (answer) => this.#waiting.shift()?.settle(answer));
    this.#child.on('error', (error) => this.#fail(error));
    this.#child.on('exit', (code, signal) => this.#fail(new PipelineError('storage', 'pretrain-worker', `ended with ${signal ?? code} before it was told to.`, 'Look for the cause in its output above, such as too little memory, and start again: the run goes on.')));
  }

  tell(request: WorkerRequest): void {
    if (this.#ended === undefined) this.#child.send(request);
  }

  ask<T>(request: WorkerRequest): Promise<T> {
    return new Promise<T>((settle, fail) => {
      if (this.#ended !== undefined) return fail(this.#ended);
      this.#waiting.push({ settle: (answer) => settle(answer as T), fail });
      this.tell(request);
    });
  }

  end(): void {
    this.#fail(new PipelineError('storage', 'pretrain-worker', 'has been told to end.', 'Make helpers for each run, and dispose of them after it.'));
    if (this.#child.connected) this.#child.disconnect();
  }

  #fail(error: Error): void {
    this.#ended ??= error;
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }
}
