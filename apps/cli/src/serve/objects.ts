/** @file The objects of OpenAI's chat completion API. */
import type { Tokenizer } from '@trimpi/model';
import type { ChatJob } from './backend.ts';
import type { Piece, ScoredToken, TopTokens } from './choice.ts';

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
      logprobs: job.request.logprobs ? logprobs(choice.tokens, tokenizer, choice.top) : null,
      finish_reason: choice.finish,
    })),
    usage: usage(job),
  };
}

export function usage({ promptTokens, choices }: ChatJob): object {
  const completion = choices.reduce((sum, choice) => sum + choice.completionTokens, 0);
  return { prompt_tokens: promptTokens, completion_tokens: completion, total_tokens: promptTokens + completion };
}

/** The first chunk of a choice has its role, the last its reason to end. `wanted`: with log-probabilities. */
export function chunkObject({ id, created, model }: Head, index: number, piece: Piece | 'role', tokenizer: Tokenizer, wanted: boolean, top?: readonly TopTokens[]): object {
  const delta = piece === 'role' ? { role: 'assistant', content: '' } : piece.text === '' ? {} : { content: piece.text };
  const scores = piece !== 'role' && wanted && piece.tokens.length > 0 ? logprobs(piece.tokens, tokenizer, top) : null;
  return { id, object: 'chat.completion.chunk', created, model, choices: [{ index, delta, logprobs: scores, finish_reason: piece === 'role' ? null : (piece.finish ?? null) }] };
}

export function usageChunk({ id, created, model }: Head, job: ChatJob): object {
  return { id, object: 'chat.completion.chunk', created, model, choices: [], usage: usage(job) };
}

function logprobs(tokens: readonly ScoredToken[], tokenizer: Tokenizer, top: readonly TopTokens[] | undefined): object {
  const entry = ({ id, logp }: ScoredToken) => {
    const bytes = tokenizer.tokenBytes(id);
    return { token: new TextDecoder().decode(bytes), logprob: logp, bytes: [...bytes] };
  };
  return { content: tokens.map((token, i) => ({ ...entry(token), top_logprobs: (top?.[i] ?? []).map(entry) })), refusal: null };
}

export function modelObject(id: string, created: number): object {
  return { id, object: 'model', created, owned_by: 'trimpi' };
}
