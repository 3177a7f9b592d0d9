/** @file Base with the policy in its prompt, trained model without it: the same question side by side. */
import { type BaseName, baseUrl } from './bases.ts';
import { failureAdvice } from './advice.ts';
import { byId, el } from './dom.ts';
import type { FromCompare, PolicyView, SceneView, ToCompare } from './protocol.ts';
import type { RunConfig, StageName } from '@trimpi/pipeline';
import { scenePictures } from './scene-canvas.ts';
import { plainNode, treeList } from './tree-view.ts';

type Side = 'base' | 'trained';

interface Card {
  readonly element: HTMLElement;
  readonly title: HTMLElement;
  readonly verdict: HTMLElement;
  readonly text: HTMLElement;
  readonly tokens: HTMLElement;
  readonly time: HTMLElement;
  readonly tree: HTMLElement;
}

/** A run, trained or as the form has it. */
interface Asked {
  readonly config: RunConfig;
  readonly base: BaseName;
}

export class CompareView {
  readonly #root = byId('compare');
  readonly #policy = byId<HTMLSelectElement>('compare-policy');
  readonly #stage = byId<HTMLSelectElement>('compare-stage');
  readonly #ask = byId<HTMLButtonElement>('compare-ask');
  readonly #next = byId<HTMLButtonElement>('compare-next');
  readonly #status = byId('compare-status');
  readonly #scene = byId('compare-scene');
  readonly #cards: Readonly<Record<Side, Card>> = { base: card('Base, with the policy in its prompt'), trained: card('Trained, without the policy') };
  readonly #asked: () => Asked;
  /** Whether a run uses the GPU at the moment. */
  readonly #busy: () => boolean;
  #worker: Worker | undefined;
  #policies: readonly PolicyView[] = [];
  /** What these policies are from: of a saved run, whatever the form says. */
  #opened: Asked | undefined;
  #shown: SceneView | undefined;
  #at = 0;
  #asking = false;
  #focused: HTMLElement | undefined;

