/** @file The rows of the paper's table, and what the paper measured. */
import { type Algorithm, ALGORITHMS } from '../config.ts';

/** What RL starts from. */
export type Start = 'direct-sft' | 'cot-sft' | 'vm-cpt+cot-sft';
/** `cpt+cot-sft` is the ablation of VM-CPT's mask; no RL starts from it. */
export type SupervisedRowName = Start | 'cpt+cot-sft';
export type RowName = 'in-context' | SupervisedRowName | `${Start}+${Algorithm}`;

export const STARTS: readonly Start[] = ['direct-sft', 'cot-sft', 'vm-cpt+cot-sft'];

/** All rows, in the order in which they are run: what others start from comes first. */
export const ROWS: readonly RowName[] = ['in-context', ...STARTS, 'cpt+cot-sft', ...['cot-sft', 'vm-cpt+cot-sft', 'direct-sft'].flatMap((start) => ALGORITHMS.map((a) => `${start as Start}+${a}` as const))];

const WORDS: Readonly<Record<string, string>> = { 'in-context': 'In context (base)', 'direct-sft': 'Direct SFT', 'cot-sft': 'CoT SFT', 'vm-cpt': 'VM-CPT', cpt: 'CPT without the mask', grpo: 'GRPO', dapo: 'DAPO', 'poro-grpo': 'PoRo-GRPO', 'poro-dapo': 'PoRo-DAPO' };

export function rowTitle(row: RowName): string {
  return row.split('+').map((part) => WORDS[part] ?? part).join(' + ');
}

/** Where a row's RL starts, and with which algorithm; undefined for rows without RL. */
export function rlOf(row: RowName): { readonly start: Start; readonly algorithm: Algorithm } | undefined {
  for (const start of STARTS) {
    const algorithm = ALGORITHMS.find((a) => row === `${start}+${a}`);
    if (algorithm !== undefined) return { start, algorithm };
  }
  return undefined;
}

/** Accuracy in per cent, Qwen2.5-VL-7B on ClevrPolicy-T (arXiv 2510.09474, tables 8 and 11), by depth N. */
export const PAPER: Readonly<Partial<Record<RowName, Readonly<Partial<Record<4 | 6, number>>>>>> = {
  'in-context': { 4: 32.2, 6: 13.15 },
  'direct-sft': { 4: 25.65, 6: 15.15 },
  'cot-sft': { 4: 49.1, 6: 17.8 },
  'vm-cpt+cot-sft': { 6: 22.75 },
  'cot-sft+grpo': { 4: 98.25, 6: 47.05 },
  'cot-sft+dapo': { 4: 97.15, 6: 67.6 },
  'vm-cpt+cot-sft+grpo': { 6: 55.9 },
  'vm-cpt+cot-sft+dapo': { 6: 73.35 },
  'vm-cpt+cot-sft+poro-grpo': { 4: 99.15, 6: 65.85 },
  'vm-cpt+cot-sft+poro-dapo': { 4: 97.3, 6: 77.8 },
};
