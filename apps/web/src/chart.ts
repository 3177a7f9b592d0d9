/** @file Curves of numbers by step, drawn by uPlot on a canvas; said in words for those who do not see it, and as a table. */
import type uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { el, svg } from './dom.ts';

export interface Line {
  readonly name: string;
  /** Lines are told apart by colour and by dashes. */
  readonly colour: number;
  readonly dash: number;
}

/** A step with the value of each line, null where a line has none. */
export type Row = readonly [step: number, ...values: (number | null)[]];

interface ChartOptions {
  /** Length of the axis of steps; as far as there are rows when it is not known. */
  readonly steps?: number;
  readonly tall?: boolean;
}

/** Custom properties of the style sheet that hold the colours of lines. */
const COLOURS = ['--main', '--no', '--yes', '--line-3', '--line-4', '--line-5'];
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
/** A table of more rows than these leaves steps out. */
const MOST_ROWS = 200;

export class Chart {
  readonly element: HTMLElement;
  readonly #name: string;
  readonly #lines: readonly Line[];
  readonly #steps: number | undefined;
  /** By column: steps, then the values of each line. */
  readonly #columns: (number | null)[][];
  readonly #holder: HTMLElement;
  readonly #said = el('span', {});
  /** Beside the names of several lines. */
  readonly #values: readonly HTMLElement[];
  readonly #table = el('details', { class: 'values', toggle: () => this.#fillTable() }, el('summary', {}, 'Values'));
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)');
  readonly #recolour = () => this.#plot?.redraw(false);
  #plot: uPlot | undefined;
  #waiting = false;

  /** `name` is what the lines show, in words. */
  constructor(name: string, lines: readonly Line[], { steps, tall = false }: ChartOptions = {}) {
    this.#name = name;
    this.#lines = lines;
    this.#steps = steps;
    this.#columns = [[], ...lines.map(() => [])];
    this.#values = lines.map(() => el('span', { class: 'value' }));
    this.#holder = el('div', { class: 'canvas', role: 'img', 'aria-label': `${name}, no steps yet` });
    this.element = el('figure', { class: tall ? 'chart tall' : 'chart' }, el('figcaption', {}, el('span', {}, name), this.#said), this.#holder,
      ...(lines.length > 1 ? [el('ul', { class: 'legend' }, ...lines.map((line, i) => el('li', {}, mark(line), el('span', { class: 'name' }, line.name), ' ', this.#values[i]!)))] : []), this.#table);
    // It is drawn when it has a place on the page, and lets go of its listeners when it has none any more.
    new ResizeObserver(([entry]) => this.#fit(entry!.contentRect)).observe(this.#holder);
  }

  /** Rows in the order of their steps. A step that is done again, after a pause, takes the place of what was there from it on. */
  add(...rows: readonly Row[]): void {
    const first = rows[0]?.[0];
    if (first === undefined) return;
    const [steps] = this.#columns as [number[]];
    while (steps.length > 0 && steps.at(-1)! >= first) for (const column of this.#columns) column.pop();
    for (const row of rows) this.#columns.forEach((column, i) => column.push(Number.isFinite(row[i]) ? row[i]! : null));
    // However many steps there are, a frame draws once.
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#show();
    });
  }

  #show(): void {
    this.#plot?.setData(this.#columns as uPlot.AlignedData);
    this.#holder.setAttribute('aria-label', this.#inWords());
    this.#say(this.#columns[0]!.length - 1);
  }

  /** The values at a row: the last, or where the pointer is. */
  #say(at: number): void {
    const step = this.#columns[0]![at];
    if (step === undefined) return;
    this.#values.forEach((value, i) => (value.textContent = number(this.#columns[i + 1]![at])));
    this.#said.textContent = this.#lines.length > 1 ? `step ${step}` : `${number(this.#columns[1]![at])} at step ${step}`;
  }

  #inWords(): string {
    const parts = this.#lines.map(({ name }, i) => {
      const values = this.#columns[i + 1]!.filter((v) => v !== null);
      const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity] as [number, number]);
      return `${this.#lines.length > 1 ? `${name} ` : ''}${values.length === 0 ? 'nothing' : `${number(values.at(-1))} (${number(low)} to ${number(high)})`}`;
    });
    return `${this.#name} at step ${this.#columns[0]!.at(-1)}: ${parts.join('; ')}`;
  }

  #fillTable(): void {
    if (!this.#table.open) return;
    const steps = this.#columns[0]!;
    const every = Math.ceil(steps.length / MOST_ROWS);
    const shown = steps.flatMap((step, i) => ((steps.length - 1 - i) % every === 0 ? [[step, i] as const] : []));
    const head = ['Step', ...(this.#lines.length > 1 ? this.#lines.map((l) => l.name) : [this.#name])];
    this.#table.replaceChildren(this.#table.firstElementChild!, el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Values of ${this.#name}` }, el('table', {},
      el('caption', {}, `Up to step ${steps.at(-1) ?? 0}${every > 1 ? `, one of ${every}` : ''}`),
      el('thead', {}, el('tr', {}, ...head.map((h) => el('th', { scope: 'col' }, h)))),
      el('tbody', {}, ...shown.map(([step, i]) => el('tr', {}, el('th', { scope: 'row' }, String(step)), ...this.#lines.map((_, k) => el('td', {}, number(this.#columns[k + 1]![i])))))),
    )));
  }

  #fit({ width, height }: DOMRectReadOnly): void {
    if (width === 0) {
      this.#scheme.removeEventListener('change', this.#recolour);
      this.#plot?.destroy();
      this.#plot = undefined;
    } else if (this.#plot === undefined) {
      void this.#open();
    } else {
      this.#plot.setSize({ width, height });
    }
  }

  /** uPlot comes with the first curve. */
  async #open(): Promise<void> {
    const loaded = await import('uplot').catch(() => undefined);
    if (loaded === undefined) this.#holder.textContent = 'The script that draws curves could not be loaded; their values are below.';
    const { clientWidth: width, clientHeight: height } = this.#holder;
    if (loaded === undefined || this.#plot !== undefined || width === 0) return;
    this.#plot = new loaded.default(this.#options(width, height), this.#columns as uPlot.AlignedData, this.#holder);
    this.#scheme.addEventListener('change', this.#recolour);
  }

  #options(width: number, height: number): uPlot.Options {
    const axis = { stroke: () => colour('--quiet'), font: '11px system-ui, sans-serif', grid: { stroke: () => colour('--line'), width: 1 }, ticks: { show: false }, gap: 4 };
    const steps = this.#steps;
    return {
      width, height, legend: { show: false }, padding: [6, 8, 0, 0],
      scales: { y: { range: (_, low, high) => rangeOf(low, high) }, x: { time: false, ...(steps === undefined ? {} : { range: [1, Math.max(steps, 2)] as [number, number] }) } },
      axes: [{ ...axis, size: 20, space: 40, incrs: WHOLE }, { ...axis, size: 42, space: 24, values: (_, ticks, __, ___, apart) => ticks.map((v) => v.toFixed(Math.max(0, Math.ceil(-Math.log10(apart))))) }],
      cursor: { y: false, drag: { x: false, y: false } },
      series: [{}, ...this.#lines.map((line): uPlot.Series => {
        const stroke = () => colour(COLOURS[line.colour % COLOURS.length]!);
        return { label: line.name, stroke, width: 1.6, dash: DASHES[line.dash % DASHES.length]!, spanGaps: true, points: { size: 5, stroke, fill: stroke } };
      })],
      hooks: { setCursor: [({ cursor }) => this.#say(cursor.idx ?? this.#columns[0]!.length - 1)] },
    };
  }
}

/** Some room above and below; from 0 to 1 where there is nothing or nothing but 0. */
function rangeOf(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || (low === 0 && high === 0)) return [0, 1];
  const room = (high - low || Math.abs(low)) / 10;
  return [low - room, high + room];
}

/** Steps are whole numbers. */
const WHOLE = [1, 2, 5].flatMap((n) => [1, 10, 100, 1e3, 1e4].map((p) => n * p)).toSorted((a, b) => a - b);

function colour(property: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(property);
}

function mark({ colour: c, dash }: Line): SVGElement {
  return svg('svg', { viewBox: '0 0 36 8', 'aria-hidden': 'true' }, svg('line', { class: `series c${c % COLOURS.length}`, 'stroke-dasharray': DASHES[dash % DASHES.length]!.join(' ') || 'none', x1: 0, y1: 4, x2: 36, y2: 4 }));
}

function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : value.toFixed(3);
}
