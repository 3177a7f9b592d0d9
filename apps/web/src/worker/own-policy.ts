/** @file A policy of the visitor's own: read, checked, outlined, and held against the words that the tiny base knows. */
import { compactVocabulary, ownExamples, type OwnPolicy, readOwnPolicy } from '@trimpi/datasets';
import type { BroughtFile, OutlineView, OwnPolicyView } from '../protocol.ts';

/** Questions that the page shows. */
const SHOWN = 24;
/** A policy folder is read into memory. */
const MOST_BYTES = 512 * 2 ** 20;
/** Tokens of a prompt that the tiny base was trained on, and some. */
const MOST_WORDS = 220;

export interface BroughtPolicy {
  readonly own: OwnPolicy;
  readonly files: ReadonlyMap<string, File>;
  readonly view: OwnPolicyView;
}

export async function bringPolicy(brought: readonly BroughtFile[]): Promise<BroughtPolicy> {
  const files = new Map(brought.map(({ name, file }) => [name, file]));
  const total = brought.reduce((sum, { file }) => sum + file.size, 0);
  if (total > MOST_BYTES) throw Object.assign(new Error(`This folder holds ${Math.round(total / 2 ** 20)} MiB; the page reads policies of up to ${MOST_BYTES / 2 ** 20} MiB. Use the command line for larger ones: trimpi data check-policy.`), { code: 'too-large' });
  const bytes = new Map<string, Uint8Array>();
  for (const [name, file] of files) bytes.set(name, new Uint8Array(await file.arrayBuffer()));
  const text = new TextDecoder();
  const own = readOwnPolicy({ readText: (name) => (bytes.has(name) ? text.decode(bytes.get(name)) : undefined), readBytes: (name) => bytes.get(name) });
  const images = new Set([...own.policyImages, ...own.rows.flatMap((r) => r.images)].filter((name) => files.has(name)));
  return {
    own, files,
    view: {
      name: own.name,
      text: own.markdown,
      outline: compactOutline(own.markdown) ?? outlineOf(own.markdown),
      scorer: own.scorer.type,
      train: own.rows.filter((r) => r.split === 'train').length,
      test: own.rows.filter((r) => r.split === 'test').length,
      findings: own.findings,
      questions: ownExamples({ ...own, rows: own.rows.slice(0, SHOWN) }, () => ({ width: 0, height: 0, rgb: new Uint8Array() })).map(({ id, split, query, answer, reasoning }, i) => ({ id, split, query, answer, reasoning, images: own.rows[i]!.images })),
      images: [...images].map((name) => ({ name, file: files.get(name)! })),
      obstacles: obstaclesOf(own),
      baseObstacles: baseObstaclesOf(own),
    },
  };
}

/** Why nothing can be trained on this policy here; empty when something can. */
function obstaclesOf(own: OwnPolicy): string[] {
  const out: string[] = [];
  if (own.scorer.type === 'module') out.push('A page runs no scorer of your own: its security policy forbids code from elsewhere.');
  if (!own.rows.some((r) => r.split === 'train') || !own.rows.some((r) => r.split === 'test')) out.push('Training needs rows with split "train" and rows with split "test".');
  if (!own.rows.some((r) => r.split === 'train' && (r.reasoning ?? '') !== '')) out.push('Training needs some rows of split "train" with reasoning.');
  return out;
}

/** Why the tiny base cannot read this policy; empty when it can. */
function baseObstaclesOf(own: OwnPolicy): string[] {
  const known = new Set(compactVocabulary());
  const texts = [own.markdown, ...own.rows.flatMap((r) => [r.query, typeof r.answer === 'string' ? r.answer : JSON.stringify(r.answer), r.sample ?? '', r.reasoning ?? ''])];
  const unknown = [...new Set(texts.flatMap((t) => t.split(/\s+/)).filter((w) => w !== '' && !known.has(w)))];
  const out: string[] = [];
  if (unknown.length > 0) {
    const shown = unknown.slice(0, 12).map((w) => `“${w.slice(0, 24)}”`).join(', ');
    out.push(`It knows ${known.size} words; ${unknown.length} of yours are not among them: ${shown}${unknown.length > 12 ? ' and others' : ''}.`);
  }
  const words = own.markdown.split(/\s+/).length;
  if (words > MOST_WORDS) out.push(`It reads policies of up to ${MOST_WORDS} words; yours has ${words}.`);
  if (own.policyImages.length > 0) out.push('It reads no pictures inside a policy.');
  if (own.rows.some((r) => r.images.length !== 1)) out.push('It answers questions about exactly one picture.');
  if (own.rows.some((r) => r.profile !== undefined || r.history !== undefined)) out.push('It reads no user profiles and no histories.');
  return out;
}

/** Headings and list items, nested as they are written. */
export function outlineOf(markdown: string): OutlineView[] {
  const root: { text: string; level: number; children: OutlineView[] }[] = [{ text: '', level: -1, children: [] }];
  let heading = 0;
  for (const line of markdown.split('\n')) {
    const title = /^(#{1,6})\s+(.*\S)/.exec(line);
    const item = /^(\s*)(?:[-*+]|\d+[.)])\s+(.*\S)/.exec(line);
    if (title === null && item === null) continue;
    const level = title !== null ? (heading = title[1]!.length) : heading + 1 + item![1]!.replaceAll('\t', '    ').length;
    while (root.at(-1)!.level >= level) root.pop();
    const node = { text: (title ?? item)![2]!, level, children: [] };
    root.at(-1)!.children.push(node);
    root.push(node);
  }
  return root[0]!.children;
}

/** The tree of a policy in the tiny base's words (`policy kavo miru : 1 sphere ; 1.1 metal ; 1.1.1 case0 ; ...`); undefined for any other text. */
export function compactOutline(text: string): OutlineView[] | undefined {
  const body = /^\s*policy\s[^:]*:(.*)$/s.exec(text)?.[1];
  const entries = new Map((body ?? '').split(';').flatMap((e) => {
    const found = /^\s*(1(?:\.[12])*)\s+(\S+)\s*$/.exec(e);
    return found === null ? [] : [[found[1]!, found[2]!] as const];
  }));
  const node = (id: string, edge: string): OutlineView[] => {
    const word = entries.get(id);
    if (word === undefined) return [];
    const children = [...node(`${id}.1`, 'yes: '), ...node(`${id}.2`, 'no: ')];
    return [{ text: `${edge}${id} ${word}${children.length > 0 ? '?' : ''}`, children }];
  };
  const root = node('1', '');
  return root.length === 0 ? undefined : root;
}
