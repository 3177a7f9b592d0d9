/** @file A folder of the visitor's own: a policy, shown and tried; a checkpoint (see `CheckpointPanel`). And the trained model as ONNX. */
import type { RunConfig } from '@trimpi/pipeline';
import { failureAdvice } from './advice.ts';
import { byId, el } from './dom.ts';
import { chosenFiles, droppedFiles, FolderError } from './dropped.ts';
import { FileLinks } from './file-links.ts';
import { CheckpointPanel } from './checkpoint-view.ts';
import { KeptView } from './kept-view.ts';
import { OwnPanel } from './own-view.ts';
import type { BroughtFile, FromBring, OutlineView, OwnModel, OwnPolicyView, ToBring } from './protocol.ts';
import { sure } from './sure.ts';

/** GiB that a GPU may have; WebGPU does not say. */
const MEMORIES = [4, 6, 8, 12, 16, 24, 48, 80];

export class BringView {
  readonly #zone = byId('drop');
  readonly #input = byId<HTMLInputElement>('bring-folder');
  readonly #memory = byId<HTMLSelectElement>('bring-memory');
  readonly #status = byId('bring-status');
  readonly #result = byId('bring-result');
  readonly #onnx = byId<HTMLButtonElement>('onnx-make');
  readonly #bits = byId<HTMLSelectElement>('onnx-bits');
  readonly #onnxFiles = byId('onnx-files');
  readonly #onnxLinks = new FileLinks();
  readonly #config: () => RunConfig;
  readonly #kept = new KeptView((id) => void this.#forget(id));
  #worker: Worker | undefined;
  #files: readonly BroughtFile[] = [];
  #pictures: string[] = [];
  #own: OwnPanel | undefined;
  /** The policy brought last; it stays when a checkpoint is brought. */
  #policy: { readonly view: OwnPolicyView; readonly files: readonly BroughtFile[] } | undefined;
  #checkpoint: CheckpointPanel | undefined;
  /** What is to be said when the folder is shown again. */
  #why: string | undefined;

