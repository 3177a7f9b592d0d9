/** @file The form with the settings that matter; the others stay as the address or the demo has them. */
import { resolveConfig, type RunConfig } from '@trimpi/pipeline';
import { byId, el } from './dom.ts';

interface Field {
  readonly id: string;
  readonly label: string;
  readonly hint: string;
  readonly max: number;
  readonly min: number;
  readonly get: (config: RunConfig) => number;
  readonly set: (config: RunConfig, value: number) => RunConfig;
}

const FIELDS: readonly Field[] = [
  { id: 'seed', label: 'Seed', hint: 'The same seed gives the same run.', min: 0, max: 4294967295, get: (c) => c.seed, set: (c, seed) => ({ ...c, seed }) },
  { id: 'depth', label: 'Tree depth N', hint: 'Questions from the root to a case.', min: 1, max: 3, get: (c) => c.n, set: (c, n) => ({ ...c, n: n as RunConfig['n'] }) },
  { id: 'policies', label: 'Policies', hint: 'Trees to learn at once.', min: 1, max: 100, get: (c) => c.policies, set: (c, policies) => ({ ...c, policies }) },
  { id: 'vm-cpt-steps', label: 'VM-CPT steps', hint: 'On policy, picture, reasoning and answer.', min: 0, max: 100000, get: (c) => c.vmCpt.steps, set: (c, steps) => ({ ...c, vmCpt: { ...c.vmCpt, steps } }) },
  { id: 'sft-steps', label: 'SFT steps', hint: 'LoRA, no policy in the prompt.', min: 0, max: 100000, get: (c) => c.sft.steps, set: (c, steps) => ({ ...c, sft: { ...c.sft, steps } }) },
  { id: 'rl-steps', label: 'RL steps', hint: 'For each objective.', min: 0, max: 100000, get: (c) => c.rl.steps, set: (c, steps) => ({ ...c, rl: { ...c.rl, steps } }) },
];

const ARMS: Readonly<Record<string, RunConfig['arms']>> = {
  'GRPO and PolicyRollout': ['grpo', 'poro-grpo'],
  'PolicyRollout on GRPO': ['poro-grpo'],
  GRPO: ['grpo'],
};

export class SettingsView {
  readonly #form = byId<HTMLFormElement>('settings');
  readonly #inputs = new Map<string, HTMLInputElement>();
  readonly #arms: HTMLSelectElement;
  readonly #fieldset: HTMLFieldSetElement;
  #config: RunConfig;

  constructor(config: RunConfig, onSubmit: (config: RunConfig) => void, onChange: (config: RunConfig) => void) {
    this.#config = config;
    this.#arms = el('select', { id: 'set-arms', name: 'arms', 'aria-describedby': 'set-arms-hint' }, ...Object.keys(ARMS).map((name) => el('option', { value: name }, name)));
    this.#fieldset = el('fieldset', {}, el('legend', {}, 'Settings'));
    for (const f of FIELDS) {
      const id = `set-${f.id}`;
      const input = el('input', { id, name: f.id, type: 'number', min: f.min, max: f.max, step: 1, required: true, inputmode: 'numeric', 'aria-describedby': `${id}-hint` });
      this.#inputs.set(f.id, input);
      this.#fieldset.append(el('div', { class: 'field' }, el('label', { for: id }, f.label), input, el('small', { id: `${id}-hint` }, f.hint)));
    }
    this.#fieldset.append(el('div', { class: 'field' }, el('label', { for: 'set-arms' }, 'Objective of RL'), this.#arms, el('small', { id: 'set-arms-hint' }, 'Each from the weights after SFT.')));
    this.#form.append(this.#fieldset);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      onSubmit(this.read());
    });
    this.#form.addEventListener('change', () => {
      if (this.#form.checkValidity()) onChange((this.#config = this.read()));
    });
    this.show(config);
  }

  /** The settings as the form has them. Throws `invalid-option`. */
  read(): RunConfig {
    let config = this.#config;
    for (const f of FIELDS) config = f.set(config, this.#inputs.get(f.id)!.valueAsNumber);
    return resolveConfig({ ...config, arms: ARMS[this.#arms.value]! });
  }

  /** The settings last shown or read. */
  current(): RunConfig {
    return this.#config;
  }

  show(config: RunConfig): void {
    this.#config = config;
    for (const f of FIELDS) this.#inputs.get(f.id)!.value = String(f.get(config));
    this.#arms.value = Object.keys(ARMS).find((name) => ARMS[name]!.join() === config.arms.join()) ?? Object.keys(ARMS)[0]!;
  }

  /** Settings of a run that has begun cannot change. */
  lock(locked: boolean): void {
    this.#fieldset.disabled = locked;
  }
}
