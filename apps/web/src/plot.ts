/** @file Several curves in one plot, told apart by colour and by dashes. */
import { el, svg } from './dom.ts';

export interface PlotLine {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Which colour, and which dashes. */
  readonly colour: number;
  readonly dash: number;
}

const WIDTH = 640;
const HEIGHT = 240;
export const COLOURS = 6;
const DASHES = ['none', '7 4', '2 3', '10 3 2 3'];

/** `what` names the vertical axis, `along` the horizontal one. */
export function plot(what: string, along: string, lines: readonly PlotLine[]): HTMLElement {
  const all = lines.flatMap((l) => l.points);
  const [left, right] = extent(all.map(([x]) => x));
  const [low, high] = extent(all.map(([, y]) => y));
  const place = ([x, y]: readonly [number, number]) => `${(((x - left) / (right - left || 1)) * WIDTH).toFixed(1)},${(6 + (1 - (y - low) / (high - low || 1)) * (HEIGHT - 12)).toFixed(1)}`;
  const drawn = lines.map(({ points, colour, dash }) => svg('polyline', { class: `series c${colour % COLOURS}`, 'stroke-dasharray': DASHES[dash % DASHES.length]!, points: points.map(place).join(' ') }));
  const said = lines.map(({ name, points }) => `${name} ends at ${points.at(-1)![1].toFixed(3)}`).join('; ');
  return el(
    'figure', { class: 'plot' },
    el('figcaption', {}, el('span', {}, what), el('span', {}, `${low.toFixed(2)} to ${high.toFixed(2)}; ${along} ${left} to ${right}`)),
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${what}: ${said}` }, ...drawn),
    el('ul', { class: 'legend' }, ...lines.map(({ name, colour, dash }) => el('li', {}, svg('svg', { viewBox: '0 0 36 8', 'aria-hidden': 'true' }, svg('line', { class: `series c${colour % COLOURS}`, 'stroke-dasharray': DASHES[dash % DASHES.length]!, x1: 0, y1: 4, x2: 36, y2: 4 })), name))),
  );
}

function extent(values: readonly number[]): [number, number] {
  return values.length === 0 ? [0, 1] : [Math.min(...values), Math.max(...values)];
}
