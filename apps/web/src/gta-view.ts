/** @file GTAPolicy: tools with their rules, and the calls that a rule decides. */
import { byId, el } from './dom.ts';
import type { FromGta, GtaCallView } from './protocol.ts';

export class GtaView {
  readonly #root = byId('gta');
  readonly #rules = byId('gta-rules');
  readonly #calls = byId('gta-calls');
  readonly #shown = byId('gta-shown');
  readonly #cards: { readonly call: GtaCallView; readonly element: HTMLElement }[] = [];
  readonly #buttons = new Map<string, HTMLButtonElement>();
  #choice: string | undefined;

  constructor() {
    // Drawn when somebody comes near.
    const near = new IntersectionObserver((entries) => {
      if (!entries.some((e) => e.isIntersecting)) return;
      near.disconnect();
      const worker = new Worker(new URL('./worker/gta.ts', import.meta.url), { type: 'module', name: 'gta' });
      worker.addEventListener('message', ({ data }: MessageEvent<FromGta>) => {
        this.#hear(data);
        if (data.type === 'drawn') worker.terminate();
      });
      worker.addEventListener('error', (event) => {
        event.preventDefault();
        this.#shown.textContent = 'The script that draws GTAPolicy could not be loaded. Check the connection and load the page again.';
      });
    });
    near.observe(this.#root);
  }

  #hear(message: FromGta): void {
    switch (message.type) {
      case 'policy':
        this.#rules.replaceChildren(
          ...message.tools.map(({ name, description, arguments: list, versions, rules }) =>
            el('article', { class: 'policy' },
              el('h4', {}, name, ...(versions > 0 ? [el('small', {}, ` v1 to v${versions}`)] : [])),
              el('p', { class: 'quiet' }, `${description} Takes ${list.join(', ')}.`),
              ...(rules.length > 0 ? [el('ul', { class: 'rules' }, ...rules.map((r) => el('li', {}, this.#button(r.id, r.text))))] : []),
            )),
          el('article', { class: 'policy' }, el('h4', {}, 'For all tools'), el('ul', { class: 'rules' }, ...message.tips.map((t) => el('li', {}, this.#button(t.id, t.text))))),
        );
        byId('gta-text').textContent = message.text;
        return;
      case 'call': {
        const { call } = message;
        const element = el('li', { class: 'scene call' },
          el('div', { class: 'pictures' }, ...call.pictures.map((p) => {
            const canvas = el('canvas', { width: p.width, height: p.height, role: 'img', 'aria-label': `Picture ${p.name}` });
            canvas.getContext('2d')?.putImageData(new ImageData(p.rgba, p.width, p.height), 0, 0);
            return canvas;
          })),
          el('p', {}, call.query),
          el('p', { class: 'quiet' }, `${call.profile}${call.calls > 0 ? `; ${call.calls} calls before` : ''}`),
          el('p', { class: 'code' }, call.gold),
          el('p', { class: 'quiet' }, call.rules.length === 0 ? 'No rule decides; the interaction does.' : `By ${call.rules.join(', ')}`),
        );
        this.#cards.push({ call, element });
        this.#calls.append(element);
        return;
      }
      case 'drawn':
        this.#choose(this.#choice);
        return;
      case 'failed':
        this.#shown.textContent = `GTAPolicy could not be drawn: ${message.failure.message}`;
        return;
      default:
        return message satisfies never;
    }
  }

  #button(id: string, text: string): HTMLElement {
    const button = el('button', { type: 'button', class: 'question', 'aria-pressed': 'false', click: () => this.#choose(this.#choice === id ? undefined : id) }, el('small', {}, id), ` ${text}`);
    this.#buttons.set(id, button);
    return button;
  }

  #choose(choice: string | undefined): void {
    this.#choice = choice;
    for (const [id, button] of this.#buttons) button.setAttribute('aria-pressed', String(id === choice));
    let visible = 0;
    for (const { call, element } of this.#cards) {
      // Without a choice the first ones are enough.
      element.hidden = choice === undefined ? visible >= 8 : !call.rules.includes(choice);
      if (!element.hidden) visible++;
    }
    this.#shown.textContent = choice === undefined ? `${visible} of ${this.#cards.length} calls of the test set.` : `${visible} of ${this.#cards.length} calls are decided by ${choice}. Choose it again to see all kinds.`;
  }
}
