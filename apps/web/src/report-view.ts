/** @file The report of a complete run, and everything to take away. */
import { algorithmName, ALGORITHMS } from '@trimpi/pipeline';
import { byId, el } from './dom.ts';
import { FileLinks } from './file-links.ts';
import type { FinishedRun } from './protocol.ts';

const WHAT: Readonly<Record<string, string>> = {
  'report.html': 'Report, one page that needs nothing else',
  'report.json': 'Figures',
  'adapter/adapter_model.safetensors': 'LoRA adapter of SFT (PEFT), weights',
  'adapter/adapter_config.json': 'LoRA adapter of SFT (PEFT), settings',
  'model/model.safetensors': 'Trained model, weights',
  'model/config.json': 'Trained model, architecture',
  'model/tokenizer.json': 'Trained model, tokenizer',
  'model/tokenizer_config.json': 'Trained model, chat template',
  ...Object.fromEntries(ALGORITHMS.map((name) => [`completions-${name}.jsonl`, `Sampled answers of ${algorithmName(name)}`])),
};

export class ReportView {
  readonly #root = byId('report-body');
  readonly #links = new FileLinks();

  clear(): void {
    this.#links.clear();
    this.#root.replaceChildren(el('p', { class: 'quiet' }, 'Appears here when a run is complete, with the trained model to take away.'));
  }

  show({ html, findings, files }: FinishedRun): void {
    this.clear();
    this.#root.replaceChildren(
      el('ul', { class: 'findings' }, ...findings.map((f) => el('li', {}, f))),
      el('h3', {}, 'Take away'),
      this.#links.list(files, WHAT),
      el('h3', {}, 'The report'),
      frame(html),
    );
  }
}

/**
 * The report in a frame without scripts, whose own security policy allows its inline styles and nothing else: this
 * page's is stricter, and `srcdoc` would inherit it. `allow-same-origin` lets this page put the report in.
 */
function frame(html: string): HTMLIFrameElement {
  const element = el('iframe', { src: './report-frame.html', sandbox: 'allow-same-origin', title: 'Report of the run', tabindex: 0, class: 'report' });
  element.addEventListener('load', () => {
    const page = element.contentDocument;
    if (page !== null) page.documentElement.innerHTML = html;
  }, { once: true });
  return element;
}
