/** @file The worker that draws policies and scenes. Messages: `ToLook`, `FromLook`. */
import type { ClevrPolicyExample } from '@trimpi/datasets';
import { runDataset } from '@trimpi/pipeline';
import type { FromLook, ToLook } from '../protocol.ts';
import { failureOf } from './failure.ts';
import { fitting, testSizeFor } from './fitting.ts';
import { policyViews, sceneView } from './views.ts';

/** Scenes that are drawn for a question or a case that none of the first comes by. */
const MORE = 3;

const post = (message: FromLook, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

let dataset: ReturnType<typeof runDataset> | undefined;

addEventListener('message', ({ data }: MessageEvent<ToLook>) => {
  try {
    if (data.type === 'look') look(data);
    else if (dataset !== undefined) draw(fitting(dataset, data.policyId, data.nodeId, MORE));
  } catch (cause) {
    post({ type: 'failed', failure: failureOf(cause) });
  }
});

function look({ config, scenes }: Extract<ToLook, { type: 'look' }>): void {
  // A longer test set begins with the same examples.
  const drawn = (dataset = runDataset({ ...config, testSize: Math.max(config.testSize, testSizeFor(MORE, config)) }));
  post({ type: 'policies', policies: policyViews(drawn) });
  draw(Array.from({ length: Math.min(scenes, config.testSize) }, (_, i) => drawn.example('test', i)));
}

function draw(examples: readonly ClevrPolicyExample[]): void {
  for (const example of examples) {
    const scene = sceneView(dataset!, example);
    post({ type: 'scene', scene }, [scene.rgba.buffer]);
  }
  post({ type: 'drawn' });
}
