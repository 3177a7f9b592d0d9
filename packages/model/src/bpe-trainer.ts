/**
 * @file Trains a byte-level BPE tokenizer (Sennrich et al., arXiv 1508.07909) and writes it as a `tokenizer.json` with
 * the components of Qwen's. Merges are chosen as Hugging Face's `tokenizers` does: the most frequent pair, of equally
 * frequent ones the pair with the smaller ids.
 */
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { BYTE_TO_CHAR } from './byte-level.ts';
import { QWEN_CHAT_TEMPLATE } from './chat.ts';
import { ModelError } from './errors.ts';
import type { AddedToken, TokenizerJson } from './tokenizer-json.ts';

/** How Qwen cuts text before the merges. */
export const QWEN_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Cuts at white space only, so that every frequent word of a closed vocabulary becomes one token. */
export const WORD_PATTERN = ' ?[^\\s]+|\\s+';

/** The special tokens of Qwen2-VL and Qwen2.5-VL, in the order of their ids. */
export const QWEN_SPECIAL_TOKENS: readonly string[] = [
  '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|object_ref_start|>', '<|object_ref_end|>', '<|box_start|>', '<|box_end|>',
  '<|quad_start|>', '<|quad_end|>', '<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
];

export interface BpeTrainerOptions {
  /** Tokens in all: 256 bytes, merges, special tokens. Fewer when the texts give no more merges. */
  readonly vocabSize: number;
  /** A pair that is rarer is not merged. Default 1. */
  readonly minFrequency?: number;
  /** The regular expression that cuts text into words. Default `QWEN_PATTERN`. */
  readonly pattern?: string;
  /** Appended behind the merges. Default `QWEN_SPECIAL_TOKENS`. */
  readonly specialTokens?: readonly string[];
}

/** Learns merges from texts. The same texts in the same order give the same tokenizer. @throws ModelError `invalid-input`. */
export function trainBpe(texts: Iterable<string>, options: BpeTrainerOptions): TokenizerJson {
  const { vocabSize, minFrequency = 1, pattern = QWEN_PATTERN, specialTokens = QWEN_SPECIAL_TOKENS } = options;
  const base = 256 + specialTokens.length;
  if (!Number.isInteger(vocabSize) || vocabSize < base || vocabSize > 2 ** 22) {
    throw new ModelError('invalid-input', { argument: 'vocabSize', value: vocabSize, message: `must be an integer of at least ${base} (256 bytes and the special tokens)`, remedy: 'Give a larger vocabulary.' });
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1) {
    throw new ModelError('invalid-input', { argument: 'minFrequency', value: minFrequency, message: 'must be a positive integer', remedy: 'Use 1 to merge every pair.' });
  }
  if (new Set(specialTokens).size !== specialTokens.length || specialTokens.includes('')) {
    throw new ModelError('invalid-input', { argument: 'specialTokens', value: specialTokens, message: 'must be different and not empty', remedy: 'Remove the repeated one.' });
  }
  const { tokens, merges } = learnMerges(countWords(texts, pattern, specialTokens), vocabSize - specialTokens.length, minFrequency);
  return tokenizerJson(tokens, merges, pattern, specialTokens);
}

/** A `tokenizer_config.json` with Qwen's chat template for a trained tokenizer. */
export function qwenTokenizerConfig(tokenizer: TokenizerJson, chatTemplate: string = QWEN_CHAT_TEMPLATE): Record<string, unknown> {
  return {
    add_bos_token: false,
    add_prefix_space: false,
    added_tokens_decoder: Object.fromEntries(tokenizer.added_tokens.map(({ id, ...token }) => [String(id), token])),
    additional_special_tokens: tokenizer.added_tokens.map((token) => token.content).filter((content) => content !== '<|endoftext|>'),
    bos_token: null,
    chat_template: chatTemplate,
    clean_up_tokenization_spaces: false,
    eos_token: '<|im_end|>',
    errors: 'replace',
    model_max_length: 131072,
    pad_token: '<|endoftext|>',
    split_special_tokens: false,
    tokenizer_class: 'Qwen2Tokenizer',
    unk_token: null,
  };
}

