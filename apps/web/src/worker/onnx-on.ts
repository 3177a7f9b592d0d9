/** @file The model of the run that is saved here as ONNX files. */
import { directoryHandleFiles, openCheckpoint, parseConfig, requireText } from '@trimpi/model';
import { exportOnnx, type OnnxBits } from '@trimpi/model/onnx';
import type { SavedFile } from '../protocol.ts';
import { onnxFiles } from './checkpoint-take.ts';

export async function onnxOfRun(bits: OnnxBits): Promise<SavedFile[]> {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle('trimpi-run').then((run) => run.getDirectoryHandle('model')).catch(() => {
    throw Object.assign(new Error('There is no trained model in the storage of this page. Train one first.'), { code: 'not-found' });
  });
  const files = directoryHandleFiles(folder);
  return onnxFiles(await exportOnnx(await openCheckpoint(files), parseConfig(JSON.parse(await requireText(files, 'config.json'))), { bits }));
}
