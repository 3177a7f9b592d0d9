/** @file What the same policies would take in the prompt if they were written in the paper's prose. */
import { type ClevrPolicyDataset, clevrPolicy } from '@trimpi/datasets';
import type { BatchImage, Tokenizer, TokenSequence, VisionLanguageModel } from '@trimpi/model';
import { RowBuilder, WordCodec } from '../base/words.ts';
import { meanTokens, prefillTime } from './answers.ts';

export interface CanonicalReport {
  /** Mean prompt tokens, image included. */
  readonly withPolicy: number;
  readonly withoutPolicy: number;
  /** Milliseconds from prompt to first token; null where a prompt is too long for the model. */
  readonly prefillMs: { readonly withPolicy: number; readonly withoutPolicy: number } | null;
}

/**
 * Prompts of a dataset's policies in the paper's prose, with and without the policy, cut into tokens by the same tokenizer.
 * The trees are the same ones: style is only how they are written.
 * @param image the question's image; it takes as many tokens as in the dataset's own prompts.
 */
export async function measureCanonical(model: VisionLanguageModel, tokenizer: Tokenizer, dataset: ClevrPolicyDataset, image: BatchImage): Promise<CanonicalReport> {
  const { depths, seed, variant, tree, semantics, policies } = dataset.config;
  const prose = clevrPolicy({ seed, n: depths, policies, variant, tree, semantics, style: 'canonical', train: 0, test: 0 });
  const codec = new WordCodec(tokenizer);
  const prompts = (policyInPrompt: boolean): TokenSequence[] =>
    prose.policies.map(({ text, query }) => {
      const row = new RowBuilder(model.config, codec);
      if (policyInPrompt) row.tokens(tokenizer.encode(text));
      return row.image(image).tokens(tokenizer.encode(query)).sequence();
    });
  const [aware, free] = [prompts(true), prompts(false)];
  const longest = aware.reduce((n, p) => Math.max(n, p.inputIds.length), 0);
  return {
    withPolicy: meanTokens(aware),
    withoutPolicy: meanTokens(free),
    prefillMs: longest + 1 > model.config.maxPositionEmbeddings ? null : { withPolicy: await prefillTime(model, aware), withoutPolicy: await prefillTime(model, free) },
  };
}
