/** @file A model on a policy of the visitor's own: asked with and without it, trained, and taken away. */
import type { StageName } from '@trimpi/pipeline';
import { Chart, type Row } from './chart.ts';
import { chartsOf, rowsOf, type StageChart } from './curves.ts';
import { el } from './dom.ts';
import { FileLinks } from './file-links.ts';
import type { FromBring, OwnMeasure } from './protocol.ts';

/** What the worker says about such a run. */
export type FromOwn = Extract<FromBring, { readonly type: 'own-progress' | 'own-measured' | 'own-step' | 'own-done' }>;

interface Host {
  begin(train: boolean): void;
  stop(): void;
  say(text: string): void;
}

export class OwnPanel {
  readonly element: HTMLElement;
  readonly #host: Host;
  readonly #ask: HTMLButtonElement;
  readonly #train: HTMLButtonElement;
  readonly #stop = el('button', { type: 'button', disabled: true, click: () => this.#host.stop() }, 'Stop');
  readonly #line = el('p', { class: 'quiet' });
  readonly #measures = el('div', { class: 'stages' });
  readonly #curves = el('div', { class: 'stages' });
  readonly #files = el('div', { click: ({ target }) => (this.#unsaved &&= !(target instanceof HTMLAnchorElement && target.textContent.endsWith('.safetensors'))) });
  readonly #links = new FileLinks();
  readonly #charts = new Map<StageName, ReadonlyMap<StageChart, Chart>>();
  #goesOn = false;
  #training = false;
  /** Whether weights are trained that have not been taken away. */
  #unsaved = false;

  /** @param model what is asked and trained, as in "the base". */
  constructor(host: Host, model: string, heading: string, about: string) {
    this.#host = host;
    this.#ask = el('button', { type: 'button', click: () => this.#begin(false) }, `Ask ${model} about it`);
    this.#train = el('button', { type: 'button', class: 'main', click: () => this.#begin(true) }, `Train ${model} on it`);
    this.element = el('div', {}, el('h4', {}, heading), el('p', {}, about), el('div', { class: 'actions' }, this.#ask, this.#train, this.#stop), this.#line, this.#measures, this.#curves, this.#files);
  }

  get training(): boolean {
    return this.#training;
  }

  get unsaved(): boolean {
    return this.#unsaved;
  }

  dispose(): void {
    this.#links.clear();
  }

  hear(message: FromOwn): void {
    switch (message.type) {
      case 'own-progress':
        this.#line.textContent = `${message.what}: ${message.done} of ${message.of}`;
        return;
      case 'own-measured':
        this.#showMeasure(message.measure);
        return;
      case 'own-step': {
        this.#unsaved = true;
        const { stage, step, steps, value, metrics, secondsLeft } = message.event;
        if (!this.#charts.has(stage)) this.#host.say(`${message.title}: training on your policy, ${steps} steps.`);
        this.#draw(stage, message.title, steps, (chart) => rowsOf(chart, metrics));
        this.#line.textContent = `${message.title}: step ${step} of ${steps}, ${value}, ${Math.round(secondsLeft)} s left in this stage`;
        return;
      }
      case 'own-done':
        this.rest();
        this.#goesOn = message.stopped;
        if (message.files.length > 0) this.#files.replaceChildren(el('h4', {}, 'Take away'), this.#links.list(message.files));
        this.#host.say(message.files.length > 0 ? 'Trained on your policy. The model can be taken away below.' : message.stopped ? 'Stopped. Training goes on from here when it is started again, and is lost when another folder is brought.' : 'It has been asked.');
        return;
      default:
        return message satisfies never;
    }
  }

  /** Nothing goes on any more. */
  rest(): void {
    const focused = document.activeElement === this.#stop;
    this.#training = false;
    this.#ask.disabled = this.#train.disabled = false;
    this.#stop.disabled = true;
    this.#line.textContent = '';
    if (focused) this.#train.focus();
  }

  #begin(train: boolean): void {
    // What a stopped run has shown stays.
    if (!(train && this.#goesOn)) {
      this.#measures.replaceChildren();
      this.#curves.replaceChildren();
      this.#charts.clear();
    }
    this.#files.replaceChildren();
    this.#links.clear();
    this.#goesOn = false;
    this.#training = train;
    this.#ask.disabled = this.#train.disabled = true;
    this.#stop.disabled = false;
    this.#stop.focus();
    this.#host.say('Loading the model.');
    this.#host.begin(train);
  }

  #draw(stage: StageName, title: string, steps: number, rows: (chart: StageChart) => readonly Row[]): void {
    let charts = this.#charts.get(stage);
    if (charts === undefined) {
      this.#charts.set(stage, (charts = new Map(chartsOf(stage).map((c) => [c, new Chart(`${title}: ${c.name}`, c.lines, { steps })]))));
      this.#curves.append(...[...charts.values()].map((c) => c.element));
    }
    for (const [c, chart] of charts) chart.add(...rows(c));
  }

  #showMeasure({ title, right, of, promptTokens, outcomes }: OwnMeasure): void {
    this.#host.say(`${title}: ${right} of ${of} right.`);
    this.#measures.append(
      el('article', { class: 'stage' },
        el('h5', {}, title),
        el('p', { class: 'result' }, el('strong', {}, `${right} of ${of}`), ` right, ${Math.round(promptTokens)} tokens a prompt`),
        el('details', {}, el('summary', {}, 'Answers'), el('ul', {}, ...outcomes.map((o) => el('li', { class: 'code' }, `${o.id}: ${o.text} `, el('span', { class: `verdict ${o.right ? 'right' : 'wrong'}` }, o.right ? 'right' : 'wrong'))))),
      ),
    );
  }
}
