/** @file The notices of what is bundled, workers' modules too, as a file of the built page: licences ask for it (Vite's own list leaves the workers out). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

const FILE = 'licenses.txt';
const NOTICE = /^(licen[cs]e|copying|notice)/i;

/** A plugin for the page, which writes the file, and one for its workers, which are built before it is. */
export function licenseNotices(): { readonly page: Plugin; readonly worker: Plugin } {
  const folders = new Set<string>();
  const collect = (bundle: Readonly<Record<string, { readonly type: string; readonly moduleIds?: readonly string[] }>>) => {
    for (const id of Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? [])) {
      const folder = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id.replace(/^\0/, '').replaceAll('\\', '/'))?.[1];
      if (folder !== undefined) folders.add(folder);
    }
  };
  return {
    worker: { name: 'trimpi:licenses-of-workers', apply: 'build', generateBundle: (_, bundle) => collect(bundle) },
    page: {
      name: 'trimpi:licenses',
      apply: 'build',
      generateBundle(_, bundle) {
        collect(bundle);
        this.emitFile({ type: 'asset', fileName: FILE, source: [...folders].map(noticesOf).toSorted().join('\n\n') });
      },
    },
  };
}

/** @throws Error for a package without a notice: somebody has to look. */
function noticesOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string; version: string; license?: string };
  const notices = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile() && NOTICE.test(entry.name)).map(({ name: file }) => file).toSorted().map((file) => readFileSync(join(folder, file), 'utf8').trim());
  if (notices.length === 0) throw new Error(`${name} is bundled and has no file with its licence (${license ?? 'none named'}): leave it out, or put the notice into ${FILE} by hand.`);
  return `${name} ${version} (${license})\n\n${notices.join('\n\n')}\n`;
}
