/** @file A process of `pretrainProcesses`: draws scenes and makes batches as it is told, and sends them back. */
import type { TextBatchMaker, TextPhase } from '../base/batches.ts';
import { type PretrainRecipe, textBatchMaker } from '../base/recipes.ts';
import type { KnownImages } from '../base/rows.ts';
import { drawScenes, type SceneRequest } from '../base/scenes.ts';

/** What a process is told. Only `draw` and `batch` are answered, in their order. */
export type WorkerRequest =
  | { readonly kind: 'draw'; readonly scenes: SceneRequest }
  | { readonly kind: 'recipe'; readonly recipe: PretrainRecipe; readonly known: KnownImages }
  | { readonly kind: 'batch'; readonly phase: TextPhase; readonly index: number };

// Ctrl-C reaches every process of a terminal; this one is needed until the run has saved, and ends with it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit());

/** Nobody waits for an answer any more when the channel is closed. */
function answer(message: object): void {
  if (process.connected) process.send!(message, undefined, undefined, () => undefined);
}

let maker: TextBatchMaker | undefined;

process.on('message', async (request: WorkerRequest) => {
  if (request.kind === 'draw') answer(await drawScenes(request.scenes));
  else if (request.kind === 'recipe') maker = textBatchMaker(request.recipe, request.known);
  else answer(maker!.batch(request.phase, request.index));
});
