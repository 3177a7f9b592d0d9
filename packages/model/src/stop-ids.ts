/** @file Tokens that end an answer of a checkpoint. */
import { ModelError, reasonOf } from './errors.ts';
import type { ModelFiles } from './files/model-files.ts';
import type { Processor } from './processor.ts';
import { readText } from './safetensors/byte-source.ts';

/**
 * Those of generation_config.json (as transformers does), config.json and the tokenizer.
 * @throws ModelError `invalid-config` for a generation_config.json that is no JSON.
 */
export async function readStopIds(files: ModelFiles, { config, tokenizer }: Pick<Processor, 'config' | 'tokenizer'>): Promise<number[]> {
  const source = await files.open('generation_config.json');
  let listed: unknown;
  if (source !== null) {
    try {
      listed = (JSON.parse(await readText(source)) as { eos_token_id?: unknown }).eos_token_id;
    } catch (cause) {
      throw new ModelError('invalid-config', { argument: `${files.name}/generation_config.json`, value: reasonOf(cause), message: 'is not JSON', remedy: 'Fetch it again, or remove it.', cause });
    }
  }
  const ids = [...(Array.isArray(listed) ? listed : [listed]), config.eosTokenId, tokenizer.eosTokenId];
  return [...new Set(ids.filter((id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < config.vocabSize))];
}
