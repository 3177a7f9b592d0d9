/** @file A folder that is dropped or chosen, as files by their path inside it. */
import type { BroughtFile } from './protocol.ts';

/** More files than this are no policy and no checkpoint, but somebody's home. */
const MOST_FILES = 5000;

export class FolderError extends Error {}

/** Files of a chosen folder (`<input type="file" webkitdirectory>`). */
export function chosenFiles(list: FileList): BroughtFile[] {
  return inside([...list].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
}

/** Files of a drop: folders are walked. Must be called in the event itself, before anything is awaited. */
export async function droppedFiles({ items }: DataTransfer): Promise<BroughtFile[]> {
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const out: BroughtFile[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (out.length > MOST_FILES) return;
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      out.push({ name: entry.fullPath.replace(/^\//, ''), file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // A reader gives a hundred at a time, and none at the end.
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const child of some) await walk(child);
    }
  };
  for (const entry of entries) await walk(entry);
  return inside(out);
}

/** Paths inside the folder that holds `policy.md`, `config.json` or `adapter_config.json`, or inside the one folder that all share. */
function inside(files: readonly BroughtFile[]): BroughtFile[] {
  if (files.length > MOST_FILES) throw new FolderError(`This folder holds more than ${MOST_FILES.toLocaleString('en')} files. Choose the folder of one policy or of one checkpoint.`);
  const marks = files.filter(({ name }) => /(^|\/)(policy\.md|examples\.jsonl|(adapter_)?config\.json)$/.test(name)).toSorted((a, b) => depth(a) - depth(b));
  const root = marks[0] === undefined ? '' : marks[0].name.slice(0, marks[0].name.lastIndexOf('/') + 1);
  return files.filter(({ name }) => name.startsWith(root)).map(({ name, file }) => ({ name: name.slice(root.length), file }));
}

function depth({ name }: BroughtFile): number {
  return name.split('/').length;
}
