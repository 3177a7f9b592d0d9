/** @file A line that grows with the steps of a stage. */
import { el, svg } from './dom.ts';

const WIDTH = 320;
const HEIGHT = 72;
/** More points than this are drawn as means of neighbours. */
const MOST = 160;

export class Chart {
  readonly element: HTMLElement;
  readonly #line = svg('polyline', { class: 'line', points: '' });
  readonly #low = el('span', {});
  readonly #high = el('span', {});
  readonly #picture: SVGSVGElement;
  #points: (readonly [step: number, value: number])[] = [];
  readonly #steps: number;

  /** `name` is what the line shows, in words; `steps` the length of its axis. */
  constructor(name: string, steps: number) {
    this.#steps = Math.max(steps, 2);
    this.#picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${name}, no steps yet` }, this.#line);
    this.element = el('figure', { class: 'chart' }, el('figcaption', {}, el('span', {}, name), el('span', { class: 'range' }, this.#low, ' to ', this.#high)), this.#picture);
    this.element.dataset['name'] = name;
  }

  /** A step that is done again, after a pause, takes the place of what was drawn from there on. */
  add(...points: readonly (readonly [step: number, value: number])[]): void {
    const added = points.filter(([, v]) => Number.isFinite(v));
    const [first, last] = [added[0], added.at(-1)];
    if (first === undefined || last === undefined) return;
    if ((this.#points.at(-1)?.[0] ?? 0) >= first[0]) this.#points = this.#points.filter(([s]) => s < first[0]);
    this.#points.push(...added);
    const values = this.#points.map(([, v]) => v);
    const low = Math.min(...values);
    const high = Math.max(...values);
    const span = high - low || 1;
    this.#line.setAttribute(
      'points',
      thin(this.#points)
        .map(([x, y]) => `${(((x - 1) / (this.#steps - 1)) * WIDTH).toFixed(1)},${(4 + (1 - (y - low) / span) * (HEIGHT - 8)).toFixed(1)}`)
        .join(' '),
    );
    this.#low.textContent = low.toFixed(3);
    this.#high.textContent = high.toFixed(3);
    this.#picture.setAttribute('aria-label', `${this.element.dataset['name']}: ${last[1].toFixed(3)} at step ${last[0]}, between ${low.toFixed(3)} and ${high.toFixed(3)}`);
  }
}

function thin(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const width = Math.ceil(points.length / MOST);
  if (width <= 1) return [...points];
  const out: [number, number][] = [];
  for (let i = 0; i < points.length; i += width) {
    const part = points.slice(i, i + width);
    out.push([part.at(-1)![0], part.reduce((s, [, v]) => s + v, 0) / part.length]);
  }
  return out;
}
