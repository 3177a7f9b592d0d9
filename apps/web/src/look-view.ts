/** @file Policies as trees, and scenes with what each policy says about them. */
import { byId, el } from './dom.ts';
import type { FromLook, PolicyView, SceneView, TreeView } from './protocol.ts';
import { policyText, scenePictures } from './scene-canvas.ts';
import { treeList } from './tree-view.ts';

/** A question or a case of a policy that the visitor chose. */
interface Choice {
  readonly policyId: string;
  readonly nodeId: string;
}

export class LookView {
  readonly #policies = byId('policies');
  readonly #scenes = byId('scenes');
  readonly #shown = byId('scenes-shown');
  readonly #cards: { readonly scene: SceneView; readonly element: HTMLElement }[] = [];
  readonly #nodes = new Map<string, HTMLButtonElement>();
  #choice: Choice | undefined;
  #drawing = true;
  /** Choices that pictures have been drawn for. */
  readonly #asked = new Set<string>();
  readonly #more: (choice: Choice) => void;

  /** `more` has pictures drawn for a choice that none comes by. */
  constructor(more: (choice: Choice) => void) {
    this.#more = more;
  }

  clear(): void {
    this.#policies.setAttribute('aria-busy', 'true');
    this.#scenes.replaceChildren();
    this.#cards.length = 0;
    this.#nodes.clear();
    this.#asked.clear();
    this.#drawing = true;
    this.#choice = undefined;
  }

  show(message: FromLook): void {
    if (message.type === 'policies') {
      this.#policies.replaceChildren(...message.policies.flatMap((p) => this.#policy(p)));
      this.#policies.setAttribute('aria-busy', 'false');
    } else if (message.type === 'scene') this.#add(message.scene);
    else if (message.type === 'drawn') {
      this.#drawing = false;
      this.#choose(this.#choice);
      this.#drawMore();
    }
    else this.#policies.replaceChildren(el('p', { class: 'notice' }, `The examples could not be drawn: ${message.failure.message}`));
  }

  /** A card for each tree; text and tips are with the last. */
  #policy({ id, name, text, pictures, trees, tips }: PolicyView): HTMLElement[] {
    const cards = trees.map(({ title, root }) => el(
      'article',
      { class: 'policy' },
      el('h3', {}, 'Policy ', el('q', {}, name), ...(title === '' ? [] : [`: ${title}`])),
      treeList(root, (node) => this.#node(node, id, name)),
    ));
    cards.at(-1)!.append(
      ...(tips.length === 0 ? [] : [el('h4', {}, 'For all tools'), el('ul', {}, ...tips.map((tip) => el('li', {}, tip)))]),
      el('details', {}, el('summary', {}, 'As the model reads it'), policyText(text, pictures)),
    );
    return cards;
  }

  /** A button for every way through the tree: the pictures that come by a question, or end at a case. */
  #node(node: TreeView, policyId: string, name: string): HTMLElement {
    const choice = { policyId, nodeId: node.id };
    const leaf = node.kind === 'leaf';
    const possible = canBeReached(node);
    const words = leaf ? node.answer : node.question;
    const button = el(
      'button',
      {
        type: 'button', class: leaf ? 'leaf' : 'question', 'aria-pressed': 'false', ...(possible ? {} : { 'aria-disabled': 'true' }),
        'aria-label': `${leaf ? '' : `${node.id} `}${words} of policy ${name}: ${possible ? 'show its pictures' : 'no picture reaches it'}`, click: () => (possible ? this.#press(choice) : this.#refuse(choice)),
      },
      ...(leaf ? [words] : [el('small', {}, node.id), ` ${words}`]),
    );
    this.#nodes.set(key(choice), button);
    return button;
  }

  #add(scene: SceneView): void {
    const element = el('li', { class: 'scene' }, scenePictures(scene.pictures), el('p', {}, el('span', { class: 'code' }, scene.query), ' ', el('strong', {}, scene.answer)), el('p', { class: 'quiet' }, scene.way));
    this.#cards.push({ scene, element });
    this.#scenes.append(element);
    this.#choose(this.#choice);
  }

  #press(choice: Choice): void {
    this.#choose(same(this.#choice, choice) ? undefined : choice);
    this.#drawMore();
  }

  /** Pictures of the choice, where there are none and nothing else is being drawn. */
  #drawMore(): void {
    const choice = this.#choice;
    if (choice === undefined || this.#cards.some(({ scene }) => passes(scene, choice))) return;
    this.#shown.textContent = `Drawing pictures that come by ${choice.nodeId} …`;
    if (this.#drawing || this.#asked.has(key(choice))) return;
    this.#asked.add(key(choice));
    this.#drawing = true;
    this.#more(choice);
  }

  #refuse({ nodeId }: Choice): void {
    this.#choose(undefined);
    this.#shown.textContent = `No picture reaches ${nodeId} of this policy: the answers on the way to it contradict each other, or ask for more objects than a picture has.`;
  }

  #choose(choice: Choice | undefined): void {
    this.#choice = choice;
    for (const [name, button] of this.#nodes) button.setAttribute('aria-pressed', String(choice !== undefined && name === key(choice)));
    let visible = 0;
    for (const { scene, element } of this.#cards) {
      element.hidden = choice !== undefined && !passes(scene, choice);
      if (!element.hidden) visible++;
    }
    this.#shown.textContent = choice === undefined ? `${visible} pictures of the test set.` : `${visible} of ${this.#cards.length} pictures come by ${choice.nodeId} of this policy. Choose it again to see all.`;
  }
}

function canBeReached(node: TreeView): boolean {
  return node.kind === 'leaf' ? node.reachable : canBeReached(node.yes) || canBeReached(node.no);
}

function same(a: Choice | undefined, b: Choice): boolean {
  return a !== undefined && a.policyId === b.policyId && a.nodeId === b.nodeId;
}

function passes({ policyId, leafId, path }: SceneView, choice: Choice): boolean {
  return policyId === choice.policyId && (leafId === choice.nodeId || path.includes(choice.nodeId));
}

function key({ policyId, nodeId }: Choice): string {
  return `${policyId}/${nodeId}`;
}