/** How often each word (in byte-level characters) occurs. Words are cut by the library that will encode. */
function countWords(texts: Iterable<string>, pattern: string, specialTokens: readonly string[]): Map<string, number> {
  let library: HfTokenizer;
  try {
    library = new HfTokenizer(tokenizerJson([], [], pattern, []), { tokenizer_class: 'Qwen2Tokenizer' });
  } catch (cause) {
    throw new ModelError('invalid-input', { argument: 'pattern', value: pattern, message: 'is not a regular expression', remedy: 'Correct it.', cause });
  }
  const escaped = specialTokens.map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  const specials = escaped.length === 0 ? undefined : new RegExp(escaped.join('|'), 'u');
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const piece of specials === undefined ? [text] : text.split(specials)) {
      if (piece === '') continue;
      for (const word of library.pre_tokenizer?.pre_tokenize(piece.normalize('NFC')) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}

interface Word {
  symbols: number[];
  readonly count: number;
}

/** Pairs of ids are kept as one number. */
const SHIFT = 2 ** 26;

function learnMerges(counts: ReadonlyMap<string, number>, size: number, minFrequency: number): { tokens: string[]; merges: [string, string][] } {
  const tokens = BYTE_TO_CHAR.toSorted((a, b) => a.charCodeAt(0) - b.charCodeAt(0));
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const words: Word[] = [...counts].map(([word, count]) => ({ symbols: Array.from(word, (char) => idOf.get(char) ?? 0), count }));
  const pairCount = new Map<number, number>();
  const wordsOf = new Map<number, Set<number>>();
  const add = (pair: number, change: number, word: number): void => {
    pairCount.set(pair, (pairCount.get(pair) ?? 0) + change);
    if (change < 0) return;
    const set = wordsOf.get(pair);
    if (set === undefined) wordsOf.set(pair, new Set([word]));
    else set.add(word);
  };
  words.forEach(({ symbols, count }, index) => {
    for (let i = 1; i < symbols.length; i++) add((symbols[i - 1] ?? 0) * SHIFT + (symbols[i] ?? 0), count, index);
  });
  const heap = new PairHeap();
  for (const [pair, count] of pairCount) heap.push(pair, count);
  const merges: [string, string][] = [];
  while (tokens.length < size) {
    const top = heap.pop();
    if (top === undefined) break;
    const now = pairCount.get(top.pair) ?? 0;
    if (now !== top.count) {
      // Counts fall behind while a pair waits; it waits on with the right one.
      if (now > 0) heap.push(top.pair, now);
      continue;
    }
    if (now < minFrequency) break;
    const left = Math.floor(top.pair / SHIFT);
    const right = top.pair % SHIFT;
    const [leftToken = '', rightToken = ''] = [tokens[left], tokens[right]];
    const merged = leftToken + rightToken;
    let id = idOf.get(merged);
    if (id === undefined) {
      id = tokens.length;
      tokens.push(merged);
      idOf.set(merged, id);
    }
    merges.push([leftToken, rightToken]);
    const grown = new Set<number>();
    for (const index of wordsOf.get(top.pair) ?? []) {
      const word = words[index];
      if (word === undefined) continue;
      mergeIn(word, left, right, id, (pair, sign) => {
        add(pair, sign * word.count, index);
        if (sign > 0) grown.add(pair);
      });
    }
    pairCount.delete(top.pair);
    wordsOf.delete(top.pair);
    for (const pair of grown) {
      const count = pairCount.get(pair) ?? 0;
      if (count > 0) heap.push(pair, count);
    }
  }
  return { tokens, merges };
}

/** Replaces a pair in a word from the left, telling which pairs of neighbours went and came. */
function mergeIn(word: Word, left: number, right: number, id: number, changed: (pair: number, sign: 1 | -1) => void): void {
  const { symbols } = word;
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const symbol = symbols[i] ?? 0;
    if (symbol !== left || symbols[i + 1] !== right) {
      out.push(symbol);
      continue;
    }
    const before = out.at(-1);
    const after = symbols[i + 2];
    if (before !== undefined) {
      changed(before * SHIFT + left, -1);
      changed(before * SHIFT + id, 1);
    }
    if (after !== undefined) {
      changed(right * SHIFT + after, -1);
      changed(id * SHIFT + after, 1);
    }
    out.push(id);
    i++;
  }
  word.symbols = out;
}

/** A binary heap: the highest count first, then the smaller pair. */
class PairHeap {
  readonly #items: { pair: number; count: number }[] = [];

  push(pair: number, count: number): void {
    const items = this.#items;
    items.push({ pair, count });
    for (let at = items.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): { pair: number; count: number } | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    items[0] = last;
    for (let at = 0; ; ) {
      let best = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < items.length && this.#before(child, best)) best = child;
      if (best === at) return top;
      this.#swap(at, best);
      at = best;
    }
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#items[a], this.#items[b]];
    if (x === undefined || y === undefined) return false;
    return x.count !== y.count ? x.count > y.count : x.pair < y.pair;
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#items[a], this.#items[b]];
    if (x !== undefined && y !== undefined) [this.#items[a], this.#items[b]] = [y, x];
  }
}

function tokenizerJson(tokens: readonly string[], merges: readonly [string, string][], pattern: string, specialTokens: readonly string[]): TokenizerJson {
  const added = specialTokens.map(
    (content, i): AddedToken => ({ id: tokens.length + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }),
  );
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }, byteLevel] },
    post_processor: byteLevel,
    decoder: { ...byteLevel, add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
