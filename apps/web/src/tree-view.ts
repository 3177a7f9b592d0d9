/** @file A policy's tree as nested lists; what stands at a node is up to the caller. */
import { el } from './dom.ts';
import type { TreeView } from './protocol.ts';

/** The whole tree. Every node carries its id in `data-node`, so that it can be lit up. */
export function treeList(root: TreeView, show: (node: TreeView) => HTMLElement): HTMLUListElement {
  return el('ul', { class: 'tree' }, el('li', {}, ...nodes(root, show)));
}

/** Question or answer as plain text. */
export function plainNode(node: TreeView): HTMLElement {
  return node.kind === 'leaf' ? el('span', { class: 'case' }, el('small', {}, node.id), ` ${node.answer}`) : el('span', { class: 'question' }, el('small', {}, node.id), ` ${node.question}`);
}

function nodes(node: TreeView, show: (node: TreeView) => HTMLElement): Node[] {
  const shown = show(node);
  shown.dataset['node'] = node.id;
  if (node.kind === 'leaf') return [shown];
  const branch = (word: 'yes' | 'no', child: TreeView) => el('li', { class: word }, el('span', { class: 'edge' }, word), ...nodes(child, show));
  return [shown, el('ul', {}, branch('yes', node.yes), branch('no', node.no))];
}
