/** @file A process of `drawScenesInProcesses`: draws the scenes it is told to, and sends them back. */
import { drawScenes, type SceneRequest } from '../base/scenes.ts';

process.on('message', async (request: SceneRequest) => {
  process.send!({ request, ...(await drawScenes(request)) });
});
