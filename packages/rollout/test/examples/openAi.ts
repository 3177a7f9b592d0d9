import type { Completion, GenerateRequest } from '../../src/index.ts';

/** What the sampler needs to know of a prompt. */
export interface ChatPrompt {
  readonly question: string;
  /** The policy document, put in the system message of policy-aware rollouts. */
  readonly policy: string;
}

/** `generate` for any OpenAI-compatible chat endpoint that returns log-probabilities and token ids as `token_id:N`. */
export function openAiSampler(baseUrl: string, model: string): (request: GenerateRequest<ChatPrompt>) => Promise<Completion> {
  return async ({ prompt, origin, hint, signal }) => {
    const system = [origin === 'policy' ? prompt.value.policy : '', hint ?? ''].filter((part) => part !== '').join('\n\n');
    const messages = [...(system === '' ? [] : [{ role: 'system', content: system }]), { role: 'user', content: prompt.value.question }];
    const response = await fetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages, logprobs: true, return_tokens_as_token_ids: true, temperature: 1, max_tokens: 64 }),
      signal,
    });
    if (!response.ok) throw new Error(`${response.status} from ${baseUrl}: ${await response.text()}`);
    const { choices } = (await response.json()) as { choices: [{ message: { content: string }; finish_reason: string; logprobs: { content: { token: string; logprob: number }[] } }] };
    const [{ message, finish_reason, logprobs }] = choices;
    return {
      text: message.content,
      tokens: logprobs.content.map(({ token }) => Number(token.replace('token_id:', ''))),
      behaviorLogps: logprobs.content.map(({ logprob }) => logprob),
      truncated: finish_reason === 'length',
    };
  };
}
