import type { AdvantageContext } from '../advantages/input.ts';

/** What poro() adds to an objective's advantages. */
export interface PoroOptions {
  readonly baseline: 'union' | 'separate' | 'free-only';
  readonly ratioReference: 'self' | 'behavior' | 'detached' | 'shaped';
  /** Rearranges the groups for the chosen baseline. */
  regroup(context: AdvantageContext): AdvantageContext;
  /** Last word on the advantages of policy-aware rows. */
  adjust(context: AdvantageContext, out: Float64Array): void;
}
