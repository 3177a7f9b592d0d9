/** @file The form with the settings that matter; the others stay as the address or the demo has them. */
import { type Algorithm, algorithmName, ALGORITHMS, DEMO_CONFIG, PAPER_ALGORITHMS, resolveConfig, type RunBenchmark, type RunConfig } from '@trimpi/pipeline';
import { BASES, baseFor, type BaseName, obstacle } from './bases.ts';
import { benchmarkOf, withBenchmark } from './config.ts';
import { byId, el } from './dom.ts';

interface Field {
  readonly id: string;
  readonly label: string;
  readonly hint: string;
  readonly max: number;
  readonly min: number;
  /** Whether it belongs to ClevrPolicy alone. */
  readonly clevr?: true;
  readonly get: (config: RunConfig) => number;
  readonly set: (config: RunConfig, value: number) => RunConfig;
}

const FIELDS: readonly Field[] = [
  { id: 'seed', label: 'Seed', hint: 'The same seed gives the same run.', min: 0, max: 4294967295, get: (c) => c.seed, set: (c, seed) => ({ ...c, seed }) },
  { id: 'depth', label: 'Tree depth N', hint: 'Questions from the root to a case.', min: 1, max: 6, clevr: true, get: (c) => c.n, set: (c, n) => ({ ...c, n, rl: { ...c.rl, maxNewTokens: n === c.n ? c.rl.maxNewTokens : 10 * n + 6 } }) },
  { id: 'policies', label: 'Policies', hint: 'Trees to learn at once.', min: 1, max: 100, clevr: true, get: (c) => c.policies, set: (c, policies) => ({ ...c, policies }) },
  { id: 'vm-cpt-steps', label: 'VM-CPT steps', hint: 'On policy, picture, reasoning and answer.', min: 0, max: 100000, get: (c) => c.vmCpt.steps, set: (c, steps) => ({ ...c, vmCpt: { ...c.vmCpt, steps } }) },
  { id: 'sft-steps', label: 'SFT steps', hint: 'LoRA, no policy in the prompt.', min: 0, max: 100000, get: (c) => c.sft.steps, set: (c, steps) => ({ ...c, sft: { ...c.sft, steps } }) },
  { id: 'rl-steps', label: 'RL steps', hint: 'For each objective.', min: 0, max: 100000, get: (c) => c.rl.steps, set: (c, steps) => ({ ...c, rl: { ...c.rl, steps } }) },
];

const BENCHMARKS: Readonly<Record<RunBenchmark, { readonly title: string; readonly hint: string }>> = {
  clevr: { title: 'ClevrPolicy', hint: 'Trees about a picture.' },
  gta: { title: 'GTAPolicy', hint: 'Rules of tools, up to three pictures.' },
};

/** Stages that can be left out: their steps are then 0. */
const OPTIONAL = [
  { id: 'vm-cpt', label: 'VM-CPT', steps: 'vm-cpt-steps' },
  { id: 'sft', label: 'CoT SFT (LoRA)', steps: 'sft-steps' },
] as const;

export class SettingsView {
  readonly #form = byId<HTMLFormElement>('settings');
  readonly #inputs = new Map<string, HTMLInputElement>();
  readonly #arms = new Map<Algorithm, HTMLInputElement>();
  readonly #stages = new Map<string, HTMLInputElement>();
  readonly #further: HTMLDetailsElement;
  readonly #shown: HTMLInputElement;
  readonly #fieldset: HTMLFieldSetElement;
  /** Why what the form says cannot be run; empty as long as it can. */
  readonly #problem = el('p', { class: 'problem', role: 'alert' });
  readonly #base = el('select', { id: 'set-base', name: 'base', 'aria-describedby': 'set-base-hint' }, ...Object.entries(BASES).map(([name, { title }]) => el('option', { value: name }, title)));
  readonly #baseHint = el('small', { id: 'set-base-hint', 'aria-live': 'polite' });
  readonly #benchmark = el('select', { id: 'set-dataset', name: 'dataset', 'aria-describedby': 'set-dataset-hint' }, ...Object.entries(BENCHMARKS).map(([name, { title }]) => el('option', { value: name }, title)));
  readonly #benchmarkHint = el('small', { id: 'set-dataset-hint', 'aria-live': 'polite' });
  /** What belongs to ClevrPolicy alone. */
  readonly #ofClevr: HTMLElement[] = [];
  /** The settings that each dataset had when it was last chosen. */
  readonly #left = new Map<RunBenchmark, RunConfig>();
  #config: RunConfig;
  /** What was chosen; a run that this base does not know begins with the other one. */
  #wanted: BaseName = 'tiny';

