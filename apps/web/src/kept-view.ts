/** @file Runs on policies of the visitor's own that are kept, of this and earlier visits. */
import { byId, el } from './dom.ts';
import { FileLinks } from './file-links.ts';
import type { OwnRunView } from './protocol.ts';

export class KeptView {
  readonly #root = byId('bring-runs');
  readonly #forget: (id: string) => void;
  #links: FileLinks[] = [];

  constructor(forget: (id: string) => void) {
    this.#forget = forget;
  }

  show(runs: readonly OwnRunView[]): void {
    for (const links of this.#links) links.clear();
    this.#links = [];
    this.#root.hidden = runs.length === 0;
    this.#root.replaceChildren(el('h3', {}, 'Kept runs on your policies'), el('ul', { class: 'runs' }, ...runs.map((run) => this.#line(run))));
  }

  #line(run: OwnRunView): HTMLElement {
    const complete = run.files.length > 0;
    const last = run.measures.at(-1);
    const said = `${run.on === 'base' ? 'into the tiny base' : 'into a checkpoint'}, ${complete ? 'complete' : 'stopped: bring the same again to go on'}${last === undefined ? '' : `; ${last.title}: ${last.right} of ${last.of} right`} `;
    return el('li', {}, el('span', {}, el('strong', {}, run.policy), `, ${said}`),
      el('button', { type: 'button', class: 'small', 'aria-label': `Forget the run on ${run.policy} ${run.on === 'base' ? 'into the tiny base' : 'into a checkpoint'}`, click: () => this.#forget(run.id) }, 'Forget'),
      ...(complete ? [this.#files(run)] : []));
  }

  #files({ files }: OwnRunView): HTMLElement {
    const links = new FileLinks();
    this.#links.push(links);
    const details = el('details', { toggle: () => details.open && details.childElementCount === 1 && details.append(links.list(files)) }, el('summary', {}, 'Files'));
    return details;
  }
}
