/** @file One answer: messages in, text out, piece by piece. */
import { type ChatMessage, generate, type RawImage, sequenceOf } from '@trimpi/model';
import { UsageError } from '../errors.ts';
import type { LoadedModel } from './load.ts';

export interface SamplingOptions {
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export interface Answer {
  readonly text: string;
  readonly finish: 'stop' | 'length' | 'interrupted';
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly seconds: number;
}

/**
 * `onText` gets what is new since the last call; together the pieces are the text.
 * @throws UsageError when prompt and answer need more positions than there are.
 */
export async function answer(
  loaded: LoadedModel,
  messages: readonly ChatMessage[],
  images: readonly RawImage[],
  { maxNewTokens, temperature, topP, topK, repetitionPenalty, seed }: SamplingOptions,
  onText: (piece: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const { model, processor, adapter, stopIds, positions } = loaded;
  const row = processor.process({ messages, images, addGenerationPrompt: true, loss: 'all' });
  // Of the last token that may come: a picture takes fewer positions than tokens.
  const last = row.inputIds.length + row.ropeDelta + maxNewTokens - 1;
  if (last > positions) {
    const most = processor.config.maxPositionEmbeddings;
    throw new UsageError(`The prompt has ${row.inputIds.length} tokens and --max-new-tokens is ${maxNewTokens}: that leads to position ${last} of ${positions}. ${last <= most ? `Give --max-positions ${last} or more (the checkpoint has ${most})` : `The checkpoint has ${most}: shorten the prompt`}, or ask for fewer tokens.`);
  }
  const decode = (tokens: Int32Array) => processor.tokenizer.decode(tokens, { skipSpecialTokens: true });
  const stream = textStream(onText);
  const started = performance.now();
  const [completion] = await generate(model, [sequenceOf(row)], {
    maxNewTokens, temperature, topP, topK, repetitionPenalty, seed, stopIds, signal,
    ...(adapter === undefined ? {} : { adapter }),
    onProgress: ([c]) => stream.update(decode(c!.tokens)),
    lookEvery: 1,
  });
  const text = decode(completion!.tokens);
  stream.end(text);
  const finish = completion!.finish === 'length' && completion!.tokens.length < maxNewTokens ? 'interrupted' : completion!.finish;
  return { text, finish, promptTokens: row.inputIds.length, completionTokens: completion!.tokens.length, seconds: (performance.now() - started) / 1000 };
}

/** Passes on the new part of a growing text; the last letters wait while they may be half a character (U+FFFD). */
export function textStream(onText: (piece: string) => void): { update(text: string): void; end(text: string): void } {
  let sent = 0;
  const update = (text: string) => {
    if (text.length > sent) onText(text.slice(sent));
    sent = Math.max(sent, text.length);
  };
  return { update: (text) => update(text.replace(/\uFFFD+$/, '')), end: update };
}
