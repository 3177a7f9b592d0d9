/** @file A brought checkpoint: what it is and needs; loaded, asked about a picture, and taken away. */
import { el } from './dom.ts';
import { chosenFiles, FolderError } from './dropped.ts';
import { FileLinks } from './file-links.ts';
import type { ChatSide, CheckpointView, FitView, FromBring, StoredBits, TakeForm, ToBring } from './protocol.ts';
import { size } from './sizes.ts';

/** What the worker says about checkpoints. */
export type FromCheckpoint = Extract<FromBring, { readonly type: 'fit' | 'adapter' | 'loading' | 'loaded' | 'load-stopped' | 'chat-says' | 'chat-said' | 'chat-done' | 'taken' }>;

interface Host {
  tell(message: ToBring): void;
  say(text: string): void;
  /** GiB. */
  memory(): number;
}

const SIDES: Readonly<Record<ChatSide, string>> = { aware: 'With the policy in the prompt', free: 'Without the policy' };
const TAKE: readonly (readonly [value: string, text: string, needsAdapter: boolean])[] = [
  ['peft', 'Adapter (PEFT)', true],
  ['safetensors', 'Weights with the adapter in them (safetensors)', true],
  ['32', 'ONNX, 32 bits', false], ['16', 'ONNX, 16 bits', false], ['4', 'ONNX, 4 bits', false],
];

type State = 'idle' | 'loading' | 'loaded' | 'asking' | 'taking';

interface AnswerCard {
  readonly element: HTMLElement;
  readonly text: HTMLElement;
  readonly facts: HTMLElement;
}

export class CheckpointPanel {
  readonly element: HTMLElement;
  readonly #host: Host;
  readonly #fits = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'What the checkpoint needs' });
  readonly #bits = el('select', { id: 'checkpoint-bits' });
  readonly #adapter = el('input', { id: 'checkpoint-adapter', type: 'file', webkitdirectory: true, multiple: true });
  readonly #adapterText = el('p', { class: 'quiet' });
  readonly #load = el('button', { type: 'button', class: 'main', click: () => this.#beginLoad() }, 'Load onto the GPU');
  readonly #bar = el('progress', { 'aria-label': 'Weights read', max: 1, value: 0, hidden: true });
  readonly #picture = el('input', { id: 'chat-picture', type: 'file', accept: 'image/png,image/jpeg,image/webp', change: () => this.#preview() });
  readonly #shown = el('img', { alt: 'The picture that is asked about', class: 'asked-picture', hidden: true });
  readonly #policy = el('textarea', { id: 'chat-policy', rows: 4 });
  readonly #question = el('textarea', { id: 'chat-question', rows: 2, required: true });
  readonly #length = el('input', { id: 'chat-length', type: 'number', min: 1, max: 4096, value: 128, required: true });
  readonly #ask = el('button', { type: 'submit', class: 'main' }, 'Ask');
  readonly #stop = el('button', { type: 'button', click: () => this.#host.tell({ type: 'stop' }) }, 'Stop');
  readonly #answers = el('div', { class: 'answers' });
  readonly #form = el('select', { id: 'take-form' });
  readonly #take = el('button', { type: 'button', click: () => this.#beginTake() }, 'Make the files');
  readonly #taken = el('div', {});
  readonly #links = new FileLinks();
  readonly #chat: HTMLFormElement;
  readonly #cards = new Map<ChatSide, AnswerCard>();
  #state: State = 'idle';
  /** Where `taking` goes back to. */
  #before: State = 'idle';
  #wears = false;
  #pictureUrl: string | undefined;

