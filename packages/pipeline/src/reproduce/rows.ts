/** @file The rows of the paper's table, and what the paper measured. */
import { PAPER_ALGORITHMS, type PaperAlgorithm } from '../config.ts';

/** What RL starts from. */
export type Start = 'direct-sft' | 'cot-sft' | 'vm-cpt+cot-sft';
/** `cpt+cot-sft` is the ablation of VM-CPT's mask; no RL starts from it. */
export type SupervisedRowName = Start | 'cpt+cot-sft';
export type RowName = 'in-context' | SupervisedRowName | `${Start}+${PaperAlgorithm}`;

export const STARTS: readonly Start[] = ['direct-sft', 'cot-sft', 'vm-cpt+cot-sft'];

/** All rows, in the order in which they are run: what others start from comes first. */
export const ROWS: readonly RowName[] = ['in-context', ...STARTS, 'cpt+cot-sft', ...['cot-sft', 'vm-cpt+cot-sft', 'direct-sft'].flatMap((start) => PAPER_ALGORITHMS.map((a) => `${start as Start}+${a}` as const))];

const WORDS: Readonly<Record<string, string>> = { 'in-context': 'In context (base)', 'direct-sft': 'Direct SFT', 'cot-sft': 'CoT SFT', 'vm-cpt': 'VM-CPT', cpt: 'CPT without the mask', grpo: 'GRPO', dapo: 'DAPO', 'poro-grpo': 'PoRo-GRPO', 'poro-dapo': 'PoRo-DAPO' };

export function rowTitle(row: RowName): string {
  return row.split('+').map((part) => WORDS[part] ?? part).join(' + ');
}

/** Where a row's RL starts, and with which algorithm; undefined for rows without RL. */
export function rlOf(row: RowName): { readonly start: Start; readonly algorithm: PaperAlgorithm } | undefined {
  for (const start of STARTS) {
    const algorithm = PAPER_ALGORITHMS.find((a) => row === `${start}+${a}`);
    if (algorithm !== undefined) return { start, algorithm };
  }
  return undefined;
}

/** ClevrPolicy with policies in words (T) or with pictures (M), and GTAPolicy. */
export const BENCHMARKS = ['clevr-t', 'clevr-m', 'gta'] as const;
export type Benchmark = (typeof BENCHMARKS)[number];

/** What a part of the table is about. */
export interface Setting {
  readonly benchmark: Benchmark;
  /** Depth of ClevrPolicy's trees; 0 for GTAPolicy. */
  readonly n: number;
}

/** Depths of ClevrPolicy's trees in the table. */
export const DEPTHS = [2, 3, 4, 5, 6] as const;

/** All parts that a table may have, in its order. */
export const SETTINGS: readonly Setting[] = [...(['clevr-t', 'clevr-m'] as const).flatMap((benchmark) => DEPTHS.map((n) => ({ benchmark, n }))), { benchmark: 'gta', n: 0 }];

export function settingTitle({ benchmark, n }: Setting): string {
  return benchmark === 'gta' ? 'GTAPolicy' : `N=${n}${benchmark === 'clevr-m' ? ', M' : ''}`;
}

/** Name of its folder. */
export function settingFolder({ benchmark, n }: Setting): string {
  return benchmark === 'gta' ? 'gta' : `n${n}${benchmark === 'clevr-m' ? 'm' : ''}`;
}

type PaperRows = Readonly<Partial<Record<RowName, Readonly<Record<number, number>>>>>;

/**
 * What the paper measured with Qwen2.5-VL-7B, in per cent, by its depth N (0: GTAPolicy): accuracy on ClevrPolicy, the mean of tool and
 * argument scores on GTAPolicy (arXiv 2510.09474, tables 1, 2, 8 and 11).
 */
export const PAPER: Readonly<Record<Benchmark, PaperRows>> = {
  'clevr-t': {
    'in-context': { 2: 72, 4: 32.2, 6: 13.15 },
    'direct-sft': { 4: 25.65, 6: 15.15 },
    'cot-sft': { 4: 49.1, 6: 17.8 },
    'vm-cpt+cot-sft': { 6: 22.75 },
    'cot-sft+grpo': { 4: 98.25, 6: 47.05 },
    'cot-sft+dapo': { 4: 97.15, 6: 67.6 },
    'vm-cpt+cot-sft+grpo': { 6: 55.9 },
    'vm-cpt+cot-sft+dapo': { 6: 73.35 },
    'vm-cpt+cot-sft+poro-grpo': { 4: 99.15, 6: 65.85 },
    'vm-cpt+cot-sft+poro-dapo': { 4: 97.3, 6: 77.8 },
  },
  'clevr-m': {
    'in-context': { 2: 51.2, 4: 13.9, 6: 5.65 },
    'direct-sft': { 4: 37.85, 6: 14.55 },
    'cot-sft': { 4: 55.35, 6: 14.3 },
    'vm-cpt+cot-sft': { 6: 27.05 },
    'cot-sft+grpo': { 4: 87.1, 6: 64.5 },
    'cot-sft+dapo': { 4: 88.75, 6: 74.4 },
    'vm-cpt+cot-sft+grpo': { 6: 80.8 },
    'vm-cpt+cot-sft+poro-grpo': { 4: 99.05, 6: 84.7 },
    'vm-cpt+cot-sft+poro-dapo': { 4: 99.4, 6: 85 },
  },
  gta: {
    'in-context': { 0: 21.51 },
    'direct-sft': { 0: 40.75 },
    'cot-sft': { 0: 54.5 },
    'vm-cpt+cot-sft': { 0: 65.47 },
    'cot-sft+dapo': { 0: 72.43 },
    'vm-cpt+cot-sft+grpo': { 0: 79.33 },
    'vm-cpt+cot-sft+poro-grpo': { 0: 81.06 },
    'vm-cpt+cot-sft+poro-dapo': { 0: 76.01 },
  },
};

