/** @file Weights that a stage ended with, for those that begin with them: of the text tower, or of the adapter that is trained throughout. */
import { bytesSource, floatTensor, SafetensorsFile, serializeSafetensors, type VisionLanguageModel } from '@trimpi/model';
import type { ParameterStore } from '@trimpi/runtime';
import { PipelineError } from './errors.ts';
import type { RunStorage } from './storage.ts';

export async function saveWeights(storage: RunStorage, file: string, model: VisionLanguageModel, adapter?: string): Promise<void> {
  const { name, store } = trained(model, adapter);
  const values = Float32Array.from(await store.values.read());
  await storage.write(file, serializeSafetensors(new Map([[name, floatTensor(values, [values.length])]]), { format: 'pt' }));
}

/** Puts them into the model. False when there is no such file; throws `invalid-checkpoint` for one that is damaged or of another model. */
export async function loadWeights(storage: RunStorage, file: string, model: VisionLanguageModel, adapter?: string): Promise<boolean> {
  const { name, store } = trained(model, adapter);
  const bytes = await storage.read(file);
  if (bytes === null) return false;
  try {
    const values = await (await SafetensorsFile.open(bytesSource(bytes, file))).readFloat32(name);
    if (values.length !== store.length) throw new Error(`it holds ${values.length} numbers for ${store.length}`);
    store.values.write(values);
    return true;
  } catch (cause) {
    throw new PipelineError('invalid-checkpoint', `${storage.name}/${file}`, `is damaged (${cause instanceof Error ? cause.message : String(cause)}).`, 'Delete this file to begin its stage again; the other files stay usable.', { cause });
  }
}

function trained(model: VisionLanguageModel, adapter: string | undefined): { readonly name: string; readonly store: ParameterStore } {
  return adapter === undefined ? { name: 'text', store: model.text } : { name: 'adapter', store: model.adapter(adapter).store };
}
