/** @file Puts the files of the bases beside the page: the tiny one under `base/`, the small one under `base-small/`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { BASE_FILES } from './src/base-files.ts';

/** Where the base lies; `TRIMPI_BASE` names another folder with a model of the same tokenizer. */
export function baseFolder(): string {
  return process.env['TRIMPI_BASE'] ?? fileURLToPath(new URL('../../packages/pipeline/assets/tiny-base', import.meta.url));
}

function smallBaseFolder(): string {
  return fileURLToPath(new URL('../../packages/pipeline/assets/small-base', import.meta.url));
}

/** What of a base is not there, or nothing. */
export function missingBaseFiles(folder = baseFolder()): string[] {
  return BASE_FILES.filter((file) => !existsSync(join(folder, file)));
}

export function baseFiles(): Plugin {
  const folders = { base: baseFolder(), 'base-small': smallBaseFolder() };
  return {
    name: 'trimpi:base',
    generateBundle() {
      for (const [name, folder] of Object.entries(folders)) {
        const missing = missingBaseFiles(folder);
        if (missing.length > 0) this.error(`A base model is missing: ${folder} has no ${missing.join(', ')}. Train it with trimpi pretrain, or set TRIMPI_BASE to a folder that has them.`);
        for (const file of BASE_FILES) this.emitFile({ type: 'asset', fileName: `${name}/${file}`, source: readFileSync(join(folder, file)) });
      }
    },
    configureServer(server) {
      for (const [name, folder] of Object.entries(folders)) {
        server.middlewares.use(`/${name}`, (request, response, next) => {
          const file = BASE_FILES.find((own) => request.url === `/${own}`);
          if (file === undefined || !existsSync(join(folder, file))) return next();
          const data = readFileSync(join(folder, file));
          response.setHeader('content-length', data.length);
          response.end(data);
        });
      }
    },
  };
}
