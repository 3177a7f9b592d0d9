/** @file What a run is doing: stage by stage, with curves and the answers right after each. */
import { algorithmName, type RunConfig, type RunEvent, type StageName, stageTitle } from '@trimpi/pipeline';
import { Chart, type Row } from './chart.ts';
import { chartsOf, rowsOf, type StageChart } from './curves.ts';
import { byId, el } from './dom.ts';
import type { StageCurves, StageResult } from './protocol.ts';
import { callsLine, percent } from './scores.ts';

interface StageCard {
  readonly element: HTMLElement;
  readonly state: HTMLElement;
  readonly bar: HTMLProgressElement;
  readonly line: HTMLElement;
  readonly speed: HTMLElement;
  readonly result: HTMLElement;
  readonly charts: Map<string, Chart>;
}

const nameOf = (stage: StageName) => (stage === 'base' || stage === 'vm-cpt' || stage === 'cot-sft' ? stageTitle(stage) : algorithmName(stage));

export class ProgressView {
  readonly #root = byId('progress');
  readonly #cards = new Map<StageName, StageCard>();
  /** Of each stage. */
  #steps: Readonly<Partial<Record<StageName, number>>> = {};
  #stage: StageName = 'base';
  /** In words, once it is known. */
  #memory = '';

  /** Cards of all stages of a run; those of `done` with their results, and those that have begun with their curves. */
  begin(config: RunConfig, done: readonly StageResult[], curves: readonly StageCurves[]): void {
    this.#cards.clear();
    const stages: StageName[] = ['base', 'vm-cpt', 'cot-sft', ...config.arms];
    this.#steps = { 'vm-cpt': config.vmCpt.steps, 'cot-sft': config.sft.steps, ...Object.fromEntries(config.arms.map((arm) => [arm, config.rl.steps])) };
    stages.forEach((stage) => this.#cards.set(stage, card(nameOf(stage))));
    done.forEach((result, i) => {
      const c = this.#cards.get(stages[i]!);
      if (c === undefined) return;
      c.result.append(resultLine(result, 'without the policy'));
      this.#done(c);
    });
    for (const { stage, chart, rows } of curves) this.#draw(stage, chartsOf(stage).find(({ name }) => name === chart)!, rows);
    this.#stage = stages[Math.min(done.length, stages.length - 1)]!;
    this.#root.replaceChildren(el('ol', { class: 'stages' }, ...[...this.#cards.values()].map((c) => c.element)));
    this.#root.hidden = false;
  }

  /** A sentence for the status line when the event is worth one. */
  show(event: RunEvent): string | undefined {
    switch (event.type) {
      case 'note':
        return event.text;
      case 'stage': {
        this.#stage = event.stage;
        const c = this.#card();
        c.element.classList.add('active');
        c.state.textContent = event.stage === 'base' ? 'answering' : 'training';
        c.bar.hidden = false;
        c.result.replaceChildren();
        return event.steps === 0 ? `${event.title}: answering the test questions.` : `${event.title}: training, ${event.steps} steps${event.firstStep > 0 ? `, going on from step ${event.firstStep}` : ''}.`;
      }
      case 'progress': {
        const c = this.#card();
        c.bar.hidden = false;
        c.bar.max = event.of;
        c.bar.value = event.done;
        c.line.textContent = `${event.what}: ${event.done} of ${event.of}`;
        return undefined;
      }
      case 'step': {
        this.#stage = event.stage;
        const c = this.#card();
        c.bar.max = event.steps;
        c.bar.value = event.step;
        c.line.textContent = `step ${event.step} of ${event.steps}, ${event.value}`;
        c.speed.textContent = `${Math.round(event.tokensPerSecond).toLocaleString('en')} tokens/s, ${duration(event.secondsLeft)} left${this.#memory}`;
        for (const chart of chartsOf(event.stage)) this.#draw(event.stage, chart, rowsOf(chart, event.metrics));
        return undefined;
      }
      case 'evaluated': {
        const c = this.#card();
        c.result.append(resultLine(event, event.stage === 'in-context' ? 'with the policy in the prompt' : 'without the policy'));
        if (event.stage !== 'in-context') this.#done(c);
        return `${event.title}: ${percent(event.accuracy)} of ${event.n} unseen questions right.`;
      }
      default:
        return event satisfies never;
    }
  }

  /** Bytes of buffers on the GPU. */
  memory(bytes: number): void {
    this.#memory = `, ${Math.round(bytes / 2 ** 20)} MiB on the GPU`;
  }

  /** Stops showing a stage as running. */
  rest(state: string): void {
    const c = this.#cards.get(this.#stage);
    if (c?.element.classList.contains('active') === true) c.state.textContent = state;
  }

  #draw(stage: StageName, { name, lines }: StageChart, rows: readonly Row[]): void {
    const c = this.#cards.get(stage);
    if (c === undefined) return;
    let chart = c.charts.get(name);
    if (chart === undefined) {
      c.charts.set(name, (chart = new Chart(name, lines, { steps: this.#steps[stage] ?? 1 })));
      c.element.append(chart.element);
    }
    chart.add(...rows);
  }

  #card(): StageCard {
    return this.#cards.get(this.#stage)!;
  }

  #done(c: StageCard): void {
    c.element.classList.remove('active');
    c.element.classList.add('done');
    c.state.textContent = 'done';
    c.bar.hidden = true;
    c.line.textContent = '';
    c.speed.textContent = '';
  }
}

function resultLine({ accuracy, low, high, n, calls }: Omit<StageResult, 'title' | 'stage'>, how: string): HTMLElement {
  return el('p', {}, el('strong', {}, percent(accuracy)), ` right ${how} `, el('span', { class: 'quiet' }, `(95 %: ${percent(low)} to ${percent(high)}, n = ${n})`),
    ...callsLine(calls));
}

function card(name: string): StageCard {
  const parts = {
    state: el('span', { class: 'state' }, 'waiting'),
    bar: el('progress', { 'aria-label': `Progress of ${name}`, hidden: true, max: 1, value: 0 }),
    line: el('p', { class: 'line' }),
    speed: el('p', { class: 'quiet' }),
    result: el('div', { class: 'result' }),
  };
  return { ...parts, charts: new Map(), element: el('li', { class: 'stage' }, el('h3', {}, name, ' ', parts.state), parts.bar, parts.line, parts.speed, parts.result) };
}

function duration(seconds: number): string {
  const s = Math.round(seconds);
  return s < 90 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}
