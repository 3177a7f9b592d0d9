/** @file The objects of OpenAI's chat completion API. */
import type { Tokenizer } from '@trimpi/model';
import type { ChatJob } from './backend.ts';
import type { Piece, ScoredToken } from './choice.ts';

export interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

export function completionObject({ id, created, model }: Head, job: ChatJob, tokenizer: Tokenizer): object {
  return {
    id, object: 'chat.completion', created, model,
    choices: job.choices.map((choice, index) => ({
      index,
      message: { role: 'assistant', content: choice.text, refusal: null },
      logprobs: job.request.logprobs ? logprobs(choice.tokens, tokenizer, job.request.topLogprobs) : null,
      finish_reason: choice.finish,
    })),
    usage: usage(job),
  };
}

export function usage({ promptTokens, choices }: ChatJob): object {
  const completion = choices.reduce((sum, choice) => sum + choice.completionTokens, 0);
  return { prompt_tokens: promptTokens, completion_tokens: completion, total_tokens: promptTokens + completion };
}

/** The first chunk of a choice has its role, the last its reason to end. */
export function chunkObject({ id, created, model }: Head, index: number, piece: Piece | 'role', tokenizer: Tokenizer, wanted: { readonly logprobs: boolean; readonly topLogprobs: number }): object {
  const delta = piece === 'role' ? { role: 'assistant', content: '' } : piece.text === '' ? {} : { content: piece.text };
  const scores = piece !== 'role' && wanted.logprobs && piece.tokens.length > 0 ? logprobs(piece.tokens, tokenizer, wanted.topLogprobs) : null;
  return { id, object: 'chat.completion.chunk', created, model, choices: [{ index, delta, logprobs: scores, finish_reason: piece === 'role' ? null : (piece.finish ?? null) }] };
}

export function usageChunk({ id, created, model }: Head, job: ChatJob): object {
  return { id, object: 'chat.completion.chunk', created, model, choices: [], usage: usage(job) };
}

/** Greedy decoding chooses the most probable token, so one top entry is known without asking for more. */
function logprobs(tokens: readonly ScoredToken[], tokenizer: Tokenizer, top: number): object {
  return {
    content: tokens.map(({ id, logp }) => {
      const bytes = tokenizer.tokenBytes(id);
      const entry = { token: new TextDecoder().decode(bytes), logprob: logp, bytes: [...bytes] };
      return { ...entry, top_logprobs: top > 0 ? [entry] : [] };
    }),
    refusal: null,
  };
}

export function modelObject(id: string, created: number): object {
  return { id, object: 'model', created, owned_by: 'trimpi' };
}
