/** @file The body of `POST /v1/chat/completions`, checked field by field (names and ranges of OpenAI's API, and vLLM's `top_k`, `min_p` and `repetition_penalty`). */
import { z } from 'zod';
import { nearest } from '../options.ts';
import { ApiError } from './api-error.ts';

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const imagePart = z.object({
  type: z.literal('image_url'),
  image_url: z.object({ url: z.string().min(1), detail: z.enum(['auto', 'low', 'high']).nullish() }),
});
const part = z.discriminatedUnion('type', [textPart, imagePart], { error: 'must be a part of type text or image_url' });
const name = z.string().max(256).nullish();
const text = z.union([z.string(), z.array(textPart).min(1)]);
const message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('system'), content: text, name }),
  z.strictObject({ role: z.literal('developer'), content: text, name }),
  z.strictObject({ role: z.literal('user'), content: z.union([z.string(), z.array(part).min(1)]), name }),
  z.strictObject({ role: z.literal('assistant'), content: text, name, refusal: z.null().optional() }),
], { error: 'must have the role system, developer, user or assistant' });

/** Zero, nothing, or absent: the caller asks for what we do anyway. */
const unused = (what: string) => z.unknown().optional().refine((value) => value === undefined || value === null || value === 0 || (typeof value === 'object' && Object.keys(value).length === 0), { error: `${what} is not served here; leave it out` });
const ignored = z.unknown().optional();

const body = z.strictObject({
  model: z.string().min(1),
  messages: z.array(message).min(1).max(1024),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).lt(1).nullish(),
  repetition_penalty: z.number().gt(0).max(100).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).max(128).nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(4)]).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: z.object({ type: z.literal('text', { error: 'only text is served here' }) }).nullish(),
  tools: unused('a tool call'), tool_choice: z.enum(['none', 'auto']).nullish(), functions: unused('a function call'), function_call: unused('a function call'),
  frequency_penalty: unused('a penalty'), presence_penalty: unused('a penalty'), logit_bias: unused('a bias of tokens'), audio: unused('audio'), prediction: unused('a prediction'),
  modalities: z.array(z.literal('text')).nullish(),
  user: ignored, metadata: ignored, store: ignored, service_tier: ignored, parallel_tool_calls: ignored, reasoning_effort: ignored, safety_identifier: ignored, prompt_cache_key: ignored, verbosity: ignored,
});

export type ContentPart = z.infer<typeof part>;
export type RequestMessage = z.infer<typeof message>;

/** A request with every default filled in. */
export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly RequestMessage[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Undefined: the server's default. */
  readonly maxTokens: number | undefined;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed: number | undefined;
  readonly n: number;
  readonly stop: readonly string[];
  readonly logprobs: boolean;
  readonly topLogprobs: number;
}

/** @throws ApiError 400 naming the field, and the nearest right name for an unknown one. */
export function parseChatRequest(json: string): ChatRequest {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new ApiError(400, `The body is not JSON: ${cause instanceof Error ? cause.message : String(cause)}.`, { code: 'invalid_json' });
  }
  const parsed = body.safeParse(value);
  if (!parsed.success) throw refusal(parsed.error.issues[0]!);
  const r = parsed.data;
  if (typeof r.max_tokens === 'number' && typeof r.max_completion_tokens === 'number' && r.max_tokens !== r.max_completion_tokens) {
    throw new ApiError(400, 'max_tokens and max_completion_tokens differ. Give one of them.', { param: 'max_completion_tokens' });
  }
  const topLogprobs = r.top_logprobs ?? 0;
  if (topLogprobs > 0 && r.logprobs !== true) throw new ApiError(400, 'top_logprobs needs logprobs: true.', { param: 'top_logprobs' });
  return {
    model: r.model,
    messages: r.messages,
    stream: r.stream ?? false,
    includeUsage: r.stream_options?.include_usage ?? false,
    maxTokens: r.max_completion_tokens ?? r.max_tokens ?? undefined,
    temperature: r.temperature ?? 1,
    topP: r.top_p ?? 1,
    topK: Math.max(0, r.top_k ?? 0),
    minP: r.min_p ?? 0,
    repetitionPenalty: r.repetition_penalty ?? 1,
    seed: r.seed ?? undefined,
    n: r.n ?? 1,
    stop: typeof r.stop === 'string' ? [r.stop] : (r.stop ?? []),
    logprobs: r.logprobs ?? false,
    topLogprobs,
  };
}

function refusal(issue: z.core.$ZodIssue): ApiError {
  const { path, message: said, keys } = deepest(issue);
  const param = path.map((p, i) => (typeof p === 'number' ? `[${p}]` : i === 0 ? String(p) : `.${String(p)}`)).join('');
  const [unknown] = keys;
  if (unknown !== undefined) {
    const near = path.length === 0 ? nearest(unknown, Object.keys(body.shape)) : undefined;
    return new ApiError(400, `${param === '' ? '' : `${param}.`}${unknown.slice(0, 100)} is no field of this request.${near === undefined ? '' : ` Did you mean ${near}?`}`, { param: unknown.slice(0, 100), code: 'unknown_parameter' });
  }
  return new ApiError(400, `${param === '' ? 'The body' : param}: ${said}.`, { param: param === '' ? null : param, code: 'invalid_value' });
}

/** Of the branches of a union, the one that got furthest says what is wrong. */
function deepest(issue: z.core.$ZodIssue): { readonly path: readonly PropertyKey[]; readonly message: string; readonly keys: readonly string[] } {
  if (issue.code === 'invalid_union') {
    const inner = issue.errors.flatMap((branch) => branch.slice(0, 1).map(deepest)).toSorted((a, b) => b.path.length - a.path.length)[0];
    if (inner !== undefined && inner.path.length > 0) return { ...inner, path: [...issue.path, ...inner.path] };
  }
  return { path: issue.path, message: issue.message.replace(/\.$/, ''), keys: issue.code === 'unrecognized_keys' ? issue.keys : [] };
}
