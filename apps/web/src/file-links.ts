/** @file Files as links to keep them. */
import { el } from './dom.ts';
import type { SavedFile } from './protocol.ts';
import { size } from './sizes.ts';

/** One list of links: a new list, or `clear()`, lets go of the files of the one before. */
export class FileLinks {
  #urls: string[] = [];

  clear(): void {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
  }

  /** `what` says what a file is. */
  list(files: readonly SavedFile[], what: Readonly<Record<string, string>> = {}): HTMLElement {
    this.clear();
    return el('ul', { class: 'files' }, ...files.map(({ name, blob }) => el('li', {}, this.#link(name, blob), el('span', { class: 'quiet' }, ` ${what[name] === undefined ? '' : `${what[name]}, `}${size(blob.size)}`))));
  }

  #link(name: string, blob: Blob): HTMLElement {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return el('a', { href: url, download: name.startsWith('adapter/') || name.startsWith('model/') ? name.slice(name.indexOf('/') + 1) : name }, name);
  }
}
