import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { goldenBytes, goldenJson, goldenText } from '../test/golden.ts';
import { compileChatTemplate, QWEN_CHAT_TEMPLATE, type ChatMessage } from './chat.ts';
import { ModelError } from './errors.ts';
import { memoryFiles } from './files/model-files.ts';
import { Tokenizer } from './tokenizer.ts';

const tokenizer = Tokenizer.parse(goldenJson('model/tokenizer.json'), goldenJson('model/tokenizer_config.json'));

describe('Tokenizer', () => {
  it.each(goldenJson<{ text: string; ids: number[]; decoded: string; decoded_skip_special: string }[]>('tokenizer_golden.json'))('equals the Rust library: $text', ({ text, ids, decoded, decoded_skip_special }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decoded_skip_special);
  });

  it('knows its special tokens', () => {
    expect(tokenizer).toMatchObject({ vocabSize: 512, eosTokenId: 500, padTokenId: 498 });
    expect(tokenizer.isSpecial(510)).toBe(true);
    expect(tokenizer.isSpecial(1)).toBe(false);
    expect(tokenizer.requireId('<|image_pad|>')).toBe(510);
    expect(() => tokenizer.requireId('<nothing>')).toThrowError(ModelError);
    expect(tokenizer.findSpecial('a <|im_end|> b')).toBe('<|im_end|>');
  });

  it('gives any text back, in composed form; token bytes add up to it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        const ids = tokenizer.encode(text);
        const composed = text.normalize('NFC');
        expect(tokenizer.decode(ids)).toBe(composed);
        expect(Buffer.concat(ids.map((id) => tokenizer.tokenBytes(id))).toString('utf8')).toBe(composed);
      }),
      { numRuns: 300 },
    );
  });

  it('decodes nothing, ids that stand for nothing, and refuses what is no id', () => {
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.encode('')).toEqual([]);
    expect(tokenizer.decode([520, 511])).toBe('<|video_pad|>');
    expect(() => tokenizer.decode([-1])).toThrowError(ModelError);
    expect(() => tokenizer.decode([1.5])).toThrowError(ModelError);
  });

  it('loads from the files of a model, with the template in any of three places', async () => {
    const json = goldenText('model/tokenizer.json');
    const { chat_template, ...rest } = goldenJson<{ chat_template: string }>('model/tokenizer_config.json');
    for (const place of [{ 'chat_template.jinja': chat_template }, { 'chat_template.json': goldenBytes('model/chat_template.json') }, { 'tokenizer_config.json': JSON.stringify({ ...rest, chat_template: [{ name: 'default', template: chat_template }] }) }]) {
      const loaded = await Tokenizer.load(memoryFiles({ 'tokenizer.json': json, 'tokenizer_config.json': JSON.stringify(rest), ...place }));
      expect(loaded.chatTemplate).toBe(chat_template);
    }
    await expect(Tokenizer.load(memoryFiles({}))).rejects.toMatchObject({ code: 'not-found' });
  });

  const json = goldenJson<{ model: { vocab: Record<string, number>; merges: unknown[] }; added_tokens: object[] }>('model/tokenizer.json');
  it.each<[string, unknown]>([
    ['no object', []],
    ['another model', { ...json, model: { ...json.model, type: 'Unigram' } }],
    ['no merges', { ...json, model: { ...json.model, merges: undefined } }],
    ['two tokens of one id', { ...json, model: { ...json.model, vocab: { ...json.model.vocab, zzzz: 0 } } }],
    ['an id that is none', { ...json, model: { ...json.model, vocab: { ...json.model.vocab, zzzz: -1 } } }],
    ['a merge out of the vocabulary', { ...json, model: { ...json.model, merges: [['he', 'zz']] } }],
    ['a merge of three', { ...json, model: { ...json.model, merges: ['h e l'] } }],
    ['an added token on the id of another', { ...json, added_tokens: [{ id: 3, content: '<a>' }] }],
    ['a pre-tokenizer that is not byte-level', { ...json, pre_tokenizer: { type: 'Whitespace' } }],
    ['a pattern that is no expression', { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' }, { type: 'ByteLevel' }] } }],
  ])('refuses %s', (_name, bad) => {
    expect(() => Tokenizer.parse(bad)).toThrowError(expect.objectContaining({ name: 'ModelError', code: 'invalid-tokenizer' }));
  });
});

describe('chat templates', () => {
  const cases = goldenJson<{ messages: ChatMessage[]; add_generation_prompt: boolean; add_vision_id: boolean; rendered: string }[]>('chat_template_golden.json');
  const published = goldenJson<{ chat_template: string }>('model/tokenizer_config.json').chat_template;
  it.each([['the published', published], ['our own', QWEN_CHAT_TEMPLATE]])('%s template equals Python', (_name, source) => {
    const template = compileChatTemplate(source);
    expect(cases).toHaveLength(12);
    for (const { messages, add_generation_prompt, add_vision_id, rendered } of cases) {
      expect(template(messages, { addGenerationPrompt: add_generation_prompt, addVisionId: add_vision_id })).toBe(rendered);
    }
  });

  it('refuses templates that cannot be parsed or that fail', () => {
    expect(() => compileChatTemplate('{% for %}')).toThrowError(ModelError);
    expect(() => compileChatTemplate("{{ raise_exception('no') }}")([])).toThrowError(ModelError);
  });
});
