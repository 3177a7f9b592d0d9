/** @file The worker that draws policies and scenes. Messages: `ToLook`, `FromLook`. */
import type { FromLook, SceneView, ToLook } from '../protocol.ts';
import { failureOf } from './failure.ts';
import { type PageData, pageData } from './run-data.ts';

/** Scenes that are drawn for a question or a case that none of the first comes by. */
const MORE = 3;

const post = (message: FromLook, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

let data: PageData | undefined;

addEventListener('message', ({ data: message }: MessageEvent<ToLook>) => {
  hear(message).catch((cause: unknown) => post({ type: 'failed', failure: failureOf(cause) }));
});

async function hear(message: ToLook): Promise<void> {
  if (message.type === 'look') await look(message);
  else if (data !== undefined) draw(data.fitting(message.policyId, message.nodeId, MORE));
}

async function look({ config, scenes }: Extract<ToLook, { type: 'look' }>): Promise<void> {
  const drawn = (data = await pageData(config));
  post({ type: 'policies', policies: drawn.views() });
  // One after the other: each is shown as it is drawn.
  for (let i = 0; i < Math.min(scenes, config.testSize); i++) show(drawn.question('test', i).scene);
  post({ type: 'drawn' });
}

function draw(scenes: readonly SceneView[]): void {
  scenes.forEach(show);
  post({ type: 'drawn' });
}

function show(scene: SceneView): void {
  post({ type: 'scene', scene }, scene.pictures.map((p) => p.rgba.buffer));
}
