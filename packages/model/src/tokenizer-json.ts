/** @file The parts of a `tokenizer.json` this package relies on, checked before the library sees them. */
import { ModelError } from './errors.ts';
import { isObject } from './json-fields.ts';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A byte-level BPE tokenizer, in the layout of Hugging Face's `tokenizers`. */
export interface TokenizerJson {
  readonly version: string;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly post_processor: unknown;
  readonly decoder: unknown;
  readonly model: { readonly [field: string]: unknown; readonly type: 'BPE'; readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly (string | readonly [string, string])[] };
  readonly [field: string]: unknown;
}

/** @throws ModelError `invalid-tokenizer` when a part is missing or parts contradict each other. */
export function checkTokenizerJson(json: unknown): TokenizerJson {
  if (!isObject(json)) refuse('', json, 'must be an object');
  const { model, added_tokens: added } = json;
  if (!isObject(model)) refuse('model', model, 'must be an object');
  // Old files leave the type out.
  if (model['type'] !== undefined && model['type'] !== 'BPE') refuse('model.type', model['type'], 'must be BPE');
  if (!hasByteLevel(json['pre_tokenizer']) || !hasByteLevel(json['decoder'])) refuse('pre_tokenizer', json['pre_tokenizer'], 'must be byte-level, like the decoder');
  checkSplits(json['pre_tokenizer']);
  const { vocab, merges } = model;
  if (!isObject(vocab)) refuse('model.vocab', vocab, 'must be an object');
  const owners = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) refuse(`model.vocab[${JSON.stringify(token)}]`, id, 'must be a token id');
    if (owners.has(id)) refuse(`model.vocab[${JSON.stringify(token)}]`, id, `is the id of ${JSON.stringify(owners.get(id))} too`);
    owners.set(id, token);
  }
  if (!Array.isArray(merges)) refuse('model.merges', merges, 'must be an array');
  merges.forEach((merge: unknown, i) => {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== 'string' || typeof right !== 'string') refuse(`model.merges[${i}]`, merge, 'must be a pair of tokens');
    for (const token of [left, right, left + right]) {
      if (!Object.hasOwn(vocab, token)) refuse(`model.merges[${i}]`, merge, `uses ${JSON.stringify(token)}, which the vocabulary does not have`);
    }
  });
  if (added !== undefined && !Array.isArray(added)) refuse('added_tokens', added, 'must be an array');
  const contents = new Set<string>();
  (added ?? []).forEach((token: unknown, i) => {
    if (!isObject(token) || typeof token['content'] !== 'string' || token['content'] === '' || !isId(token['id'])) refuse(`added_tokens[${i}]`, token, 'must have a content and an id');
    const { id, content } = token;
    const owner = owners.get(id);
    if (owner !== undefined && owner !== content) refuse(`added_tokens[${i}].id`, id, `is the id of ${JSON.stringify(owner)}`);
    if (contents.has(content) || (Object.hasOwn(vocab, content) && vocab[content] !== id)) refuse(`added_tokens[${i}].content`, content, 'has another id already');
    owners.set(id, content);
    contents.add(content);
  });
  return json as TokenizerJson;
}

function hasByteLevel(component: unknown): boolean {
  if (!isObject(component)) return false;
  if (component['type'] === 'ByteLevel') return true;
  const inner = component['pretokenizers'] ?? component['decoders'];
  return component['type'] === 'Sequence' && Array.isArray(inner) && inner.some(hasByteLevel);
}

const SPLIT_BEHAVIOURS: readonly unknown[] = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];

/** The library passes over a split it cannot read, and would then cut text in another way than the model knows. */
function checkSplits(component: unknown): void {
  if (!isObject(component)) return;
  const inner = component['pretokenizers'];
  if (Array.isArray(inner)) inner.forEach(checkSplits);
  if (component['type'] !== 'Split') return;
  const { pattern, behavior, invert } = component;
  if (!isObject(pattern) || typeof (pattern['Regex'] ?? pattern['String']) !== 'string') refuse('pre_tokenizer.pattern', pattern, 'must hold a Regex or a String');
  if (!SPLIT_BEHAVIOURS.includes(behavior)) refuse('pre_tokenizer.behavior', behavior, 'must be a behaviour of a split');
  if (invert !== undefined && typeof invert !== 'boolean') refuse('pre_tokenizer.invert', invert, 'must be true or false');
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 24;
}

function refuse(field: string, value: unknown, message: string): never {
  throw new ModelError('invalid-tokenizer', { argument: `tokenizer.json${field === '' ? '' : `: ${field}`}`, value, message, remedy: 'Fetch the tokenizer of the checkpoint again.' });
}