  constructor(config: RunConfig, onSubmit: (config: RunConfig) => void, onChange: (config: RunConfig) => void) {
    this.#config = config;
    this.#fieldset = el('fieldset', {}, el('legend', {}, 'Settings'), el('div', { class: 'field' }, el('label', { for: 'set-dataset' }, 'Dataset'), this.#benchmark, this.#benchmarkHint));
    this.#benchmark.addEventListener('change', () => this.#change(this.#benchmark.value as RunBenchmark));
    for (const f of FIELDS) {
      const id = `set-${f.id}`;
      const input = el('input', { id, name: f.id, type: 'number', min: f.min, max: f.max, step: 1, required: true, inputmode: 'numeric', 'aria-describedby': `${id}-hint` });
      this.#inputs.set(f.id, input);
      const field = el('div', { class: 'field' }, el('label', { for: id }, f.label), input, el('small', { id: `${id}-hint` }, f.hint));
      if (f.clevr === true) this.#ofClevr.push(field);
      this.#fieldset.append(field);
    }
    this.#fieldset.append(el('div', { class: 'field wider' }, el('label', { for: 'set-base' }, 'Base model'), this.#base, this.#baseHint));
    this.#base.addEventListener('change', () => (this.#wanted = this.#base.value as BaseName));
    const stages = OPTIONAL.map(({ id, label, steps }) => {
      const { input, line } = checkbox(id, label);
      this.#stages.set(id, input);
      input.addEventListener('change', () => {
        const field = this.#inputs.get(steps)!;
        field.value = input.checked ? String(FIELDS.find((f) => f.id === steps)!.get(DEMO_CONFIG)) : '0';
      });
      this.#inputs.get(steps)!.addEventListener('input', () => (input.checked = this.#inputs.get(steps)!.valueAsNumber > 0));
      return line;
    });
    const [arms, further] = [PAPER_ALGORITHMS, ALGORITHMS.slice(PAPER_ALGORITHMS.length)].map((names) => names.map((name) => {
      const { input, line } = checkbox(name, algorithmName(name));
      this.#arms.set(name, input);
      return line;
    })) as [HTMLElement[], HTMLElement[]];
    this.#further = el('details', {}, el('summary', {}, 'Those of other papers'), ...further);
    const shown = checkbox('shown', 'Show some values by pictures (M)');
    this.#shown = shown.input;
    const variant = el('div', { class: 'field wider', role: 'group', 'aria-label': 'Variant' }, el('span', { class: 'label' }, 'Variant'), shown.line, el('small', {}, 'ClevrPolicy-M.'));
    this.#ofClevr.push(variant);
    this.#fieldset.append(
      variant,
      el('div', { class: 'field wider', role: 'group', 'aria-label': 'Stages' }, el('span', { class: 'label' }, 'Stages'), ...stages, el('small', {}, 'Before RL; one left out takes 0 steps.')),
      el('div', { class: 'field wider', role: 'group', 'aria-label': 'Objectives of RL' }, el('span', { class: 'label' }, 'Objectives of RL'), ...arms, this.#further, el('small', {}, 'Each from the weights after SFT.')),
    );
    this.#form.append(this.#fieldset, this.#problem);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const config = this.#tried();
      if (config !== undefined) onSubmit(config);
    });
    this.#form.addEventListener('change', () => {
      if (!this.#form.checkValidity()) return;
      const config = this.#tried();
      if (config === undefined) return;
      this.#config = config;
      this.#offerBases();
      onChange(config);
    });
    this.show(config);
  }

  /** The settings as the form has them. Throws `invalid-option`. */
  read(): RunConfig {
    let config = this.#config;
    const clevr = benchmarkOf(config) === 'clevr';
    for (const f of FIELDS) if (clevr || f.clevr !== true) config = f.set(config, this.#inputs.get(f.id)!.valueAsNumber);
    const chosen = ALGORITHMS.filter((name) => this.#arms.get(name)!.checked);
    // A run that goes on has its objectives in its own order.
    const same = chosen.length === config.arms.length && config.arms.every((name) => chosen.includes(name));
    return resolveConfig({ ...config, variant: clevr && this.#shown.checked ? 'm' : 't', arms: same ? config.arms : chosen });
  }

  /** What the form says, or nothing, with a sentence that tells why these settings do not go together. */
  #tried(): RunConfig | undefined {
    try {
      const config = this.read();
      this.#problem.textContent = '';
      return config;
    } catch (cause) {
      this.#problem.textContent = cause instanceof Error ? cause.message : String(cause);
      return undefined;
    }
  }

  /** The settings last shown or read. */
  current(): RunConfig {
    return this.#config;
  }

  /** The base that the settings last shown or read begin with. */
  base(): BaseName {
    return baseFor(this.#config, this.#wanted);
  }

  show(config: RunConfig, base: BaseName = this.#wanted): void {
    this.#problem.textContent = '';
    this.#config = config;
    this.#wanted = base;
    for (const f of FIELDS) this.#inputs.get(f.id)!.value = String(f.get(config));
    for (const { id, steps } of OPTIONAL) this.#stages.get(id)!.checked = this.#inputs.get(steps)!.valueAsNumber > 0;
    for (const [name, input] of this.#arms) input.checked = config.arms.includes(name);
    // What is chosen is seen.
    if (config.arms.some((name) => !(PAPER_ALGORITHMS as readonly Algorithm[]).includes(name))) this.#further.open = true;
    this.#shown.checked = config.variant === 'm';
    this.#showBenchmark(benchmarkOf(config));
    this.#offerBases();
  }

  #change(benchmark: RunBenchmark): void {
    this.#left.set(benchmarkOf(this.#config), this.#config);
    this.show(withBenchmark(this.#config, benchmark, this.#left.get(benchmark)));
  }

  #showBenchmark(benchmark: RunBenchmark): void {
    this.#benchmark.value = benchmark;
    this.#benchmarkHint.textContent = BENCHMARKS[benchmark].hint;
    for (const field of this.#ofClevr) {
      field.hidden = benchmark !== 'clevr';
      // What is not seen does not stand in the way of a start either.
      for (const input of field.querySelectorAll('input')) input.disabled = field.hidden;
    }
  }

  /** Which bases know what is asked of them, and why one does not. */
  #offerBases(): void {
    for (const option of this.#base.options) option.disabled = obstacle(option.value as BaseName, this.#config) !== undefined;
    this.#base.value = this.base();
    this.#baseHint.textContent = obstacle('tiny', this.#config) ?? 'Both know this run. The small one has 3.6 million parameters, the tiny one 1.6.';
  }

  /** Settings of a run that has begun cannot change. */
  lock(locked: boolean): void {
    this.#fieldset.disabled = locked;
  }
}

function checkbox(id: string, label: string): { readonly input: HTMLInputElement; readonly line: HTMLElement } {
  const input = el('input', { type: 'checkbox', id: `set-${id}`, name: id });
  return { input, line: el('div', { class: 'check' }, input, el('label', { for: input.id }, label)) };
}
