import { el } from './dom.ts';

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