  constructor(config: () => RunConfig) {
    this.#config = config;
    this.#memory.append(...MEMORIES.map((gib) => el('option', { value: gib, selected: gib === 8 }, `${gib} GiB`)));
    this.#input.addEventListener('change', () => {
      const { files } = this.#input;
      if (files !== null && files.length > 0) void this.#take(async () => chosenFiles(files));
    });
    addEventListener('beforeunload', (event) => {
      if (this.#own?.unsaved === true) event.preventDefault();
    });
    // What is kept is looked for when somebody comes near.
    const near = new IntersectionObserver((entries) => {
      if (!entries.some((e) => e.isIntersecting)) return;
      near.disconnect();
      this.#tell({ type: 'own-list' });
    });
    near.observe(this.#zone);
    // A folder that misses the zone would replace the page, and the run with it.
    for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault());
    for (const type of ['dragenter', 'dragover']) {
      this.#zone.addEventListener(type, (event) => {
        event.preventDefault();
        this.#zone.classList.add('over');
      });
    }
    for (const type of ['dragleave', 'drop']) this.#zone.addEventListener(type, () => this.#zone.classList.remove('over'));
    this.#zone.addEventListener('drop', (event) => {
      event.preventDefault();
      const { dataTransfer } = event;
      if (dataTransfer !== null) void this.#take(() => droppedFiles(dataTransfer));
    });
    this.#memory.addEventListener('change', () => {
      if (this.#checkpoint !== undefined) this.#tell({ type: 'fit', files: this.#files, memory: Number(this.#memory.value) });
    });
    this.#onnx.addEventListener('click', () => {
      this.#onnx.disabled = true;
      this.#say('Writing ONNX files …');
      this.#tell({ type: 'onnx', bits: Number(this.#bits.value) as 32 | 16 | 4 });
    });
  }

  /** Whether a complete run is saved, whose model can be exported. */
  trained(is: boolean): void {
    this.#onnx.disabled = !is;
    byId('onnx-hint').textContent = is ? 'Adapter, merged weights and report of the run are under Report.' : 'Appears when a run is complete, as do adapter, merged weights and report (see Report).';
    if (is) return;
    this.#onnxFiles.replaceChildren();
    this.#onnxLinks.clear();
  }

  async #take(read: () => Promise<BroughtFile[]>): Promise<void> {
    if (this.#own?.training === true) {
      this.#input.value = '';
      this.#say(`A model is being trained on your policy. Press Stop first; another folder then takes its place, and what is trained so far is ${this.#own.keepsFiles ? 'kept' : 'lost'}.`);
      return;
    }
    this.#say('Reading the folder …');
    try {
      this.#files = await read();
    } catch (cause) {
      this.#say(cause instanceof FolderError ? cause.message : `The folder could not be read (${(cause as Error).message}). Choose it again.`);
      return;
    }
    // The same folder can be chosen again when it has been corrected.
    this.#input.value = '';
    this.#why = undefined;
    this.#show();
  }

  /** With its device gone the worker may wait for ever: a new one takes up the folder, and what is kept of its run. `why` is said then. */
  #bringAgain(why: string): void {
    this.#why = why;
    this.#show();
  }

  #show(): void {
    this.#result.replaceChildren();
    for (const url of this.#pictures) URL.revokeObjectURL(url);
    this.#pictures = [];
    this.#checkpoint?.dispose();
    this.#own?.dispose();
    this.#checkpoint = this.#own = undefined;
    this.#restart();
    this.#tell({ type: 'folder', files: this.#files, memory: Number(this.#memory.value) });
    this.#tell({ type: 'own-list' });
  }

  async #forget(id: string): Promise<void> {
    if (this.#own?.training === true) {
      this.#say('A model is being trained on your policy. Press Stop first.');
      return;
    }
    if (!(await sure('The run is deleted from this browser with what it has trained.', 'Delete the run'))) return;
    this.#tell({ type: 'own-forget', id });
    // What is shown may be that run.
    this.#own?.find();
  }

  /** What went on for a folder brought before is over. */
  #restart(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  #tell(message: ToBring): void {
    if (this.#worker === undefined) {
      this.#worker = new Worker(new URL('./worker/bring.ts', import.meta.url), { type: 'module', name: 'bring' });
      this.#worker.addEventListener('message', ({ data }: MessageEvent<FromBring>) => this.#hear(data));
      this.#worker.addEventListener('error', (event) => {
        event.preventDefault();
        this.#say('The script that reads folders could not be loaded. Check the connection and load the page again.');
      });
    }
    this.#worker.postMessage(message, []);
  }

  #hear(message: FromBring): void {
    switch (message.type) {
      case 'policy':
        this.#policy = { view: message.policy, files: this.#files };
        this.#showPolicy(message.policy);
        return;
      case 'checkpoint':
        this.#checkpoint = new CheckpointPanel({ tell: (m) => this.#tell(m), say: (text) => this.#say(text), memory: () => Number(this.#memory.value) }, message.checkpoint);
        this.#result.replaceChildren(this.#checkpoint.element, ...this.#onCheckpoint(this.#checkpoint, message.checkpoint.missing.length === 0));
        return;
      case 'own-progress':
      case 'own-measured':
      case 'own-step':
        this.#own?.hear(message);
        return;
      case 'own-found':
        this.#own?.hear(message);
        if (this.#why !== undefined) this.#say(this.#why);
        this.#why = undefined;
        return;
      case 'own-done':
        this.#own?.hear(message);
        this.#tell({ type: 'own-list' });
        return;
      case 'own-kept':
        this.#kept.show(message.runs);
        return;
      case 'onnx':
        this.#onnx.disabled = false;
        this.#onnxFiles.replaceChildren(this.#onnxLinks.list(message.files));
        this.#say(`${message.files.length} ONNX files are ready.`);
        return;
      case 'failed': {
        if (message.failure.code === 'device-lost' && this.#own?.busy === true) {
          this.#bringAgain('The browser took the GPU away (a driver reset, sleep, or too little memory). What was saved of a training is kept, and goes on when it is started again.');
          return;
        }
        // What was saved before is kept.
        if (this.#own?.training === true) this.#own.find();
        this.#own?.rest();
        this.#checkpoint?.failed(message.failure.code);
        this.#onnx.disabled = document.body.dataset['phase'] !== 'finished';
        const { title, steps } = failureAdvice(message.failure);
        this.#say([title, ...steps].join(' '));
        return;
      }
      default:
        this.#checkpoint?.hear(message);
    }
  }

  #say(text: string): void {
    this.#status.textContent = text;
  }

  // ---- A policy

  #showPolicy(policy: OwnPolicyView): void {
    const urls = new Map(policy.images.map(({ name, file }) => [name, URL.createObjectURL(file)]));
    this.#pictures = [...urls.values()];
    const errors = policy.findings.filter((f) => f.severity === 'error').length;
    this.#say(`Policy “${policy.name}”: ${policy.train} rows to train on, ${policy.test} to test on${policy.findings.length > 0 ? `, ${errors} ${errors === 1 ? 'error' : 'errors'} found` : ''}.`);
    this.#result.replaceChildren(
      el('h3', {}, 'Your policy ', el('q', {}, policy.name)),
      ...(policy.findings.length === 0 ? [] : [el('div', { class: 'notice' }, el('p', {}, el('strong', {}, 'To be corrected; rows with errors are left out:')), el('ul', {}, ...policy.findings.map((f) => el('li', {}, `${f.file}${f.line > 0 ? `, line ${f.line}` : ''}: ${f.message}`))))]),
      el('div', { class: 'policies' },
        el('article', { class: 'policy' }, el('h4', {}, 'As a tree'), policy.outline.length === 0 ? el('p', { class: 'quiet' }, 'Its text has no headings or lists.') : outline(policy.outline)),
        el('article', { class: 'policy' }, el('h4', {}, 'As text'), el('pre', { class: 'code', tabindex: 0 }, policy.text)),
      ),
      this.#ownPart(policy),
      el('h4', {}, `Questions (${policy.questions.length} of ${policy.train + policy.test}, scored as ${policy.scorer})`),
      el('ul', { class: 'scenes' }, ...policy.questions.map((q) =>
        el('li', { class: 'scene own' },
          ...q.images.flatMap((name) => (urls.has(name) ? [el('img', { src: urls.get(name)!, alt: `Picture ${name}`, loading: 'lazy' })] : [])),
          el('p', {}, el('span', { class: 'code' }, q.query), ' ', el('strong', {}, q.answer)),
          el('p', { class: 'quiet' }, `${q.id}, ${q.split}. ${q.reasoning}`),
        ))),
    );
  }

  #ownPart(policy: OwnPolicyView): HTMLElement {
    if (policy.obstacles.length + policy.baseObstacles.length > 0) {
      return el('div', { class: 'notice' },
        el('p', {}, el('strong', {}, policy.obstacles.length > 0 ? 'Nothing can be trained on this policy here.' : 'The tiny base of this page cannot read this policy.')),
        el('ul', {}, ...[...policy.obstacles, ...policy.baseObstacles].map((o) => el('li', {}, o))),
        el('p', {}, 'What to do: ', ...(policy.obstacles.length > 0 ? [] : ['bring a checkpoint folder next, and it is trained on this policy here; or ']), 'train a real Qwen2.5-VL on this folder with the command line (', el('code', {}, 'trimpi train --defaults own'), ' prints the settings; the guide “Your own policy” shows every step); or write the policy in the words of this page’s policies (see “As the model reads it” under Look).'),
      );
    }
    return this.#ownPanel('the base', 'Compare and train', 'The tiny base can read this policy. Asking compares its answers to your test rows with the policy in the prompt and without; training puts the policy into the weights, with the steps of the settings in Train. Pictures are drawn to 128 x 64 pixels. A checkpoint brought next is trained on it, too.', () => ({ type: 'base', url: new URL('base/', document.baseURI).href }));
  }

  /** A policy that was brought before a checkpoint, for the checkpoint. */
  #onCheckpoint(panel: CheckpointPanel, usable: boolean): HTMLElement[] {
    const policy = this.#policy;
    if (!usable || policy === undefined || policy.view.obstacles.length > 0) return [];
    return [this.#ownPanel('the checkpoint', `On your policy “${policy.view.name}”`, 'Asking compares its answers to your test rows with the policy in the prompt and without; training puts the policy into a LoRA adapter, with the steps of the settings in Train, weights and answers as chosen above.', () => ({ type: 'checkpoint', ...panel.chosen, memory: Number(this.#memory.value) }))];
  }

  #ownPanel(model: string, heading: string, about: string, on: () => OwnModel): HTMLElement {
    this.#own = new OwnPanel({
      begin: (how) => {
        this.#checkpoint?.unloaded();
        this.#tell({ type: 'own', policy: this.#policy!.files, config: this.#config(), ...how, on: on() });
      },
      find: () => this.#tell({ type: 'own-find', policy: this.#policy!.files, on: on().type }),
      forget: (id) => void this.#forget(id),
      ...(on().type === 'base' ? {} : { wear: (id: string) => this.#tell({ type: 'own-wear', id }) }),
      stop: () => this.#tell({ type: 'stop' }),
      say: (text) => this.#say(text),
    }, model, heading, about);
    return this.#own.element;
  }
}

function outline(nodes: readonly OutlineView[]): HTMLElement {
  return el('ul', { class: 'outline' }, ...nodes.map((n) => el('li', {}, n.text, ...(n.children.length > 0 ? [outline(n.children)] : []))));
}
