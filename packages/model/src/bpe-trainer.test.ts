import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { goldenJson } from '../test/golden.ts';
import { QWEN_PATTERN, qwenTokenizerConfig, trainBpe, WORD_PATTERN } from './bpe-trainer.ts';
import { ModelError } from './errors.ts';
import { Tokenizer } from './tokenizer.ts';

/** Made with Hugging Face's `tokenizers` 0.23.2 in Python (BpeTrainer, byte-level alphabet, no special tokens). */
const golden = JSON.parse(readFileSync(new URL('../test/fixtures/bpe-trainer.json', import.meta.url), 'utf8')) as {
  texts: string[];
  cases: Record<string, { vocabSize: number; merges: string[]; ids: number[][] }>;
};

describe('trainBpe', () => {
  it.each(Object.entries(golden.cases))('equals the Rust trainer: %s', (name, expected) => {
    const [pattern, size, minFrequency] = name.split('/');
    const json = trainBpe(golden.texts, { vocabSize: Number(size), minFrequency: Number(minFrequency), pattern: pattern === 'qwen' ? QWEN_PATTERN : WORD_PATTERN, specialTokens: [] });
    expect(json.model.merges.map((pair) => (typeof pair === 'string' ? pair : pair.join(' ')))).toEqual(expected.merges);
    expect(Object.keys(json.model.vocab)).toHaveLength(expected.vocabSize);
    const tokenizer = Tokenizer.parse(json);
    expected.ids.forEach((ids, i) => expect(tokenizer.encode(golden.texts[i] ?? '')).toEqual(ids));
  });

  it('writes the components of the published tokenizer', () => {
    const json = trainBpe(golden.texts, { vocabSize: 400 });
    const published = goldenJson('model/tokenizer.json');
    for (const part of ['version', 'truncation', 'padding', 'normalizer', 'pre_tokenizer', 'post_processor', 'decoder']) expect(json[part]).toEqual(published[part]);
    expect(Object.keys(json.model)).toEqual(Object.keys(published['model'] as object));
    expect(json.added_tokens.map((token) => token.content)).toEqual((published['added_tokens'] as { content: string }[]).map((token) => token.content));
    const { chat_template: _ours, ...config } = qwenTokenizerConfig(json);
    const { chat_template: _theirs, added_tokens_decoder: _ids, ...expected } = goldenJson('model/tokenizer_config.json');
    const { added_tokens_decoder: _own, ...rest } = config;
    expect(rest).toEqual(expected);
  });

  it('makes every word of a closed vocabulary one token', () => {
    const texts = ['red circle left of blue square', 'is the red triangle above ?', 'Answer: blue <|im_end|>'];
    const json = trainBpe(texts, { vocabSize: 1000, pattern: WORD_PATTERN });
    const tokenizer = Tokenizer.parse(json, qwenTokenizerConfig(json));
    expect(tokenizer.encode(' circle of the blue ?').map((id) => tokenizer.decode([id]))).toEqual([' circle', ' of', ' the', ' blue', ' ?']);
    expect(tokenizer.encode('blue<|im_end|>').at(-1)).toBe(tokenizer.eosTokenId);
    expect(tokenizer.vocabSize).toBeLessThan(1000);
    expect(trainBpe(texts, { vocabSize: 1000, pattern: WORD_PATTERN })).toEqual(json);
  });

  it.each([{ vocabSize: 200 }, { vocabSize: 300.5 }, { vocabSize: 400, minFrequency: 0 }, { vocabSize: 400, specialTokens: ['<a>', '<a>'] }, { vocabSize: 400, pattern: '(' }])('refuses %j', (options) => {
    expect(() => trainBpe(['a'], options)).toThrowError(ModelError);
  });
});
