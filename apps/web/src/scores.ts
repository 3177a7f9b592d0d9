/** @file Scores in words. */
import type { CallScores } from '@trimpi/pipeline';
import { el } from './dom.ts';

export function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`;
}

/** A line below the accuracy; nothing where no tools are called. */
export function callsLine(calls: CallScores | undefined): HTMLElement[] {
  return calls === undefined ? [] : [el('br'), el('span', { class: 'quiet' }, `tool ${percent(calls.tool)}, arguments ${percent(calls.arguments)}, overall ${percent(calls.overall)}`)];
}
