/** @file What the model says while it learns: one question of the last RL steps, with all its completions. */
import { byId, el } from './dom.ts';
import type { SampleView } from './protocol.ts';
import { scenePictures } from './scene-canvas.ts';

/** Groups that stay. */
const SHOWN = 3;

export class SamplesView {
  readonly #root = byId('samples');
  readonly #list = byId('samples-list');

  clear(): void {
    this.#list.replaceChildren();
    this.#root.hidden = true;
  }

  show({ title, step, scene, completions }: SampleView): void {
    this.#root.hidden = false;
    const right = completions.filter((c) => c.accuracy === 1).length;
    this.#list.prepend(
      el('li', { class: 'scene sample' },
        scenePictures(scene.pictures),
        el('p', {}, el('strong', {}, `${title}, step ${step}`), `: ${right} of ${completions.length} right`),
        el('p', {}, el('span', { class: 'code' }, scene.query), ` Right is ${scene.answer}.`),
        el('ul', { class: 'said-all' }, ...completions.map((c) =>
          el('li', {}, el('span', { class: `verdict ${c.accuracy === 1 ? 'right' : 'wrong'}` }, c.accuracy === 1 ? 'right' : 'wrong'), el('span', { class: 'quiet' }, ` ${c.origin === 'policy' ? 'policy in the prompt' : 'without policy'}, advantage ${c.advantage.toFixed(2)} `), el('span', { class: 'code' }, c.text)))),
      ),
    );
    while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild!.remove();
  }
}
