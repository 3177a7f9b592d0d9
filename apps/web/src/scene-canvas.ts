import { el } from './dom.ts';
import type { PolicyPicture, ScenePicture } from './protocol.ts';

/** The pictures of a question, one above the other. */
export function scenePictures(pictures: readonly ScenePicture[]): HTMLElement {
  return el('div', { class: 'stack' }, ...pictures.map(({ name, width, height, rgba, objects }) => {
    const canvas = el('canvas', { width, height, role: 'img', 'aria-label': `${name === '' ? '' : `${name}: `}A scene with ${objects}` });
    canvas.getContext('2d')?.putImageData(new ImageData(rgba, width, height), 0, 0);
    return canvas;
  }));
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
