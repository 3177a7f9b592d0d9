/** @file Scenes drawn by several processes: the same as by one. */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Scene } from '@trimpi/datasets';
import { PipelineError } from '../errors.ts';
import { drawScenes, type DrawnScenes, type SceneDrawer, type SceneRequest } from '../base/scenes.ts';

/** Scenes that a process draws before it reports. */
const PIECE = 250;

/** A drawer with `processes` processes, one for each processor by default. */
export function drawScenesInProcesses(processes = availableParallelism()): SceneDrawer {
  return async (request, onProgress) => {
    const pieces: SceneRequest[] = [];
    for (let at = 0; at < request.count; at += PIECE) pieces.push({ seed: request.seed, first: request.first + at, count: Math.min(PIECE, request.count - at) });
    if (pieces.length < 2 || processes < 2) return drawScenes(request, onProgress);
    const scenes: Scene[] = new Array<Scene>(request.count);
    let rgb: Uint8Array | undefined;
    let done = 0;
    const keep = ({ request: piece, ...drawn }: DrawnScenes & { readonly request: SceneRequest }) => {
      const bytes = drawn.rgb.length / piece.count;
      rgb ??= new Uint8Array(request.count * bytes);
      rgb.set(drawn.rgb, (piece.first - request.first) * bytes);
      drawn.scenes.forEach((scene, i) => (scenes[piece.first - request.first + i] = scene));
      onProgress?.((done += piece.count));
    };
    await Promise.all(Array.from({ length: Math.min(processes, pieces.length) }, () => drain(pieces, keep)));
    return { scenes, rgb: rgb! };
  };
}

/** One process, until nothing is left to draw. */
async function drain(pieces: SceneRequest[], keep: (drawn: DrawnScenes & { readonly request: SceneRequest }) => void): Promise<void> {
  // Beside this module, in the sources and in the built package alike.
  const extension = /\.[cm]?[jt]s$/.exec(new URL(import.meta.url).pathname)?.[0] ?? '.js';
  const child = fork(fileURLToPath(new URL(`./draw-worker${extension}`, import.meta.url)), { serialization: 'advanced' });
  const failed = new Promise<never>((_, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => fail(new PipelineError('storage', 'draw-worker', `ended with ${signal ?? code} while it drew scenes.`, 'Give the machine more memory, or draw in one process.')));
  });
  failed.catch(() => undefined);
  try {
    for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
      const request = piece;
      keep(await Promise.race([failed, new Promise<DrawnScenes & { readonly request: SceneRequest }>((settle) => {
        child.once('message', (message) => settle(message as DrawnScenes & { readonly request: SceneRequest }));
        child.send(request);
      })]));
    }
  } finally {
    child.kill();
  }
}
