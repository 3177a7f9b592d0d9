/** @file A dataset folder or an own policy folder, as examples whose images are read from disk when looked at. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Example, formatResponse, type ObjectType, ownExamples, parseScenes, type Part, scoreClevrPolicy, type ScorerSpec, scoreGtaPolicy, type ToolCall, TOOLS } from '@trimpi/datasets';
import { loadScorer, readExamples } from '@trimpi/datasets/node';
import { UsageError } from '../errors.ts';
import { readOwnFolder } from './own.ts';
import { PictureFiles } from './pictures.ts';

export interface StoredItem extends Example {
  /** What a contact sheet says under its images. */
  readonly caption: { readonly title: string; readonly lines: readonly string[] };
  /** The answers that are right, as the dataset wrote them. */
  readonly golds: readonly unknown[];
  /** ClevrPolicy: what the scene holds, read from disk when looked at; undefined where its file is not there. */
  readonly objects?: readonly ObjectType[] | undefined;
  /** The rewards of a completion. */
  readonly score: (completion: string) => StoredScore;
}

export interface StoredScore {
  /** Whether it counts as right: the case, the tool with its version, or full marks by an own scorer. */
  readonly correct: boolean;
  /** The accuracy reward, 0 to 1. */
  readonly accuracy: number;
  /** The format reward. */
  readonly format: 0 | 1;
  /** GTAPolicy in a run, where a call is right when all of it is: whether tool and version are. */
  readonly tool?: 0 | 1;
  /** GTAPolicy: the share of the arguments that is right. */
  readonly arguments?: number;
}

