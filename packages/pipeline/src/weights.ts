/** @file Weights that a stage ended with, for those that begin with them. Only the text tower is trained. */
import { bytesSource, floatTensor, SafetensorsFile, serializeSafetensors, type VisionLanguageModel } from '@trimpi/model';
import { PipelineError } from './errors.ts';
import type { RunStorage } from './storage.ts';

export async function saveWeights(storage: RunStorage, file: string, model: VisionLanguageModel): Promise<void> {
  const values = Float32Array.from(await model.text.values.read());
  await storage.write(file, serializeSafetensors(new Map([['text', floatTensor(values, [values.length])]]), { format: 'pt' }));
}

/** Puts them into the model. False when there is no such file; throws `invalid-checkpoint` for one that is damaged or of another model. */
export async function loadWeights(storage: RunStorage, file: string, model: VisionLanguageModel): Promise<boolean> {
  const bytes = await storage.read(file);
  if (bytes === null) return false;
  try {
    const values = await (await SafetensorsFile.open(bytesSource(bytes, file))).readFloat32('text');
    if (values.length !== model.text.length) throw new Error(`it holds ${values.length} numbers for ${model.text.length}`);
    model.text.values.write(values);
    return true;
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${file}`, `is damaged (${cause instanceof Error ? cause.message : String(cause)}).`, 'Delete this file to begin its stage again; the other files stay usable.', { cause });
  }
}
