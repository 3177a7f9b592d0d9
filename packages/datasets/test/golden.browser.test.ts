import { describe, expect, it } from 'vitest';
import { generateScene, makeEpisode, renderScene, sha256Hex } from '../src/index.ts';
import { manifestItems } from './manifests.ts';
import pictures from './fixtures/pictureGolden.json';
import manifests from './fixtures/manifestGolden.json';
import scenes from './fixtures/renderGolden.json';

/** The same hashes as in Node: the bytes of a page are those of a server. */
describe('in a browser', () => {
  it('draws the committed scenes', () => {
    for (const { seed, width, height, rgb, ids } of scenes) {
      const image = renderScene(generateScene({}, seed), { width, height });
      expect([sha256Hex(image.rgb).slice(0, 32), sha256Hex(image.ids).slice(0, 32)]).toEqual([rgb, ids]);
    }
  });
  it('makes the committed items of every sort of dataset', () => {
    expect(manifestItems()).toEqual(manifests);
  });
  it('draws the same in a worker', async () => {
    const [first] = scenes;
    if (!first) throw new Error('a golden scene expected');
    const url = new URL('./golden.worker.ts', import.meta.url);
    url.search = new URLSearchParams({ seed: first.seed, width: String(first.width), height: String(first.height) }).toString();
    const worker = new Worker(url, { type: 'module' });
    const hash = await new Promise((resolve, reject) => {
      worker.addEventListener('message', (event) => resolve(event.data));
      worker.addEventListener('error', (event) => reject(new Error(event.message)));
    });
    worker.terminate();
    expect(hash).toBe(first.rgb);
  });
  it('draws the committed pictures', () => {
    for (const { family, hashes } of pictures) {
      expect(makeEpisode('golden', 'train', 0, family).pictures.map((p) => sha256Hex(p.image.rgb).slice(0, 16))).toEqual(hashes);
    }
  });
});