export interface StoredDataset {
  readonly kind: 'clevr-policy' | 'gta-policy' | 'own';
  /** How an own policy is scored. */
  readonly scorer?: ScorerSpec;
  /** How many answers a policy can have, by its id: cases that some scene reaches, or tool names. Not known of an own policy. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly examples: readonly StoredItem[];
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
  const kind = kindOf(dir);
  const listed = policiesOf(dir);
  const names = new Map(listed.map(({ id, name }) => [id, name ?? id]));
  const policies = new Map<string, { text: string; parts: Part[] }>();
  const trees = new Map<string, string>();
  const pictures = new PictureFiles(dir);
  const shown = new PictureFiles(join(dir, 'policies'));
  for (const file of filesOf(join(dir, 'policies'))) {
    const id = file.replace(/\.\w+$/, '');
    if (file.endsWith('.svg')) trees.set(id, join(dir, 'policies', file));
    if (file.endsWith('.md')) policies.set(id, readPolicy(join(dir, 'policies'), file, shown));
  }
  const examples: StoredItem[] = [];
  const scenes = scenesOf(dir);
  for await (const { id, split, query, answer, images, row } of readExamples(dir)) {
    const policyId = String(row['policy_id']);
    const policy = policies.get(policyId.replace(/[^\w.-]/g, '_'));
    if (policy === undefined) throw new UsageError(`${join(dir, 'examples.jsonl')}: policy ${policyId} has no file in policies/. Write the dataset again.`);
    const reasoning = typeof row['reasoning'] === 'string' ? row['reasoning'] : '';
    const policyName = names.get(policyId) ?? policyId;
    const golds: readonly ToolCall[] = Array.isArray(row['golds']) ? (row['golds'] as ToolCall[]) : [];
    examples.push({
      golds: kind === 'gta-policy' ? golds : [answer],
      score: kind === 'gta-policy' ? (completion) => gtaScore(completion, golds) : (completion) => {
        const { accuracy, format } = scoreClevrPolicy(completion, answer);
        return { correct: accuracy === 1, accuracy, format };
      },
      caption: captionOf(row, { query, answer, policyName, split }),
      id, query, answer, reasoning, policyId,
      split: split === 'test' ? 'test' : 'train',
      policyName,
      response: formatResponse(reasoning, answer),
      policyText: policy.text,
      policyParts: policy.parts,
      get objects() {
        return scenes().get(String(row['scene']));
      },
      get images() {
        return images.map((name) => pictures.get(name));
      },
    });
  }
  return { kind, examples, trees, outcomes: new Map(listed.map(({ id, outcomes, reachable }) => [id, reachable?.length ?? outcomes ?? TOOL_NAMES])) };
}

function gtaScore(completion: string, golds: readonly ToolCall[]): StoredScore {
  const { tool, accuracy, format, arguments: args } = scoreGtaPolicy(completion, golds);
  return { correct: tool === 1, accuracy, format, arguments: args };
}

function kindOf(dir: string): 'clevr-policy' | 'gta-policy' {
  const { kind } = readObject(join(dir, 'manifest.json'));
  if (kind !== 'clevr-policy' && kind !== 'gta-policy') throw new UsageError(`${join(dir, 'manifest.json')} is of no kind that is known here (${String(kind)}). Write the dataset again with trimpi data.`);
  return kind;
}

/** GTAPolicy's queries carry profile and history: the sheet shows the user's words, who asks and what was called. */
function captionOf(row: Readonly<Record<string, unknown>>, { query, answer, policyName, split }: Pick<Example, 'query' | 'answer' | 'policyName'> & { readonly split: string }): StoredItem['caption'] {
  if (typeof row['user_query'] !== 'string') {
    const path = Array.isArray(row['path']) ? `by ${row['path'].join(' > ')}` : undefined;
    return { title: `${policyName} -> ${answer}`, lines: [query, ...(path === undefined ? [] : [path])] };
  }
  const called = (Array.isArray(row['history']) ? (row['history'] as { role?: unknown; name?: unknown }[]) : []).flatMap((turn) => (turn.role === 'tool' ? [String(turn.name)] : []));
  return {
    title: `${String(row['family'])}, step ${Number(row['step']) + 1} (${split})`,
    lines: [row['user_query'], `user: ${Object.values((row['profile'] ?? {}) as Record<string, unknown>).join(', ')}`, `done: ${called.join(', ') || 'nothing'}`, answer],
  };
}

const shorten = (text: string): string => (text.length > 240 ? `${text.slice(0, 239)}\u2026` : text);

interface ListedPolicy {
  readonly id: string;
  readonly name?: string;
  /** Leaves, and those of them that some scene reaches. */
  readonly outcomes?: number;
  readonly reachable?: readonly number[];
}

function policiesOf(dir: string): readonly ListedPolicy[] {
  const file = join(dir, 'policies.json');
  const { policies = [] } = readObject(file);
  if (!Array.isArray(policies)) throw new UsageError(`${file}: policies is no list. Write the dataset again.`);
  return policies as ListedPolicy[];
}

/** @throws UsageError for a file that is missing or holds no JSON object. */
function readObject(file: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${file} cannot be read (${cause instanceof Error ? cause.message : String(cause)}). Write the dataset again.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UsageError(`${file} holds no JSON object. Write the dataset again.`);
  return value as Record<string, unknown>;
}

function filesOf(folder: string): string[] {
  if (!existsSync(folder)) throw new UsageError(`${folder} is missing. Write the dataset again.`);
  return readdirSync(folder);
}

/** Objects by the name of their scene, read once when they are first looked at. */
function scenesOf(dir: string): () => ReadonlyMap<string, readonly ObjectType[]> {
  let found: ReadonlyMap<string, readonly ObjectType[]> | undefined;
  const file = join(dir, 'scenes.json');
  const read = () => {
    try {
      return parseScenes(JSON.parse(readFileSync(file, 'utf8')));
    } catch (cause) {
      throw new UsageError(`${file} cannot be read (${cause instanceof Error ? cause.message : String(cause)}). Write the dataset again; without the file, shortcuts are left out.`);
    }
  };
  return () => (found ??= new Map(existsSync(file) ? read().map((scene) => [scene.image_filename, scene.objects]) : []));
}

const TOOL_NAMES = TOOLS.reduce((sum, tool) => sum + Math.max(1, tool.versions), 0);

/** A written policy: its Markdown images become `<image>` slots again. */
function readPolicy(folder: string, file: string, pictures: PictureFiles): { text: string; parts: Part[] } {
  const parts: Part[] = [];
  let at = 0;
  const markdown = readFileSync(join(folder, file), 'utf8').replace(/\n$/, '');
  for (const match of markdown.matchAll(/!\[[^\]\n]*\]\(([^)\s]+)\)/g)) {
    if (match.index > at) parts.push({ type: 'text', text: markdown.slice(at, match.index) });
    parts.push({ type: 'image', image: pictures.get(match[1]!) });
    at = match.index + match[0].length;
  }
  if (at < markdown.length) parts.push({ type: 'text', text: markdown.slice(at) });
  return { text: parts.map((part) => (part.type === 'text' ? part.text : '<image>')).join(''), parts };
}

async function ownDataset(dir: string): Promise<StoredDataset> {
  const pictures = new PictureFiles(dir);
  const policy = await readOwnFolder(dir, (name, image) => pictures.add(name, image));
  const error = policy.findings.find((finding) => finding.severity === 'error');
  if (error !== undefined) throw new UsageError(`${dir}/${error.file}:${error.line}: ${error.message} Run trimpi data check-policy ${dir} for all findings.`);
  const scorer = await loadScorer(dir, policy);
  const answers = new Map(policy.rows.map((row) => [row.id, row.answer]));
  const examples = ownExamples(policy, (name) => pictures.get(name)).map((example): StoredItem => {
    const { id, split, policyId, policyName, query, answer, reasoning, response, policyText } = example;
    const caption = { title: `${id} (${split})`, lines: [shorten(query), `-> ${shorten(answer)}`] };
    return {
      id, split, policyId, policyName, query, answer, reasoning, response, policyText, caption,
      golds: [answers.get(id) ?? answer],
      score: (completion) => {
        const { accuracy, format } = scorer(completion, answers.get(id) ?? answer);
        return { correct: accuracy === 1, accuracy, format };
      },
      get images() {
        return example.images;
      },
      get policyParts() {
        return example.policyParts;
      },
    };
  });
  return { kind: 'own', scorer: policy.scorer, examples, trees: new Map(), outcomes: new Map() };
}
