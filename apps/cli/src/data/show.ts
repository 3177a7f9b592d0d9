import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { contactSheet, encodePng, type Example } from '@trimpi/datasets';
import { UsageError } from '../errors.ts';
import { checkPlace } from '../folder.ts';
import { nearest } from '../options.ts';
import { openStored } from './stored.ts';

interface ShowOptions {
  readonly count: number;
  readonly split?: 'train' | 'test';
  readonly policy?: string;
  readonly out?: string;
  readonly json?: boolean;
}

export async function show(dir: string, { count, split, policy, out = join(dir, 'show'), json }: ShowOptions): Promise<void> {
  checkPlace(out);
  const data = await openStored(dir);
  if (policy !== undefined && !data.examples.some((e) => isOf(e, policy))) {
    const known = [...new Set(data.examples.flatMap((e) => [e.policyId, e.policyName]))];
    const near = nearest(policy, known) ?? known[0];
    throw new UsageError(`--policy ${policy} has no examples in ${dir}.${near === undefined ? '' : ` Did you mean ${near}?`}`);
  }
  const chosen = data.examples.filter((e) => (split === undefined || e.split === split) && (policy === undefined || isOf(e, policy))).slice(0, count);
  if (chosen.length === 0) throw new UsageError(`${dir} has no ${split ?? ''} examples to show. Write some with ${split === 'test' ? '--test-count' : '--count'}.`);
  const trees = [...new Set(chosen.map((e) => e.policyId))].flatMap((id) => data.trees.get(id) ?? []);

  mkdirSync(out, { recursive: true });
  const sheet = join(out, 'contact-sheet.png');
  const items = chosen.map(({ images, caption }) => ({ images, ...caption }));
  writeFileSync(`${sheet}.partial`, encodePng(contactSheet(items, { columns: 4, cell: 240 })));
  renameSync(`${sheet}.partial`, sheet);
  const shownTrees = trees.map((path) => {
    const copy = join(out, basename(path));
    copyFileSync(path, copy);
    return copy;
  });

  if (json === true) {
    const examples = chosen.map(({ id, split: s, policyId, policyName, query, answer, reasoning }) => ({ id, split: s, policyId, policyName, query, answer, reasoning }));
    console.log(JSON.stringify({ examples, contactSheet: sheet, trees: shownTrees }));
    return;
  }
  for (const e of chosen.slice(0, 3)) console.log(`${e.id} (${e.split}, ${e.policyName})\n${indent(e.query)}\n${indent(e.response)}\n`);
  console.log(`${chosen.length} of ${data.examples.length} examples: ${sheet}`);
  if (shownTrees.length > 0) console.log(`${shownTrees.length === 1 ? 'Tree' : 'Trees'}: ${shownTrees.join(' ')}`);
}

const isOf = (example: Example, policy: string): boolean => example.policyId === policy || example.policyName === policy;

const indent = (text: string): string => text.split('\n').map((line) => `  ${line}`).join('\n');
