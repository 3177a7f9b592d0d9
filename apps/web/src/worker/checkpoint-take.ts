/** @file A brought checkpoint to take away: its adapter, the weights with the adapter in them, ONNX. Needs no GPU; one tensor is in memory at a time. */
import { type Adapter, adapterFiles, type LazyTensor, mergedTensors, openCheckpoint, parseConfig, planSafetensors, publishedKey, requireText, WEIGHTS_FILE } from '@trimpi/model';
import { exportOnnx } from '@trimpi/model/onnx';
import type { BroughtFile, SavedFile, TakeForm } from '../protocol.ts';
import { broughtFiles } from './checkpoint-files.ts';

export async function takeAway(brought: readonly BroughtFile[], adapter: Adapter | undefined, form: TakeForm): Promise<SavedFile[]> {
  if (form === 'peft') {
    const { 'adapter_config.json': config, 'adapter_model.safetensors': weights } = adapterFiles(required(adapter));
    return [{ name: 'adapter/adapter_config.json', blob: new Blob([config]) }, { name: 'adapter/adapter_model.safetensors', blob: blobOf(weights) }];
  }
  const files = broughtFiles(brought);
  const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
  const checkpoint = await openCheckpoint(files);
  if (form === 'safetensors') {
    const tensors = new Map([...mergedTensors(checkpoint, required(adapter), config)].map(([name, tensor]) => [publishedKey(name, config.modelType), tensor]));
    const companions = brought.filter(({ name }) => /^(?!adapter_|.*\.index\.json$)[^/]*\.(json|jinja|txt)$/.test(name));
    return [{ name: `model/${WEIGHTS_FILE}`, blob: await safetensorsBlob(tensors) }, ...companions.map(({ name, file }) => ({ name: `model/${name}`, blob: file }))];
  }
  const source = adapter === undefined ? checkpoint : mergedTensors(checkpoint, adapter, config);
  return onnxFiles(await exportOnnx(source, config, { bits: form }));
}

/** Files that are written part by part, for the browser to keep on the disk. */
export async function onnxFiles(planned: Awaited<ReturnType<typeof exportOnnx>>): Promise<SavedFile[]> {
  const out: SavedFile[] = [];
  for (const file of planned) {
    const parts: Blob[] = [];
    for await (const part of file.parts()) parts.push(blobOf(part));
    out.push({ name: file.name, blob: new Blob(parts) });
  }
  return out;
}

async function safetensorsBlob(tensors: ReadonlyMap<string, LazyTensor>): Promise<Blob> {
  const { header, names } = planSafetensors(tensors);
  const parts = [blobOf(header)];
  for (const name of names) parts.push(blobOf(await tensors.get(name)!.read()));
  return new Blob(parts);
}

function blobOf(bytes: Uint8Array): Blob {
  return new Blob([bytes as Uint8Array<ArrayBuffer>]);
}

function required(adapter: Adapter | undefined): Adapter {
  if (adapter === undefined) throw Object.assign(new Error('No adapter was brought. Choose the folder of one first.'), { code: 'not-found' });
  return adapter;
}

