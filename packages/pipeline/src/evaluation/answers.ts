/** @file Greedy answers of the model, and how long the first token takes. */
import { evaluate, type Outcome, type Proportion } from '@trimpi/eval';
import { generate, type TokenSequence, type VisionLanguageModel } from '@trimpi/model';
import type { Task } from '../task.ts';

export interface AnswerContext {
  readonly model: VisionLanguageModel;
  /** On in every answer. */
  readonly adapter?: string | undefined;
  readonly task: Pick<Task, 'text' | 'stopIds'>;
  readonly maxNewTokens: number;
  /** Most answers at once, up to 50. */
  readonly maxRollouts?: number | undefined;
  /** Called before each batch of prompts; throws to stop. */
  readonly check: () => Promise<void>;
  readonly onProgress?: (done: number, of: number) => void;
}

export interface Question {
  readonly prompt: TokenSequence;
  readonly score: (completion: string) => boolean;
}

const BATCH = 50;

/** Asks everything greedily, in batches. */
export async function answerAll({ model, adapter, task, maxNewTokens, maxRollouts = BATCH, check, onProgress }: AnswerContext, questions: readonly Question[]): Promise<Proportion & { readonly outcomes: readonly Outcome[] }> {
  return evaluate<TokenSequence>(
    questions,
    async (prompts) => {
      await check();
      const completions = await generate(model, prompts, { temperature: 0, maxNewTokens, stopIds: task.stopIds, seed: 0, ...(adapter === undefined ? {} : { adapter }) });
      return completions.map((c) => task.text(c.tokens));
    },
    { batchSize: Math.min(BATCH, maxRollouts), ...(onProgress === undefined ? {} : { onProgress: (done) => onProgress(done, questions.length) }) },
  );
}

/** Milliseconds to the first token of the prompt of median length: the median of seven times, after one that also compiles. */
export async function prefillTime(model: VisionLanguageModel, prompts: readonly TokenSequence[], adapter?: string): Promise<number> {
  const prompt = prompts.toSorted((a, b) => a.inputIds.length - b.inputIds.length)[prompts.length >> 1]!;
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await generate(model, [prompt], { temperature: 0, maxNewTokens: 1, stopIds: [], seed: 0, ...(adapter === undefined ? {} : { adapter }) });
    times.push(performance.now() - start);
  }
  return times.slice(1).sort((a, b) => a - b)[3]!;
}

export function meanTokens(prompts: readonly TokenSequence[]): number {
  return prompts.reduce((s, p) => s + p.inputIds.length, 0) / prompts.length;
}
