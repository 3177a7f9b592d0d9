import { el } from './dom.ts';
import type { PolicyPicture } from './protocol.ts';

interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
  /** What is in it, in words, for those who do not see it. */
  readonly objects: string;
}

export function sceneCanvas({ width, height, rgba, objects }: Picture): HTMLCanvasElement {
  const canvas = el('canvas', { width, height, role: 'img', 'aria-label': `A scene with ${objects}` });
  canvas.getContext('2d')?.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

/** A policy's text with its pictures in their places. */
export function policyText(text: string, pictures: readonly PolicyPicture[]): HTMLElement {
  const parts = text.split('<image>').flatMap((words, i) => {
    const picture = pictures[i - 1];
    if (picture === undefined) return [words];
    const canvas = el('canvas', { width: picture.width, height: picture.height, role: 'img', 'aria-label': `picture of the ${picture.shows}` });
    canvas.getContext('2d')?.putImageData(new ImageData(picture.rgba, picture.width, picture.height), 0, 0);
    return [canvas, words];
  });
  return el('p', { class: 'code' }, ...parts);
}
