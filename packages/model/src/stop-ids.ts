/** @file Which tokens end an answer. */
import type { ModelFiles } from './files/model-files.ts';
import { parseJsonObject } from './json-fields.ts';
import type { Processor } from './processor.ts';
import { readText } from './safetensors/byte-source.ts';

/** Those of `generation_config.json` (as transformers does), `config.json` and the tokenizer. @throws ModelError `invalid-config` when the first is no JSON. */
export async function stopTokenIds(files: ModelFiles, { config, tokenizer }: Processor): Promise<number[]> {
  const source = await files.open('generation_config.json');
  const listed = source === null ? undefined : parseJsonObject(await readText(source), 'generation_config.json', 'invalid-config')['eos_token_id'];
  const ids: unknown[] = [...(Array.isArray(listed) ? listed : [listed]), ...config.eosTokenIds, tokenizer.eosTokenId];
  return [...new Set(ids.filter((id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < config.vocabSize))];
}
