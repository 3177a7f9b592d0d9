/** @file A dataset folder or an own policy folder, as examples whose images are read from disk when looked at. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodePng, type Example, formatResponse, ownExamples, type Part, type RgbImage } from '@trimpi/datasets';
import { readExamples, readPolicyFolder } from '@trimpi/datasets/node';
import { decodeImage } from '@trimpi/model/node';
import { toRgb } from '@trimpi/model';
import { UsageError } from '../errors.ts';

export interface StoredDataset {
  readonly kind: 'written' | 'own';
  readonly examples: readonly Example[];
  /** Tree pictures by policy id. */
  readonly trees: ReadonlyMap<string, string>;
}

/** @throws UsageError for a folder that is neither, or an own policy with errors. */
export async function openStored(dir: string): Promise<StoredDataset> {
  if (existsSync(join(dir, 'manifest.json'))) return writtenDataset(dir);
  if (existsSync(join(dir, 'policy.md'))) return ownDataset(dir);
  throw new UsageError(`${dir} holds no dataset. Give a folder that trimpi data wrote (with manifest.json), or your own policy folder (with policy.md).`);
}

async function writtenDataset(dir: string): Promise<StoredDataset> {
  const names = policyNames(dir);
  const policies = new Map<string, { text: string; parts: Part[] }>();
  const trees = new Map<string, string>();
  for (const file of readdirSync(join(dir, 'policies'))) {
    const id = file.replace(/\.\w+$/, '');
    if (file.endsWith('.svg')) trees.set(id, join(dir, 'policies', file));
    if (file.endsWith('.md')) policies.set(id, readPolicy(join(dir, 'policies'), file));
  }
  const examples: Example[] = [];
  for await (const { id, split, query, answer, images, row } of readExamples(dir)) {
    const policyId = String(row['policy_id']);
    const policy = policies.get(policyId.replace(/[^\w.-]/g, '_'));
    if (policy === undefined) throw new UsageError(`${join(dir, 'examples.jsonl')}: policy ${policyId} has no file in policies/. Write the dataset again.`);
    const reasoning = typeof row['reasoning'] === 'string' ? row['reasoning'] : '';
    examples.push({
      id, query, answer, reasoning, policyId,
      split: split === 'test' ? 'test' : 'train',
      policyName: names.get(policyId) ?? policyId,
      response: formatResponse(reasoning, answer),
      policyText: policy.text,
      policyParts: policy.parts,
      get images() {
        return images.map((name) => readPng(join(dir, name)));
      },
    });
  }
  return { kind: 'written', examples, trees };
}

function policyNames(dir: string): Map<string, string> {
  const parsed = JSON.parse(readFileSync(join(dir, 'policies.json'), 'utf8')) as { policies?: { id: string; name?: string }[] };
  return new Map((parsed.policies ?? []).map(({ id, name }) => [id, name ?? id]));
}

/** A written policy: its Markdown images become `<image>` slots again. */
function readPolicy(folder: string, file: string): { text: string; parts: Part[] } {
  const parts: Part[] = [];
  let at = 0;
  const markdown = readFileSync(join(folder, file), 'utf8').replace(/\n$/, '');
  for (const match of markdown.matchAll(/!\[[^\]\n]*\]\(([^)\s]+)\)/g)) {
    if (match.index > at) parts.push({ type: 'text', text: markdown.slice(at, match.index) });
    parts.push({ type: 'image', image: readPng(join(folder, match[1]!)) });
    at = match.index + match[0].length;
  }
  if (at < markdown.length) parts.push({ type: 'text', text: markdown.slice(at) });
  return { text: parts.map((part) => (part.type === 'text' ? part.text : '<image>')).join(''), parts };
}

async function ownDataset(dir: string): Promise<StoredDataset> {
  const policy = readPolicyFolder(dir);
  const error = policy.findings.find((finding) => finding.severity === 'error');
  if (error !== undefined) throw new UsageError(`${dir}/${error.file}:${error.line}: ${error.message} Run trimpi data check-policy ${dir} for all findings.`);
  const loaded = new Map<string, RgbImage>();
  for (const name of new Set([...policy.policyImages, ...policy.rows.flatMap((row) => row.images)])) {
    if (/\.png$/i.test(name)) continue;
    const image = await decodeImage(readFileSync(join(dir, name)));
    loaded.set(name, { width: image.width, height: image.height, rgb: toRgb(image) });
  }
  return { kind: 'own', examples: ownExamples(policy, (name) => loaded.get(name) ?? readPng(join(dir, name))), trees: new Map() };
}

function readPng(path: string): RgbImage {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch {
    throw new UsageError(`${path} is missing. Write the dataset with images (without --no-images).`);
  }
  return decodePng(bytes);
}
