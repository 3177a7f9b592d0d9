/** @file What is asked in an evaluation: prompts of a model's own form, and how a completion is scored. */
import { type ChatMessage, type Processor, type RawImage, sequenceOf, type TokenSequence } from '@trimpi/model';
import { exampleParts, type Part, shortcutBaselines } from '@trimpi/datasets';
import { majorityAccuracy } from '@trimpi/eval';
import type { StoredDataset, StoredItem, StoredScore } from '../data/stored.ts';

export interface Question {
  readonly id: string;
  readonly policyId: string;
  /** What is asked, without the policy. */
  readonly query: string;
  readonly answer: string;
  prompt(): TokenSequence | Promise<TokenSequence>;
  score(completion: string): StoredScore;
}

export interface QuestionSet {
  readonly questions: readonly Question[];
  /** On these questions: accuracy of guessing among the answers of each policy, and of the most frequent training answer; null when not known. */
  readonly chance: number | null;
  readonly majority: number | null;
  /** ClevrPolicy: accuracies of what reads no policy, learnt from the training answers; null when the scenes are not known. */
  readonly shortcuts: Shortcuts | null;
}

export interface Shortcuts {
  readonly objectCount: number;
  readonly histogram: number;
}

/** Questions of a stored dataset for a chat model: all of the split, or its first `limit`. */
export function chatQuestions(data: StoredDataset, split: 'train' | 'test', processor: Processor, { withPolicy, system, limit }: { readonly withPolicy: boolean; readonly system: string; readonly limit?: number | undefined }): QuestionSet {
  const asked = data.examples.filter((example) => example.split === split).slice(0, limit);
  const label = (example: StoredItem): string => (data.kind === 'gta-policy' ? toolOf(example.answer) : example.answer);
  const labelled = (example: StoredItem) => ({ policyId: example.policyId, answer: label(example) });
  const train = data.examples.filter((example) => example.split === 'train');
  const outcomes = asked.map((example) => data.outcomes.get(example.policyId));
  return {
    questions: asked.map((example) => ({
      id: example.id,
      policyId: example.policyId,
      query: example.query,
      answer: example.answer,
      prompt: () => chatPrompt(processor, exampleParts(example, { policy: withPolicy, response: false }), system),
      score: example.score,
    })),
    chance: asked.length === 0 || outcomes.includes(undefined) ? null : outcomes.reduce<number>((sum, n) => sum + 1 / n!, 0) / asked.length,
    majority: train.length === 0 || asked.length === 0 ? null : majorityAccuracy(train.map(labelled), asked.map(labelled)),
    shortcuts: data.kind === 'clevr-policy' ? shortcutsOf(train, asked) : null,
  };
}

function shortcutsOf(train: readonly StoredItem[], asked: readonly StoredItem[]): Shortcuts | null {
  const known = (items: readonly StoredItem[]) => items.flatMap(({ policyId, answer, objects }) => (objects === undefined ? [] : [{ policyId, answer, scene: { objects } }]));
  const [learnt, test] = [known(train), known(asked)];
  if (train.length === 0 || asked.length === 0 || learnt.length < train.length || test.length < asked.length) return null;
  const { objectCount, histogram } = shortcutBaselines([], learnt, test);
  return { objectCount, histogram };
}

function toolOf(answer: string): string {
  return (JSON.parse(answer) as { name: string }).name;
}

function chatPrompt(processor: Processor, parts: readonly Part[], system: string): TokenSequence {
  const images: RawImage[] = parts.flatMap((part) => (part.type === 'image' ? [{ width: part.image.width, height: part.image.height, data: part.image.rgb, channels: 3 as const }] : []));
  const messages: ChatMessage[] = [
    ...(system === '' ? [] : [{ role: 'system', content: system }]),
    { role: 'user', content: parts.map((part) => (part.type === 'text' ? part : { type: 'image' as const })) },
  ];
  return sequenceOf(processor.process({ messages, images, addGenerationPrompt: true, loss: 'all' }));
}