  constructor(asked: () => Asked, busy: () => boolean) {
    this.#asked = asked;
    this.#busy = busy;
    byId('compare-answers').append(this.#cards.base.element, this.#cards.trained.element);
    this.#ask.addEventListener('click', () => this.#send('ask'));
    this.#next.addEventListener('click', () => {
      this.#at++;
      this.#send('draw');
    });
    this.#policy.addEventListener('change', () => {
      this.#at = 0;
      this.#send('draw');
    });
    this.#stage.addEventListener('change', () => this.#reset());
    // The worker and its script are fetched when somebody comes near.
    const near = new IntersectionObserver((entries) => {
      if (!entries.some((e) => e.isIntersecting)) return;
      near.disconnect();
      this.#open();
    });
    near.observe(this.#root);
  }

  /** Takes notice of what has been trained, or of other settings. */
  refresh(): void {
    if (this.#worker !== undefined && !this.#asking) this.#tell({ type: 'open', ...this.#asked() });
  }

  #open(): void {
    this.#worker = new Worker(new URL('./worker/compare.ts', import.meta.url), { type: 'module', name: 'compare' });
    this.#worker.addEventListener('message', ({ data }: MessageEvent<FromCompare>) => this.#hear(data));
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#end('The script that compares could not be loaded. Check the connection and load the page again.');
    });
    this.refresh();
  }

  #tell(message: ToCompare): void {
    this.#worker?.postMessage(message, []);
  }

  #send(type: 'draw' | 'ask'): void {
    this.#reset();
    const where = { policy: this.#policy.selectedIndex, scene: this.#at };
    if (type === 'draw' || this.#opened === undefined) {
      this.#tell({ type: 'draw', ...where });
      return;
    }
    this.#asking = true;
    this.#lock(true);
    this.#status.textContent = `Asking the base and ${this.#name()}.${this.#busy() ? ' A run is using the GPU, so this takes longer, and the times say little.' : ''}`;
    this.#tell({ type, ...where, stage: this.#stage.value as StageName, maxNewTokens: this.#opened.config.rl.maxNewTokens, base: baseUrl(this.#opened.base) });
  }

  #hear(message: FromCompare): void {
    switch (message.type) {
      case 'opened': {
        this.#policies = message.policies;
        this.#opened = { config: message.config, base: message.base };
        options(this.#policy, message.policies.map(({ name }, i) => [String(i), name]));
        // The last stage is the best trained one.
        options(this.#stage, message.trained.length === 0 ? [['base', 'Nothing trained yet: the base itself']] : message.trained.toReversed().map(({ stage, title }) => [stage, title]));
        this.#lock(false);
        this.#status.textContent = message.trained.length === 0 ? 'Nothing is trained yet, so the base answers on both sides: with the policy and without.' : `${message.trained.length === 1 ? 'One stage is' : `${message.trained.length} stages are`} trained.`;
        this.#send('draw');
        return;
      }
      case 'scene':
        this.#show(message.scene);
        return;
      case 'says':
        this.#say(this.#cards[message.side], message.text, message.cited);
        return;
      case 'answered': {
        const c = this.#cards[message.side];
        this.#say(c, message.text, message.cited);
        c.verdict.textContent = message.right ? 'right' : 'wrong';
        c.verdict.className = `verdict ${message.right ? 'right' : 'wrong'}`;
        c.tokens.textContent = `${message.promptTokens} tokens`;
        c.time.textContent = `${message.prefillMs < 10 ? message.prefillMs.toFixed(1) : Math.round(message.prefillMs)} ms`;
        c.element.setAttribute('aria-busy', 'false');
        return;
      }
      case 'done':
        this.#end(`${sentence('The base', this.#cards.base)} ${sentence(this.#name(), this.#cards.trained)}`);
        return;
      case 'failed': {
        const { title, steps } = failureAdvice(message.failure);
        // With its device gone the worker may wait for ever.
        this.#worker?.terminate();
        this.#open();
        this.#end([title, ...steps].join(' '));
        return;
      }
      default:
        return message satisfies never;
    }
  }

  #end(text: string): void {
    this.#asking = false;
    this.#lock(false);
    this.#status.textContent = text;
    for (const c of Object.values(this.#cards)) c.element.setAttribute('aria-busy', 'false');
  }

  #lock(locked: boolean): void {
    const controls: readonly HTMLElement[] = [this.#policy, this.#stage, this.#ask, this.#next];
    if (locked) this.#focused = controls.find((c) => c === document.activeElement);
    for (const control of [this.#policy, this.#stage, this.#ask, this.#next]) control.disabled = locked;
    // A control that could not be used for a while gets the keyboard's place back, unless it went elsewhere.
    if (!locked && document.activeElement === document.body) this.#focused?.focus({ preventScroll: true });
  }

  #name(): string {
    return this.#stage.value === 'base' ? 'the base without the policy' : 'the trained model';
  }

  /** Empty cards with the tree of the chosen policy. */
  #reset(): void {
    const policy = this.#policies[this.#policy.selectedIndex];
    if (policy === undefined) return;
    this.#cards.trained.title.textContent = this.#stage.value === 'base' ? 'Not trained yet: base, without the policy' : `${this.#stage.selectedOptions[0]?.textContent ?? 'Trained'}: without the policy`;
    for (const [side, c] of Object.entries(this.#cards)) {
      c.verdict.textContent = '';
      c.verdict.className = 'verdict';
      c.text.replaceChildren(el('span', { class: 'quiet' }, 'Not asked yet.'));
      c.tokens.textContent = c.time.textContent = '–';
      c.tree.replaceChildren(...policy.trees.map(({ title, root }) => el('div', {}, ...(title === '' ? [] : [el('h4', {}, title)]), treeList(root, plainNode))));
      c.tree.setAttribute('aria-label', `Policy ${policy.name}; what ${side === 'base' ? 'the base' : 'the trained model'} cites is marked`);
    }
  }

  #show(scene: SceneView): void {
    this.#shown = scene;
    this.#scene.replaceChildren(scenePictures(scene.pictures), el('p', {}, el('span', { class: 'code' }, scene.query)), el('p', { class: 'quiet' }, `Right is ${scene.answer}: ${scene.way}`));
    for (const c of Object.values(this.#cards)) this.#reveal(c);
  }

  #say({ text, tree, element }: Card, said: string, cited: readonly string[]): void {
    element.setAttribute('aria-busy', 'true');
    const ids = new Set(cited);
    const astray = (id: string) => this.#shown !== undefined && id !== this.#shown.leafId && !this.#shown.path.includes(id);
    text.replaceChildren(...said.split(/(\s+)/).map((word) => (ids.has(word) ? el('mark', { class: astray(word) ? 'astray' : 'onway' }, word) : word)));
    for (const node of tree.querySelectorAll<HTMLElement>('[data-node]')) {
      const id = node.dataset['node']!;
      node.classList.toggle('cited', ids.has(id));
      node.classList.toggle('astray', ids.has(id) && astray(id));
    }
    this.#reveal({ tree });
  }

  /** Of several trees those that decide the question or are cited. */
  #reveal({ tree }: Pick<Card, 'tree'>): void {
    const { leafId } = this.#shown ?? {};
    for (const one of tree.children) {
      const decides = [...one.querySelectorAll<HTMLElement>('[data-node]')].some((node) => node.dataset['node'] === leafId);
      (one as HTMLElement).hidden = tree.childElementCount > 1 && !decides && one.querySelector('.cited') === null;
    }
  }
}

function card(title: string): Card {
  const parts = { title: el('h3', {}, title), verdict: el('span', { class: 'verdict' }), text: el('p', { class: 'code said' }), tokens: el('dd', {}, '–'), time: el('dd', {}, '–'), tree: el('div', { role: 'group' }) };
  const element = el(
    'article', { class: 'answer', 'aria-busy': 'false' },
    el('div', { class: 'head' }, parts.title, parts.verdict),
    parts.text,
    el('dl', {}, el('div', {}, el('dt', {}, 'Prompt'), parts.tokens), el('div', {}, el('dt', {}, 'To the first token'), parts.time)),
    parts.tree,
  );
  return { ...parts, element };
}

function sentence(who: string, { verdict, tokens, time }: Card): string {
  return `${who[0]!.toUpperCase()}${who.slice(1)} is ${verdict.textContent} (${tokens.textContent}, ${time.textContent} to the first token).`;
}

function options(select: HTMLSelectElement, values: readonly (readonly [value: string, text: string])[]): void {
  const { value } = select;
  select.replaceChildren(...values.map(([v, text]) => el('option', { value: v }, text)));
  if (values.some(([v]) => v === value)) select.value = value;
}
