import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, isAbsolute, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DatasetError } from '../core/error.ts';
import type { Example } from '../core/example.ts';
import { encodePng } from '../files/png.ts';
import { findNearDuplicates } from '../own/duplicates.ts';
import { exchangeRow, fromJsonl, fromParquet, toJsonl, toParquet, type ExchangeFormat, type ExchangeRow } from '../own/exchange.ts';
import { findBrokenPictures, picturePrints } from '../own/pictures.ts';
import { readOwnPolicy } from '../own/policy.ts';
import { makeScorer, type Scorer, type ScorerFunction } from '../own/scorers.ts';
import type { OwnPolicy, PolicyFolder } from '../own/types.ts';

/** A folder on disk; names that leave it do not exist. Throws `invalidFile` when there is no such folder. */
export function openFolder(dir: string): PolicyFolder {
  const root = resolve(dir);
  if (!existsSync(root) || !statSync(root).isDirectory()) throw new DatasetError('invalidFile', `${dir} is not a folder; pass the folder that holds policy.md.`);
  const path = (name: string): string | undefined => {
    const full = resolve(root, name);
    const inside = relative(root, full);
    return inside !== '' && !inside.startsWith('..') && !isAbsolute(inside) && existsSync(full) && statSync(full).isFile() ? full : undefined;
  };
  return {
    readText(name) {
      const file = path(name);
      return file === undefined ? undefined : readFileSync(file, 'utf8');
    },
    readBytes(name) {
      const file = path(name);
      return file === undefined ? undefined : readFileSync(file);
    },
  };
}

/** Your own policy from a folder, with findings about PNG files that cannot be decoded and near-duplicates between train and test. */
export function readPolicyFolder(dir: string): OwnPolicy {
  const folder = openFolder(dir);
  const policy = readOwnPolicy(folder);
  const print = picturePrints(folder);
  const broken = findBrokenPictures(policy, (name) => print(name).fault);
  const rows = policy.rows.filter((row) => row.images.every((name) => print(name).fault === undefined));
  return { ...policy, rows, findings: [...policy.findings, ...broken, ...findNearDuplicates({ rows }, folder, print)] };
}

/** The scorer of a policy folder; a module scorer's function is imported from the folder. */
export async function loadScorer(dir: string, policy: Pick<OwnPolicy, 'scorer'>): Promise<Scorer> {
  const { scorer } = policy;
  if (scorer.type !== 'module') return makeScorer(scorer);
  const file = resolve(dir, scorer.module);
  if (relative(resolve(dir), file).startsWith('..') || !existsSync(file)) {
    throw new DatasetError('invalidFile', `scorer.json: module ${scorer.module} is not in the folder; put it there.`);
  }
  const loaded = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const custom = loaded[scorer.function];
  if (typeof custom !== 'function') throw new DatasetError('invalidFile', `scorer.json: ${scorer.module} exports no function ${scorer.function}.`);
  return makeScorer(scorer, custom as ScorerFunction);
}

export interface ExportOptions {
  readonly format: ExchangeFormat;
  readonly file: 'jsonl' | 'parquet';
  readonly policy?: boolean;
}

/** Writes examples as `{split}.jsonl` or `{split}.parquet` in a folder, with their images beside (JSONL) or inside (Parquet). */
export async function exportDataset(dir: string, examples: Iterable<Example>, options: ExportOptions): Promise<{ readonly files: string[]; readonly rows: number }> {
  const rows = new Map<string, ExchangeRow[]>();
  let total = 0;
  for (const example of examples) {
    const shown = options.policy === true ? example.policyParts.flatMap((part) => (part.type === 'image' ? [part.image] : [])) : [];
    const images = [...shown, ...example.images].map((image, i) => {
      // The number tells apart what letters other than ASCII, and the case of letters, do not.
      const path = `images/${String(total).padStart(6, '0')}-${example.id.replace(/[^\w.-]/g, '_').slice(0, 80)}-${i}.png`;
      const bytes = encodePng(image);
      if (options.file === 'jsonl') replaceFile(join(dir, path), bytes);
      return { path, bytes };
    });
    const list = rows.get(example.split) ?? [];
    list.push(exchangeRow(example, images, { format: options.format, policy: options.policy ?? false }));
    rows.set(example.split, list);
    total++;
  }
  const files: string[] = [];
  for (const [split, list] of rows) {
    const name = `${split}.${options.file}`;
    replaceFile(join(dir, name), options.file === 'jsonl' ? toJsonl(list) : await toParquet(list));
    files.push(name);
  }
  return { files, rows: total };
}

function replaceFile(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.partial`, data);
  renameSync(`${path}.partial`, path);
}

/** Rows of a `.jsonl` or `.parquet` file. */
export async function readDatasetFile(path: string): Promise<ExchangeRow[]> {
  if (!existsSync(path)) throw new DatasetError('invalidFile', `${path} does not exist.`);
  const type = extname(path);
  if (type === '.parquet') return fromParquet(readFileSync(path));
  if (type === '.jsonl') return fromJsonl(readFileSync(path, 'utf8'), path);
  throw new DatasetError('invalidFile', `${path} is neither .jsonl nor .parquet.`);
}
