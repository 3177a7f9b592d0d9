/** @file A head that stands in the file of a tied model, beside the embedding table that the config says it is. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import type { Checkpoint } from '../safetensors/checkpoint.ts';
import { DTYPE_BYTES, elementCount, toFloat32 } from '../safetensors/dtype.ts';

export const HEAD = 'lm_head.weight';
const TABLE = 'model.language_model.embed_tokens.weight';

/** Values that are compared at once. */
const PIECE = 2 ** 20;

/** @throws ModelError `tensor-mismatch` where a checkpoint holds another head than its config says (transformers then unties the two). */
export async function checkTiedHead(config: ModelConfig, checkpoint: Pick<Checkpoint, 'has' | 'info' | 'readBytes'>): Promise<void> {
  if (!config.tieWordEmbeddings || !checkpoint.has(HEAD)) return;
  if (!(await sameValues(checkpoint, HEAD, TABLE))) {
    throw new ModelError('tensor-mismatch', { argument: HEAD, value: [...checkpoint.info(HEAD).shape], message: 'differs from the embedding table, which the config ties the head to', remedy: 'Set tie_word_embeddings to false in config.json.' });
  }
}

async function sameValues(checkpoint: Pick<Checkpoint, 'info' | 'readBytes'>, a: string, b: string): Promise<boolean> {
  const { shape } = checkpoint.info(a);
  if (shape.join() !== checkpoint.info(b).shape.join()) return false;
  const count = elementCount(shape, a);
  for (let at = 0; at < count; at += PIECE) {
    const [own, theirs] = await Promise.all([a, b].map(async (name) => {
      const { dtype } = checkpoint.info(name);
      const size = DTYPE_BYTES[dtype];
      return toFloat32(await checkpoint.readBytes(name, at * size, Math.min(PIECE, count - at) * size), dtype);
    }));
    if (!own!.every((value, i) => value === theirs![i])) return false;
  }
  return true;
}
