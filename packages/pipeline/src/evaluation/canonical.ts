/** @file What the same policies would take in the prompt if they were written in the paper's prose. */
import { type ClevrPolicyDataset, clevrPolicy, gtaPolicy } from '@trimpi/datasets';
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
 * @param image the question's image, and `shown` what a policy shows a value by; they take as many tokens as in the dataset's own prompts.
 */
export async function measureCanonical(model: VisionLanguageModel, tokenizer: Tokenizer, dataset: ClevrPolicyDataset, image: BatchImage, shown?: BatchImage): Promise<CanonicalReport> {
  const { depths, seed, variant, tree, semantics, policies } = dataset.config;
  const prose = clevrPolicy({ seed, n: depths, policies, variant, tree, semantics, style: 'canonical', train: 0, test: 0 });
  return measureProse(model, tokenizer, prose.policies.map(({ text, query }) => ({ policy: text, query, images: [image], shown })));
}

/** The same of GTAPolicy: the paper's document and eight of our own questions under it. */
export function measureGtaCanonical(model: VisionLanguageModel, tokenizer: Tokenizer, image: BatchImage): Promise<CanonicalReport> {
  const prose = gtaPolicy({ seed: 'canonical', train: 0, test: 8 });
  return measureProse(model, tokenizer, Array.from({ length: 8 }, (_, i) => {
    const { images, query } = prose.example('test', i);
    return { policy: prose.policyText, query, images: images.map(() => image), shown: undefined };
  }));
}

interface Prose {
  /** `<image>` stands for `shown`. */
  readonly policy: string;
  readonly query: string;
  readonly images: readonly BatchImage[];
  readonly shown: BatchImage | undefined;
}

async function measureProse(model: VisionLanguageModel, tokenizer: Tokenizer, questions: readonly Prose[]): Promise<CanonicalReport> {
  const codec = new WordCodec(tokenizer);
  const prompts = (policyInPrompt: boolean): TokenSequence[] =>
    questions.map(({ policy, query, images, shown }) => {
      const row = new RowBuilder(model.config, codec);
      if (policyInPrompt) {
        policy.split('<image>').forEach((part, i) => {
          if (i > 0) row.image(shown!);
          row.tokens(tokenizer.encode(part));
        });
      }
      for (const image of images) row.image(image);
      return row.tokens(tokenizer.encode(query)).sequence();
    });
  const [aware, free] = [prompts(true), prompts(false)];
  const longest = aware.reduce((n, p) => Math.max(n, p.inputIds.length), 0);
  return {
    withPolicy: meanTokens(aware),
    withoutPolicy: meanTokens(free),
    prefillMs: longest + 1 > model.config.maxPositionEmbeddings ? null : { withPolicy: await prefillTime(model, aware), withoutPolicy: await prefillTime(model, free) },
  };
}