  constructor(host: Host, { facts, missing, fits }: CheckpointView) {
    this.#host = host;
    this.#adapter.addEventListener('change', () => this.#bringAdapter());
    // What cannot be shown is refused by name when it is asked about.
    this.#shown.addEventListener('error', () => (this.#shown.hidden = true));
    this.#chat = el('form', { 'aria-label': 'A question to the checkpoint', submit: (event) => this.#beginAsk(event) },
      field('Picture (optional)', this.#picture), this.#shown,
      field('Policy text (optional): asked twice, with it in the prompt and without', this.#policy),
      field('Question', this.#question),
      field('Tokens of an answer at most', this.#length),
      el('div', { class: 'actions' }, this.#ask, this.#stop),
    );
    this.#showFits(fits);
    this.#offer();
    this.element = el('div', {},
      el('h3', {}, 'Your checkpoint'),
      el('dl', { class: 'facts' }, ...facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))),
      ...(missing.length === 0 ? [] : [el('div', { class: 'notice' }, el('p', {}, el('strong', {}, 'Not usable as it is:')), el('ul', {}, ...missing.map((m) => el('li', {}, m))))]),
      el('h4', {}, 'What it needs here'),
      el('p', {}, 'Planned from config.json: a picture of 448 x 448, a prompt of 1,024 tokens, answers of 128; training is a LoRA of rank 8. What driver and browser take comes on top. WebGPU does not say how much memory the GPU has; choose it above.'),
      this.#fits,
      ...(missing.length > 0 ? [] : this.#parts()),
    );
    this.#enter('idle');
    host.say(`${missing.length > 0 ? 'Something is missing, see below. ' : ''}${fitSentence(fits)}`);
  }

  /** What went on has failed; with the GPU gone the model is, too. */
  failed(code: string): void {
    if (this.#state === 'taking') this.#enter(this.#before);
    else if (this.#state === 'loading' || code === 'device-lost') this.#enter('idle');
    else if (this.#state === 'asking') this.#enter('loaded');
    this.#rest();
    if ([...this.#cards.values()].every(({ text }) => text.textContent === '')) this.#answers.replaceChildren();
  }

  /** Bits of the weights and tokens of an answer, as chosen. */
  get chosen(): { readonly bits: StoredBits; readonly maxNewTokens: number } {
    return { bits: Number(this.#bits.value) as StoredBits, maxNewTokens: this.#length.valueAsNumber };
  }

  /** The GPU is wanted for something else. */
  unloaded(): void {
    if (this.#state === 'loaded') this.#enter('idle');
  }

  dispose(): void {
    this.#links.clear();
    this.#forgetPicture();
  }

  #forgetPicture(): void {
    if (this.#pictureUrl !== undefined) URL.revokeObjectURL(this.#pictureUrl);
  }

  hear(message: FromCheckpoint): void {
    const { say } = this.#host;
    switch (message.type) {
      case 'fit':
        this.#showFits(message.fits);
        say(fitSentence(message.fits));
        return;
      case 'adapter':
        this.#wears = true;
        this.#offer();
        this.#enter('idle');
        this.#adapterText.textContent = `LoRA of rank ${message.r} on ${message.modules} modules${message.trained ? ', trained here on your policy' : ''}.`;
        say(`The adapter ${message.trained ? 'that was trained here is on' : 'fits to'} this checkpoint. It is on when the model is loaded.`);
        return;
      case 'loading':
        this.#bar.max = message.of;
        this.#bar.value = message.done;
        return;
      case 'loaded':
        this.#enter('loaded');
        say(`Loaded in ${message.seconds.toFixed(1)} s; ${size(message.bytes)} on the GPU.`);
        this.#question.focus();
        return;
      case 'load-stopped':
        this.#enter('idle');
        say('Stopped. Nothing is on the GPU.');
        return;
      case 'chat-says':
        this.#card(message.side).text.textContent = message.text;
        return;
      case 'chat-said': {
        const { text, facts, element } = this.#card(message.side);
        text.textContent = message.text;
        facts.replaceChildren(...([
          ['Prompt', `${message.promptTokens} tokens`],
          ['To the first token', `${message.firstMs < 10 ? message.firstMs.toFixed(1) : Math.round(message.firstMs)} ms`],
          ['Answer', `${message.tokens} tokens${message.end === 'stop' ? '' : message.end === 'length' ? ', cut at its length' : ', stopped'}`],
          ...(message.tokensPerSecond === undefined ? [] : [['Speed', `${message.tokensPerSecond.toFixed(1)} tokens/s`] as const]),
        ] as const).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
        element.setAttribute('aria-busy', 'false');
        return;
      }
      case 'chat-done':
        this.#enter('loaded');
        this.#rest();
        say([...this.#cards].map(([side, { text }]) => `${this.#cards.size > 1 ? SIDES[side] : 'Answer'}: ${(text.textContent ?? '').slice(0, 200)}`).join(' '));
        return;
      case 'taken':
        this.#enter(this.#before);
        this.#taken.replaceChildren(this.#links.list(message.files));
        say(`${message.files.length} files are ready.`);
        return;
      default:
        return message satisfies never;
    }
  }

  #parts(): HTMLElement[] {
    return [
      el('h4', {}, 'Ask it'),
      el('p', {}, 'The weights are read range by range from your files onto your GPU. Pictures larger than 448 x 448 are made smaller.'),
      el('div', { class: 'controls' }, field('Weights on the GPU as', this.#bits), field('LoRA adapter for it (PEFT folder, optional)', this.#adapter), el('div', { class: 'actions' }, this.#load)),
      this.#adapterText, this.#bar, this.#chat, this.#answers,
      el('h4', {}, 'Take it away'),
      el('p', {}, 'Made from your files, in their own precision; needs no GPU.'),
      el('div', { class: 'controls' }, field('Form', this.#form), el('div', { class: 'actions' }, this.#take)),
      this.#taken,
    ];
  }

  #enter(state: State): void {
    const busy = state === 'loading' || state === 'asking' || state === 'taking';
    const focused = document.activeElement;
    this.#state = state;
    this.#bits.disabled = this.#adapter.disabled = this.#load.disabled = this.#take.disabled = busy;
    this.#ask.disabled = state !== 'loaded';
    this.#stop.disabled = state !== 'loading' && state !== 'asking';
    this.#bar.hidden = state !== 'loading';
    // The keyboard's place is not lost with a button that cannot be used for a while.
    if (busy && state !== 'taking' && (focused === this.#load || focused === this.#ask || focused === this.#question)) this.#stop.focus();
    if (!busy && focused === this.#stop) (state === 'loaded' ? this.#ask : this.#load).focus();
  }

  #rest(): void {
    for (const { element } of this.#cards.values()) element.setAttribute('aria-busy', 'false');
  }

  #beginLoad(): void {
    this.#enter('loading');
    this.#bar.removeAttribute('value');
    this.#host.say('Loading the weights …');
    this.#host.tell({ type: 'load', bits: Number(this.#bits.value) as StoredBits, memory: this.#host.memory() });
  }

  #beginAsk(event: Event): void {
    event.preventDefault();
    if (this.#state !== 'loaded') return;
    this.#cards.clear();
    const policy = this.#policy.value;
    for (const side of policy.trim() === '' ? (['free'] as const) : (['aware', 'free'] as const)) {
      const card = { text: el('p', { class: 'code said' }), facts: el('dl', {}) };
      this.#cards.set(side, { ...card, element: el('article', { class: 'answer', 'aria-busy': 'true' }, el('h5', {}, policy.trim() === '' ? 'Answer' : SIDES[side]), card.text, card.facts) });
    }
    this.#answers.replaceChildren(...[...this.#cards.values()].map((c) => c.element));
    this.#enter('asking');
    this.#host.say('Reading the prompt; the first time, shaders are compiled.');
    this.#host.tell({ type: 'chat', image: this.#picture.files?.[0], policy, question: this.#question.value, maxNewTokens: this.#length.valueAsNumber });
  }

  #beginTake(): void {
    const { value } = this.#form;
    this.#before = this.#state;
    this.#enter('taking');
    this.#host.say('Making the files …');
    this.#host.tell({ type: 'take', form: (value === 'peft' || value === 'safetensors' ? value : Number(value)) as TakeForm });
  }

  #bringAdapter(): void {
    const { files } = this.#adapter;
    if (files === null || files.length === 0) return;
    try {
      this.#host.tell({ type: 'adapter', files: chosenFiles(files) });
    } catch (cause) {
      if (!(cause instanceof FolderError)) throw cause;
      this.#host.say(cause.message);
    }
  }

  #preview(): void {
    this.#forgetPicture();
    const file = this.#picture.files?.[0];
    this.#pictureUrl = file === undefined ? undefined : URL.createObjectURL(file);
    this.#shown.hidden = this.#pictureUrl === undefined;
    if (this.#pictureUrl !== undefined) this.#shown.src = this.#pictureUrl;
  }

  #card(side: ChatSide): AnswerCard {
    return this.#cards.get(side)!;
  }

  /** Forms that an adapter is needed for are offered when there is one. */
  #offer(): void {
    this.#form.replaceChildren(...TAKE.map(([value, text, needs]) => el('option', { value, disabled: needs && !this.#wears, selected: value === (this.#wears ? 'peft' : '16') }, text)));
  }

  #showFits(fits: readonly FitView[]): void {
    this.#fits.replaceChildren(fitTable(fits));
    const chosen = this.#bits.value;
    const able = fits.filter((f) => f.use === 'answering');
    const best = able.find((f) => f.problems.length === 0)?.bits ?? 4;
    this.#bits.replaceChildren(...able.map((f) => el('option', { value: f.bits, selected: String(f.bits) === (chosen || String(best)) }, `${f.how}${f.problems.length > 0 ? ' (does not fit)' : ''}`)));
  }
}

function field(label: string, control: HTMLElement): HTMLElement {
  return el('div', { class: 'field' }, el('label', { for: control.id }, label), control);
}

function fitTable(fits: readonly FitView[]): HTMLElement {
  const head = ['Use', 'Weights as', 'Weights', 'In all', 'Fits'].map((h) => el('th', { scope: 'col' }, h));
  return el('table', {}, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...fits.map((f) =>
    el('tr', { class: f.problems.length === 0 ? 'fits' : 'fails' }, el('th', { scope: 'row' }, f.what), el('td', {}, f.how), el('td', {}, size(f.weights)), el('td', {}, size(f.total)), el('td', {}, f.problems.length === 0 ? 'yes' : `no: ${f.problems.join('; ')}`)))));
}

function fitSentence(fits: readonly FitView[]): string {
  const well = fits.filter((f) => f.problems.length === 0).map((f) => `${f.what[0]!.toLowerCase()}${f.what.slice(1)} in ${f.how}`);
  return well.length === 0 ? 'Nothing fits on this device: use a smaller model, or a device with more memory.' : `Fits on this device: ${well.join(', ')}.`;
}
