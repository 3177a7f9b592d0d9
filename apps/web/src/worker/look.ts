/** @file The worker that draws policies and scenes. Messages: `ToLook`, `FromLook`. */
import { runDataset } from '@trimpi/pipeline';
import type { FromLook, ToLook } from '../protocol.ts';
import { failureOf } from './failure.ts';
import { policyViews, sceneView } from './views.ts';

const post = (message: FromLook, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

addEventListener('message', ({ data }: MessageEvent<ToLook>) => {
  try {
    look(data);
  } catch (cause) {
    post({ type: 'failed', failure: failureOf(cause) });
  }
});

function look({ config, scenes }: ToLook): void {
  const dataset = runDataset(config);
  post({ type: 'policies', policies: policyViews(dataset) });
  for (let i = 0; i < Math.min(scenes, dataset.size('test')); i++) {
    const scene = sceneView(dataset, dataset.example('test', i));
    post({ type: 'scene', scene }, [scene.rgba.buffer]);
  }
  post({ type: 'drawn' });
}
