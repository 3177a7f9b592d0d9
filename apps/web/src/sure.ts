/** @file Asks before something is lost that took long to make. */
import { el } from './dom.ts';

/** Opens a dialog; resolves to whether `act` was chosen. Escape and the other button keep what is there. */
export async function sure(question: string, act: string): Promise<boolean> {
  const keep = el('button', { value: '', autofocus: true }, 'Keep it');
  const dialog = el('dialog', { 'aria-label': act }, el('form', { method: 'dialog' }, el('p', {}, question), el('div', { class: 'actions' }, keep, el('button', { value: 'yes' }, act))));
  document.body.append(dialog);
  const closed = new Promise<void>((done) => dialog.addEventListener('close', () => done(), { once: true }));
  dialog.showModal();
  await closed;
  dialog.remove();
  return dialog.returnValue === 'yes';
}
