/** @file A model on a policy of the visitor's own: asked with and without it, trained, and taken away. */
import { type StageName, stageTitle } from '@trimpi/pipeline';
import { Chart, type Row } from './chart.ts';
import { chartsOf, rowsOf, type StageChart } from './curves.ts';
import { el } from './dom.ts';
import { FileLinks } from './file-links.ts';
import type { FromBring, OwnMeasure, OwnRunView, SavedFile } from './protocol.ts';
import { sure } from './sure.ts';

/** What the worker says about such a run. */
export type FromOwn = Extract<FromBring, { readonly type: 'own-progress' | 'own-measured' | 'own-step' | 'own-found' | 'own-done' }>;

interface Host {
  begin(how: { readonly train: boolean; readonly fresh: boolean }): void;
  /** Asks for what is kept of a run, which is then heard. */
  find(): void;
  forget(id: string): void;
  /** Where a model wears an adapter: puts that of the run that is shown on it. */
  readonly wear?: (id: string) => void;
  stop(): void;
  say(text: string): void;
}

/** What is there of a run: nothing, a part, or all. */
type State = 'none' | 'stopped' | 'complete';

export class OwnPanel {
  readonly element: HTMLElement;
  readonly #host: Host;
  readonly #model: string;
  readonly #ask: HTMLButtonElement;
  readonly #train = el('button', { type: 'button', class: 'main', disabled: true, click: () => void this.#trainOrAsk() });
  readonly #stop = el('button', { type: 'button', disabled: true, click: () => this.#host.stop() }, 'Stop');
  readonly #discard = el('button', { type: 'button', hidden: true, click: () => this.#host.forget(this.#id) }, 'Discard what is trained');
  readonly #line = el('p', { class: 'quiet' });
  readonly #asked = el('div', { class: 'stages' });
  readonly #measures = el('div', { class: 'stages' });
  readonly #curves = el('div', { class: 'stages' });
  readonly #files = el('div', { click: ({ target }) => (this.#taken ||= target instanceof HTMLAnchorElement && target.textContent.endsWith('.safetensors')) });
  readonly #links = new FileLinks();
  readonly #charts = new Map<StageName, ReadonlyMap<StageChart, Chart>>();
  /** By title: what is measured again takes the place of what was. */
  readonly #cards = new Map<string, HTMLElement>();
  #state: State = 'none';
  #training = false;
  #busy = false;
  #id = '';
  #keepsFiles = true;
  /** Whether something was trained since the page was opened, and whether its weights were taken away. */
  #trained = false;
  #taken = false;

  /** @param model what is asked and trained, as in "the base". */
  constructor(host: Host, model: string, heading: string, about: string) {
    this.#host = host;
    this.#model = model;
    this.#ask = el('button', { type: 'button', disabled: true, click: () => this.#begin(false) }, `Ask ${model} about it`);
    this.element = el('div', {}, el('h4', {}, heading), el('p', {}, about), el('div', { class: 'actions' }, this.#ask, this.#train, this.#stop, this.#discard), this.#line, this.#asked, this.#measures, this.#curves, this.#files);
    this.#enter('none');
    // Until what is kept is found nothing can begin.
    this.#ask.disabled = this.#train.disabled = true;
    host.find();
  }

  get training(): boolean {
    return this.#training;
  }

  /** Whether the model is asked or trained at the moment. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Whether what is trained would be lost with the page. */
  get unsaved(): boolean {
    return this.#trained && !this.#taken && !this.#keepsFiles;
  }

  /** Whether a run is kept whatever happens to the page. */
  get keepsFiles(): boolean {
    return this.#keepsFiles;
  }

  /** Looks again for what is kept. */
  find(): void {
    this.#host.find();
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
        this.#host.say(`${message.measure.title}: ${message.measure.right} of ${message.measure.of} right.`);
        this.#measured(message.measure, this.#training ? this.#measures : this.#asked);
        return;
      case 'own-step': {
        this.#trained = true;
        this.#taken = false;
        const { stage, step, steps, value, metrics, secondsLeft } = message.event;
        if (!this.#charts.has(stage)) this.#host.say(`${message.title}: training on your policy, ${steps} steps.`);
        this.#draw(stage, message.title, steps, (chart) => rowsOf(chart, metrics));
        this.#line.textContent = `${message.title}: step ${step} of ${steps}, ${value}, ${Math.round(secondsLeft)} s left in this stage`;
        return;
      }
      case 'own-found':
        this.#id = message.id;
        this.#keepsFiles = message.keepsFiles;
        if (!this.#busy) this.#showKept(message.run);
        return;
      case 'own-done': {
        const trained = this.#training;
        this.rest();
        if (trained) this.#enter(message.stopped ? 'stopped' : 'complete');
        this.#offer(message.files);
        this.#host.say(message.files.length > 0 ? `Trained on your policy. The model can be taken away below${this.#host.wear === undefined ? '' : '; its adapter is on the checkpoint above, to be asked and to be taken away in other forms'}.`
          : message.stopped && trained ? `Stopped. Training goes on from here when it is started again${this.#keepsFiles ? ', also with another folder brought or the page loaded again in between' : ', and is lost when another folder is brought'}.` : message.stopped ? 'Stopped.' : 'It has been asked.');
        return;
      }
      default:
        return message satisfies never;
    }
  }

  /** Nothing goes on any more. */
  rest(): void {
    const focused = document.activeElement === this.#stop;
    this.#training = this.#busy = false;
    this.#ask.disabled = this.#train.disabled = this.#discard.disabled = false;
    this.#stop.disabled = true;
    this.#line.textContent = '';
    if (focused) this.#train.focus();
  }

  #enter(state: State): void {
    const focused = document.activeElement === this.#discard;
    this.#state = state;
    this.#train.textContent = state === 'none' ? `Train ${this.#model} on it` : state === 'stopped' ? `Go on training ${this.#model}` : `Train ${this.#model} anew`;
    this.#discard.hidden = state !== 'stopped';
    if (focused && state !== 'stopped') this.#train.focus();
  }

  async #trainOrAsk(): Promise<void> {
    if (this.#state === 'complete' && !(await sure('Training anew discards what was trained on this policy before.', 'Train anew'))) return;
    this.#begin(true);
  }

  #begin(train: boolean): void {
    const fresh = this.#state !== 'stopped';
    this.#asked.replaceChildren();
    // What a stopped run has shown stays.
    if (train && fresh) this.#clear();
    this.#training = train;
    this.#busy = true;
    this.#ask.disabled = this.#train.disabled = this.#discard.disabled = true;
    this.#stop.disabled = false;
    this.#stop.focus();
    this.#host.say('Loading the model.');
    this.#host.begin({ train, fresh });
  }

