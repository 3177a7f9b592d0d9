/** @file Writes a trained tiny base as it is shipped: float16, published key layout, with config and tokenizer. Usage: ship-base.ts WEIGHTS FOLDER */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromFloat32, memoryFiles, openCheckpoint, publishedKey, serializeSafetensors } from '@trimpi/model';
import { writeFileAtomic } from '@trimpi/model/node';
import { makeTiny } from '../src/base/tiny.ts';

const [weights, folder] = process.argv.slice(2);
if (weights === undefined || folder === undefined) throw new Error('Usage: ship-base.ts WEIGHTS FOLDER');
const tiny = makeTiny();
const checkpoint = await openCheckpoint(memoryFiles({ 'model.safetensors': new Uint8Array(readFileSync(weights)) }));
const tensors = new Map();
for (const name of checkpoint.names) {
  tensors.set(publishedKey(name, tiny.config.modelType), { dtype: 'F16', shape: checkpoint.info(name).shape, data: fromFloat32(await checkpoint.readFloat32(name), 'F16') });
}
mkdirSync(folder, { recursive: true });
await writeFileAtomic(join(folder, 'model.safetensors'), serializeSafetensors(tensors));
for (const [name, text] of Object.entries(tiny.files)) await writeFileAtomic(join(folder, name), `${text}\n`);
