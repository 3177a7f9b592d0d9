import { generateScene, renderScene, sha256Hex } from '../src/index.ts';

/** Draws one scene in a worker and sends its hash back. */
const { seed, width, height } = Object.fromEntries(new URLSearchParams(globalThis.location.search)) as Record<string, string>;
const image = renderScene(generateScene({}, seed ?? ''), { width: Number(width), height: Number(height) });
postMessage(sha256Hex(image.rgb).slice(0, 32));
