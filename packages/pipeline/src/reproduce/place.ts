/** @file One seed of one setting of the table: what is trained, on what, and how it is measured. */
import type { VisionLanguageModel } from '@trimpi/model';
import type { AnswerContext } from '../evaluation/answers.ts';
import type { SuiteReport } from '../evaluation/suite.ts';
import type { Task } from '../task.ts';
import type { Baselines } from './results.ts';
import type { Setting } from './rows.ts';
import type { ReproduceSettings } from './settings.ts';

export type FoundBaselines = Omit<Baselines, keyof Setting | 'seed'>;

export interface Place {
  readonly model: VisionLanguageModel;
  /** Trained throughout; undefined where stages train all parameters. */
  readonly adapter?: string | undefined;
  readonly maxTokens?: number;
  readonly maxRollouts?: number;
  readonly task: Task;
  /** Puts back what the rows begin with. */
  reset(): Promise<void>;
  /** @param policyInPrompt which answers branching, referral and unseen cells are taken from. */
  measure(context: Pick<AnswerContext, 'maxNewTokens' | 'check'>, policyInPrompt: boolean): Promise<SuiteReport>;
  baselines(): Promise<FoundBaselines>;
  /** Frees what is of this place alone. */
  dispose(): void;
}

/** Whom the making of data tells how far it is, and who may stop it. */
export interface Watch {
  /** Throws to stop. */
  check(): void;
  onProgress(done: number, of: number): void;
}

/** A base, and the form in which it is given the benchmarks. */
export interface Writing {
  /** The base's weights are in the model. */
  open(setting: Setting, seed: number, settings: ReproduceSettings, watch: Watch): Promise<Place>;
  dispose(): void;
}
