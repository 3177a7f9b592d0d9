/** @file What is asked of a completion, and what is refused. */
import type { SampleSettings } from '@trimpi/runtime';
import { requireInteger } from '../checks.ts';
import { ModelError } from '../errors.ts';
import type { StopStrings } from './completion.ts';

/** How the next token is drawn; what is left out is as in `settingsOf`. */
export interface SamplingOptions extends Partial<SampleSettings> {
  /**
   * What the logits of tokens of the prompt and of the completion are divided by (or multiplied, where negative) before all
   * else, also for temperature 0: Hugging Face's `repetition_penalty`. Default 1: none.
   */
  readonly repetitionPenalty?: number;
}

export interface CompletionRequest extends SamplingOptions {
  /** Which of the prompts it continues. */
  readonly prompt: number;
  readonly maxNewTokens: number;
  /** A completion is a function of weights, prompt, settings, `seed` and `stream`. */
  readonly seed: number;
  readonly stream: number;
  readonly stop?: StopStrings;
  /** Steps between two looks at what it has and whether it has ended. Default 8. */
  readonly lookEvery?: number;
}

/** Settings with TRL's defaults: the full distribution at temperature 1. */
export function settingsOf({ temperature = 1, topK = 0, topP = 1, minP = 0 }: Partial<SampleSettings>): SampleSettings {
  return { temperature, topK, topP, minP };
}

/** Throws ModelError `invalid-input` naming `where` and the first option that is out of range. */
export function checkSampling(options: SamplingOptions & { readonly maxNewTokens: number; readonly seed: number; readonly lookEvery?: number }, where = ''): void {
  const { maxNewTokens, lookEvery, repetitionPenalty = 1 } = options;
  const { temperature, topK, topP, minP } = settingsOf(options);
  const bad = (argument: string, value: unknown, message: string, remedy: string): never => {
    throw new ModelError('invalid-input', { argument: `${where}${argument}`, value, message, remedy });
  };
  requireInteger(`${where}maxNewTokens`, maxNewTokens, 'Say how long completions may become.');
  requireInteger(`${where}seed`, options.seed, 'Give a whole number.', Number.MIN_SAFE_INTEGER);
  if (!(temperature >= 0) || !Number.isFinite(temperature)) bad('temperature', temperature, 'must be a number from 0', 'Use 0 for the most probable token.');
  if (!(topP > 0 && topP <= 1)) bad('topP', topP, 'must be above 0 and at most 1', 'Use 1 to keep all tokens.');
  if (!Number.isInteger(topK) || topK < 0) bad('topK', topK, 'must be a whole number from 0', 'Use 0 to keep all tokens.');
  if (!(minP >= 0 && minP < 1)) bad('minP', minP, 'must be at least 0 and below 1', 'Use 0 to keep all tokens.');
  if (!(repetitionPenalty > 0) || !Number.isFinite(repetitionPenalty)) bad('repetitionPenalty', repetitionPenalty, 'must be a number above 0', 'Use 1 for none.');
  if (lookEvery !== undefined) requireInteger(`${where}lookEvery`, lookEvery, 'Leave it out for the default.');
}

/** Throws ModelError `invalid-input` for what no token can be. An id beyond the vocabulary ends nothing. */
export function checkStopIds(stopIds: readonly number[]): void {
  stopIds.forEach((id, i) => requireInteger(`stopIds[${i}]`, id, 'Give ids of tokens, as of stopTokenIds.', 0));
}
