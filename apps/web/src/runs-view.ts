/** @file Runs of this and earlier visits: rewards in one plot, accuracies in one table. */
import { Chart, type Line, type Row } from './chart.ts';
import { byId, el } from './dom.ts';
import type { RunSummary } from './protocol.ts';
import { callsLine, percent } from './scores.ts';

/** Points on either side that a reward is averaged over. */
const SMOOTH = 2;

export class RunsView {
  readonly #root = byId('runs');
  readonly #chosen = new Set<string>();
  readonly #forget: (id: string) => void;
  #runs: readonly RunSummary[] = [];

  constructor(forget: (id: string) => void) {
    this.#forget = forget;
  }

  show(runs: readonly RunSummary[]): void {
    const known = new Set(this.#runs.map((r) => r.id));
    for (const { id } of runs) if (!known.has(id)) this.#chosen.add(id);
    this.#runs = runs;
    this.#root.hidden = runs.length === 0;
    this.#draw();
  }

  #draw(): void {
    const body = el('div', {});
    const fill = () => body.replaceChildren(...this.#compared());
    const list = el('ul', { class: 'runs' }, ...this.#runs.map((run, i) => {
      const box = el('input', { type: 'checkbox', id: `run-${run.id}`, checked: this.#chosen.has(run.id), change: () => {
        if (box.checked) this.#chosen.add(run.id);
        else this.#chosen.delete(run.id);
        fill();
      } });
      return el('li', {}, box, el('label', { for: box.id }, el('strong', {}, `Run ${i + 1}`), `: ${settingsOf(run)}`),
        el('button', { type: 'button', class: 'small', 'aria-label': `Forget run ${i + 1}`, click: () => this.#forget(run.id) }, 'Forget'));
    }));
    fill();
    this.#root.replaceChildren(el('h3', {}, 'Runs compared'), list, body);
  }

  #compared(): HTMLElement[] {
    const runs = this.#runs.map((run, i) => ({ run, i })).filter(({ run }) => this.#chosen.has(run.id));
    const lines = runs.flatMap(({ run, i }) => run.rewards.map(({ title, points }, k): Curve => ({ name: `Run ${i + 1}, ${title}`, points: smooth(points), colour: i, dash: k })));
    const stages = [...new Set(runs.flatMap(({ run }) => run.stages.map((s) => s.title)))];
    return [
      ...(lines.length > 0 ? [rewards(lines)] : []),
      ...(runs.length > 0 ? [el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Accuracy of the runs' }, el('table', {},
        el('caption', {}, 'Accuracy on unseen pictures without the policy (95 %)'),
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Stage'), ...runs.map(({ i }) => el('th', { scope: 'col' }, `Run ${i + 1}`)))),
        el('tbody', {}, ...stages.map((title) => el('tr', {}, el('th', { scope: 'row' }, title), ...runs.map(({ run }) => accuracyOf(run, title)))))))] : []),
    ];
  }
}

interface Curve extends Line {
  readonly points: readonly (readonly [step: number, value: number])[];
}

/** Runs may have different steps. */
function rewards(curves: readonly Curve[]): HTMLElement {
  const values = curves.map(({ points }) => new Map(points));
  const steps = [...new Set(curves.flatMap(({ points }) => points.map(([step]) => step)))].toSorted((a, b) => a - b);
  const chart = new Chart('Reward (mean of five steps)', curves, { tall: true });
  chart.add(...steps.map((step): Row => [step, ...values.map((v) => v.get(step) ?? null)]));
  return chart.element;
}

function accuracyOf(run: RunSummary, title: string): HTMLElement {
  const s = run.stages.find((x) => x.title === title);
  if (s === undefined) return el('td', {}, '–');
  const { calls } = s;
  return el('td', {}, `${percent(s.accuracy)} (${(100 * s.low).toFixed(0)} to ${(100 * s.high).toFixed(0)})`,
    ...callsLine(calls));
}

function settingsOf({ config, base, finishedAt }: RunSummary): string {
  return `${base === undefined ? '' : `${base} base, `}seed ${config.seed}, ${config.benchmark === 'gta' ? 'GTAPolicy' : `N = ${config.n}, ${config.policies} ${config.policies === 1 ? 'policy' : 'policies'}`}, ${config.vmCpt.steps} + ${config.sft.steps} + ${config.rl.steps} steps, ${new Date(finishedAt).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' })} `;
}

function smooth(points: RunSummary['rewards'][number]['points']): [number, number][] {
  return points.map(([x], i) => {
    const near = points.slice(Math.max(0, i - SMOOTH), i + SMOOTH + 1);
    return [x, near.reduce((s, [, y]) => s + y, 0) / near.length];
  });
}