/** What the paper measured of the same models beside accuracy, at N=6 or on GTAPolicy (overall scores): its tables 1, 3, 4, 8, 9 and 10. */
interface PaperMeasures {
  /** Accuracy of Qwen2.5-VL-3B at N=6 (its tables 1 and 8). */
  readonly small?: number;
  /** Scores of tool and version, and of arguments (its table 1). */
  readonly tool?: number;
  readonly arguments?: number;
  readonly policyInContext?: number;
  readonly override?: number;
  /** 0 to 10. */
  readonly referral?: number;
  /** What was forgotten: accuracy on MMMU-Pro and MMLU-Pro (its table 9; which column is which is inferred, their mean is stated) and on WildGuardTest (table 10). */
  readonly mmmuPro?: number;
  readonly mmluPro?: number;
  readonly wildGuard?: number;
}

/** Of Qwen2.5-VL-7B where nothing else is said; shares in per cent. */
export const PAPER_MEASURES: Readonly<Record<Benchmark, Readonly<Partial<Record<RowName, PaperMeasures>>>>> = {
  'clevr-t': {
    'in-context': { small: 4.8, policyInContext: 13.15, override: 13.15 },
    'direct-sft': { small: 13.4, override: 5.4, mmmuPro: 34.1, mmluPro: 39.25 },
    'cot-sft': { small: 19, policyInContext: 10.7, override: 16.4, referral: 3.54, mmmuPro: 31.85, mmluPro: 37.67, wildGuard: 82.04 },
    'cot-sft+grpo': { small: 31.55, policyInContext: 19, override: 30.8, referral: 5.04, mmmuPro: 32.6, mmluPro: 37.63, wildGuard: 83.21 },
    'cot-sft+dapo': { small: 48.1, override: 41.6, referral: 5.7, mmmuPro: 34.22, mmluPro: 38.41 },
    'vm-cpt+cot-sft+poro-grpo': { small: 46.65, policyInContext: 35.15, override: 48.7, referral: 5.6, mmmuPro: 31.45, mmluPro: 38.57, wildGuard: 74.9 },
    'vm-cpt+cot-sft+poro-dapo': { small: 68.75, override: 59.4, referral: 6.26, mmmuPro: 31.56, mmluPro: 37.68 },
  },
  'clevr-m': {
    'in-context': { small: 4.55, policyInContext: 5.65, override: 6.55 },
    'direct-sft': { small: 12.9, override: 5.3, mmmuPro: 33.24, mmluPro: 37.01 },
    'cot-sft': { small: 9.25, policyInContext: 15.8, override: 25.2, referral: 3.44, mmmuPro: 32.95, mmluPro: 38.7, wildGuard: 52.95 },
    'cot-sft+grpo': { small: 22.4, policyInContext: 20.9, override: 34, referral: 6.74, mmmuPro: 32.08, mmluPro: 40.13, wildGuard: 47.69 },
    'cot-sft+dapo': { small: 33.25, override: 37.6, referral: 6.74, mmmuPro: 34.16, mmluPro: 39.79 },
    'vm-cpt+cot-sft+poro-grpo': { small: 78.8, policyInContext: 69.9, override: 82.7, referral: 8.72, mmmuPro: 33.29, mmluPro: 39.34, wildGuard: 76.71 },
    'vm-cpt+cot-sft+poro-dapo': { small: 82.35, override: 85.15, referral: 8.35, mmmuPro: 32.66, mmluPro: 39.49 },
  },
  gta: {
    'in-context': { tool: 23.58, arguments: 19.44, policyInContext: 21.51, override: 19.43 },
    'direct-sft': { override: 36.99, mmmuPro: 27.86, mmluPro: 28.91 },
    'cot-sft': { policyInContext: 42.26, override: 38.71, referral: 7.68, mmmuPro: 10.17, mmluPro: 10.43, wildGuard: 69.22 },
    'cot-sft+grpo': { policyInContext: 57.01, override: 46.27, referral: 8.93, mmmuPro: 22.95, mmluPro: 22.66, wildGuard: 69.87 },
    'cot-sft+dapo': { override: 53.31, referral: 8.73, mmmuPro: 18.84, mmluPro: 20.86 },
    'vm-cpt+cot-sft+poro-grpo': { policyInContext: 66.81, override: 63, referral: 9.45, mmmuPro: 30.12, mmluPro: 35.77, wildGuard: 76.77 },
    'vm-cpt+cot-sft+poro-dapo': { override: 58.94, referral: 9.13, mmmuPro: 30.52, mmluPro: 35.63 },
  },
};
