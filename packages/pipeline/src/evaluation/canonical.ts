/** @file What the same policies would take in the prompt if they were written in the paper's prose. */
import { type ClevrPolicyDataset, clevrPolicy } from '@trimpi/datasets';
import type { Tokenizer } from '@trimpi/model';

/**
 * Mean prompt tokens over the policies of a dataset, canonical text and question, images as the dataset's own prompts
 * hold them. The trees are the same ones: style is only how they are written.
 * @param imageTokens tokens that the question's image takes, with its two marks.
 */
export function canonicalPromptTokens(tokenizer: Tokenizer, dataset: ClevrPolicyDataset, imageTokens: number): { readonly withPolicy: number; readonly withoutPolicy: number } {
  const { depths, seed, variant, tree, semantics } = dataset.config;
  const prose = clevrPolicy({ seed, n: depths, policies: dataset.config.policies, variant, tree, semantics, style: 'canonical', train: 0, test: 0 });
  const count = (text: string) => tokenizer.encode(text).length;
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const without = mean(prose.policies.map((p) => count(p.query))) + imageTokens;
  return { withPolicy: without + mean(prose.policies.map((p) => count(p.text))), withoutPolicy: without };
}