  #clear(): void {
    this.#cards.clear();
    this.#measures.replaceChildren();
    this.#curves.replaceChildren();
    this.#charts.clear();
    this.#files.replaceChildren();
    this.#links.clear();
  }

  /** A run of this or an earlier visit. */
  #showKept(run: OwnRunView | undefined): void {
    this.rest();
    this.#clear();
    this.#enter(run === undefined ? 'none' : run.files.length > 0 ? 'complete' : 'stopped');
    if (run === undefined) return;
    for (const measure of run.measures) this.#measured(measure, this.#measures);
    for (const { stage, chart, rows } of run.curves) this.#draw(stage, stageTitle(stage), run.steps[stage] ?? 1, ({ name }) => (name === chart ? rows : []));
    this.#offer(run.files);
    this.#line.textContent = run.files.length > 0 ? 'This run was kept. It is complete; training anew discards it.' : 'This run was kept. It goes on with the settings that it was begun with.';
  }

  #offer(files: readonly SavedFile[]): void {
    if (files.length === 0) return;
    const { wear } = this.#host;
    this.#files.replaceChildren(el('h4', {}, 'Take away'),
      ...(wear === undefined ? [] : [el('div', { class: 'actions' }, el('button', { type: 'button', click: () => wear(this.#id) }, 'Put this adapter on the checkpoint'))]),
      this.#links.list(files));
  }

  #draw(stage: StageName, title: string, steps: number, rows: (chart: StageChart) => readonly Row[]): void {
    let charts = this.#charts.get(stage);
    if (charts === undefined) {
      this.#charts.set(stage, (charts = new Map(chartsOf(stage).map((c) => [c, new Chart(`${title}: ${c.name}`, c.lines, { steps })]))));
      this.#curves.append(...[...charts.values()].map((c) => c.element));
    }
    for (const [c, chart] of charts) chart.add(...rows(c));
  }

  #measured({ title, right, of, promptTokens, outcomes }: OwnMeasure, among: HTMLElement): void {
    const card = el('article', { class: 'stage' },
      el('h5', {}, title),
      el('p', { class: 'result' }, el('strong', {}, `${right} of ${of}`), ` right, ${Math.round(promptTokens)} tokens a prompt`),
      ...(outcomes.length === 0 ? [] : [el('details', {}, el('summary', {}, 'Answers'), el('ul', {}, ...outcomes.map((o) => el('li', { class: 'code' }, `${o.id}: ${o.text} `, el('span', { class: `verdict ${o.right ? 'right' : 'wrong'}` }, o.right ? 'right' : 'wrong')))))]),
    );
    const before = this.#cards.get(title);
    if (before?.parentElement === among) before.replaceWith(card);
    else among.append(card);
    if (among === this.#measures) this.#cards.set(title, card);
  }
}
