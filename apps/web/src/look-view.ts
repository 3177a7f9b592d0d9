/** @file Policies as trees, and scenes with what each policy says about them. */
import { byId, el } from './dom.ts';
import type { FromLook, PolicyView, SceneView, TreeView } from './protocol.ts';

/** A case of a policy that the visitor chose. */
interface Choice {
  readonly policyId: string;
  readonly leafId: string;
}

export class LookView {
  readonly #policies = byId('policies');
  readonly #scenes = byId('scenes');
  readonly #shown = byId('scenes-shown');
  readonly #cards: { readonly scene: SceneView; readonly element: HTMLElement }[] = [];
  readonly #leaves = new Map<string, HTMLButtonElement>();
  #choice: Choice | undefined;

  clear(): void {
    this.#policies.setAttribute('aria-busy', 'true');
    this.#scenes.replaceChildren();
    this.#cards.length = 0;
    this.#leaves.clear();
    this.#choice = undefined;
  }

  show(message: FromLook): void {
    if (message.type === 'policies') {
      this.#policies.replaceChildren(...message.policies.map((p) => this.#policy(p)));
      this.#policies.setAttribute('aria-busy', 'false');
    } else if (message.type === 'scene') this.#add(message.scene);
    else if (message.type === 'drawn') this.#choose(this.#choice);
    else this.#policies.replaceChildren(el('p', { class: 'notice' }, `The examples could not be drawn: ${message.failure.message}`));
  }

  #policy({ id, name, text, tree }: PolicyView): HTMLElement {
    return el(
      'article',
      { class: 'policy' },
      el('h3', {}, 'Policy ', el('q', {}, name)),
      el('ul', { class: 'tree' }, el('li', {}, ...this.#tree(tree, id, name))),
      el('details', {}, el('summary', {}, 'As the model reads it'), el('p', { class: 'code' }, text)),
    );
  }

  #tree(node: TreeView, policyId: string, name: string): Node[] {
    if (node.kind === 'leaf') {
      const choice = { policyId, leafId: node.id };
      const button = el(
        'button',
        { type: 'button', class: 'leaf', 'aria-pressed': 'false', 'aria-label': `${node.answer} of policy ${name}: show its pictures`, disabled: !node.reachable, click: () => this.#choose(same(this.#choice, choice) ? undefined : choice) },
        node.answer,
      );
      this.#leaves.set(key(choice), button);
      return [button];
    }
    const branch = (word: 'yes' | 'no', child: TreeView) => el('li', { class: word }, el('span', { class: 'edge' }, word), ...this.#tree(child, policyId, name));
    return [el('span', { class: 'question' }, el('small', {}, node.id), ` ${node.question}`), el('ul', {}, branch('yes', node.yes), branch('no', node.no))];
  }

  #add(scene: SceneView): void {
    const canvas = el('canvas', { width: scene.width, height: scene.height, role: 'img', 'aria-label': `A scene with ${scene.objects}` });
    canvas.getContext('2d')?.putImageData(new ImageData(scene.rgba, scene.width, scene.height), 0, 0);
    const element = el('li', { class: 'scene' }, canvas, el('p', {}, el('span', { class: 'code' }, scene.query), ' ', el('strong', {}, scene.answer)), el('p', { class: 'quiet' }, scene.way));
    this.#cards.push({ scene, element });
    this.#scenes.append(element);
    this.#choose(this.#choice);
  }

  #choose(choice: Choice | undefined): void {
    this.#choice = choice;
    for (const [name, button] of this.#leaves) button.setAttribute('aria-pressed', String(choice !== undefined && name === key(choice)));
    let visible = 0;
    for (const { scene, element } of this.#cards) {
      element.hidden = choice !== undefined && !same(choice, scene);
      if (!element.hidden) visible++;
    }
    this.#shown.textContent = choice === undefined ? `${visible} pictures of the test set.` : `${visible} of ${this.#cards.length} pictures end at ${choice.leafId} of this policy. Choose the case again to see all.`;
  }
}

function same(a: Choice | undefined, b: Choice): boolean {
  return a !== undefined && a.policyId === b.policyId && a.leafId === b.leafId;
}

function key({ policyId, leafId }: Choice): string {
  return `${policyId}/${leafId}`;
}
