/** @file Puts the files of the tiny base beside the page, under `base/`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { BASE_FILES } from './src/base-files.ts';

/** Where the base lies; `TRIMPI_BASE` names another folder with a model of the same tokenizer. */
export function baseFolder(): string {
  return process.env['TRIMPI_BASE'] ?? fileURLToPath(new URL('../../packages/pipeline/assets/tiny-base', import.meta.url));
}

/** What of the base is not there, or nothing. */
export function missingBaseFiles(folder = baseFolder()): string[] {
  return BASE_FILES.filter((file) => !existsSync(join(folder, file)));
}

export function baseFiles(): Plugin {
  const folder = baseFolder();
  return {
    name: 'trimpi:base',
    generateBundle() {
      const missing = missingBaseFiles(folder);
      if (missing.length > 0) this.error(`The base model is missing: ${folder} has no ${missing.join(', ')}. Train it with the scripts of packages/pipeline, or set TRIMPI_BASE to a folder that has them.`);
      for (const file of BASE_FILES) this.emitFile({ type: 'asset', fileName: `base/${file}`, source: readFileSync(join(folder, file)) });
    },
    configureServer(server) {
      server.middlewares.use('/base', (request, response, next) => {
        const file = BASE_FILES.find((name) => request.url === `/${name}`);
        if (file === undefined || !existsSync(join(folder, file))) return next();
        const data = readFileSync(join(folder, file));
        response.setHeader('content-length', data.length);
        response.end(data);
      });
    },
  };
}
