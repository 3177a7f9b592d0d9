/** @file `trimpi export`: a merged checkpoint, the adapter alone, or ONNX files. Needs no GPU; one tensor is in memory at a time. */
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Adapter, ADAPTER_CONFIG_FILE, type Checkpoint, type LazyTensor, mergedTensors, type ModelConfig, openCheckpoint, parseConfig, readAdapter, readText, requireText } from '@trimpi/model';
import { folderFiles, saveAdapter, saveCheckpoint, saveOnnx } from '@trimpi/model/node';
import { exportOnnx, type OnnxBits, type OnnxOps } from '@trimpi/model/onnx';
import { checkFree, wholeFolder } from '../folder.ts';
import { interruptible } from '../interrupt.ts';
import { Progress } from '../progress.ts';
import { requireFolder } from './load.ts';

export interface ExportOptions {
  readonly model: string;
  readonly adapter: string;
  readonly to: 'safetensors' | 'peft';
  readonly out: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export async function exportModel({ model: dir, adapter: adapterDir, to, out, overwrite = false, json = false }: ExportOptions): Promise<void> {
  requireFolder('--model', dir);
  requireFolder('--adapter', adapterDir);
  checkFree(out, overwrite);
  const files = folderFiles(dir);
  const config = parseConfig(JSON.parse(await requireText(files, 'config.json')));
  const adapter = await readAdapter(folderFiles(adapterDir), config);
  if (to === 'peft') await wholeFolder(out, overwrite, async (work) => saveAdapter(work, adapter, await baseName(adapterDir, dir)));
  else {
    const checkpoint = await openCheckpoint(files);
    const progress = json ? undefined : new Progress();
    await interruptible((_signal, check) =>
      wholeFolder(out, overwrite, async (work) => {
        await saveCheckpoint(work, config, watchedTensors(checkpoint, adapter, config, (done, of) => {
          check();
          progress?.show({ type: 'progress', what: 'tensors', done, of });
        }));
        copyCompanions(dir, work);
      }).finally(() => progress?.end()),
    );
  }
  const modules = adapter.targets.length;
  console.log(json ? JSON.stringify({ out, to, modules, r: adapter.config.r }) : `${out}: ${to === 'peft' ? `the adapter on ${modules} modules, as PEFT loads it` : `${dir} with the adapter merged into ${modules} modules`}`);
}

export interface OnnxExport {
  readonly model: string;
  /** Merged into the weights; none: the model as it is. */
  readonly adapter?: string;
  readonly out: string;
  readonly ops?: OnnxOps;
  readonly bits?: OnnxBits;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

/** The files in `onnx/` beside configuration and tokenizer, as in the repositories that transformers.js reads. */
export async function exportModelOnnx({ model: dir, adapter: adapterDir, out, ops = 'standard', bits = 32, overwrite = false, json = false }: OnnxExport): Promise<void> {
  requireFolder('--model', dir);
  if (adapterDir !== undefined) requireFolder('--adapter', adapterDir);
  checkFree(out, overwrite);
  const folder = folderFiles(dir);
  const config = parseConfig(JSON.parse(await requireText(folder, 'config.json')));
  const checkpoint = await openCheckpoint(folder);
  const progress = json ? undefined : new Progress();
  const files = await interruptible(async (_signal, check) => {
    const merged = adapterDir === undefined ? checkpoint : watchedTensors(checkpoint, await readAdapter(folderFiles(adapterDir), config), config, check);
    const planned = await exportOnnx(merged, config, { ops, bits });
    const of = planned.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    const watched = planned.map(({ name, size, parts }) => ({
      name,
      size,
      async *parts() {
        for await (const part of parts()) {
          check();
          progress?.show({ type: 'progress', what: 'bytes', done: (done += part.byteLength), of });
          yield part;
        }
      },
    }));
    await wholeFolder(out, overwrite, async (work) => {
      await saveOnnx(join(work, 'onnx'), watched);
      copyCompanions(dir, work);
    });
    return planned.map(({ name, size }) => ({ name: `onnx/${name}`, bytes: size }));
  }).finally(() => progress?.end());
  console.log(json ? JSON.stringify({ out, to: 'onnx', ops, bits, files }) : files.map(({ name, bytes }) => `${join(out, name)}: ${(bytes / 2 ** 20).toFixed(1)} MiB`).join('\n'));
}

/** The tensors of a checkpoint with an adapter in them; Ctrl-C and the bar get their turn at each. */
function watchedTensors(checkpoint: Checkpoint, adapter: Adapter, config: ModelConfig, onTensor: (done: number, of: number) => void): Map<string, LazyTensor> {
  let done = 0;
  const tensors = mergedTensors(checkpoint, adapter, config);
  return new Map([...tensors].map(([name, tensor]) => [name, {
    ...tensor,
    read: async () => {
      await setImmediate();
      onTensor(++done, tensors.size);
      return tensor.read();
    },
  }]));
}

/** Configuration as it was, tokenizer, template, preprocessor: all that is not weights. */
function copyCompanions(dir: string, work: string): void {
  for (const file of readdirSync(dir)) {
    if (/^LICENSE|^(?!adapter_|model\.safetensors).*\.(json|jinja|txt)$/.test(file)) copyFileSync(join(dir, file), join(work, file));
  }
}

/** What the adapter says that it was trained on, else the model's folder. */
async function baseName(adapterDir: string, modelDir: string): Promise<string> {
  const source = await folderFiles(adapterDir).open(ADAPTER_CONFIG_FILE);
  const name: unknown = source === null ? undefined : (JSON.parse(await readText(source)) as { base_model_name_or_path?: unknown }).base_model_name_or_path;
  return typeof name === 'string' && name !== '' ? name : modelDir;
}
