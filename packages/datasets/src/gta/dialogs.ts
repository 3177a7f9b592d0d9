/**
 * @file GTA's own format (`dataset.json`): our episodes written in it, and its queries read as single-turn instances, the
 * way the paper makes GTAPolicy from GTA: every ground-truth call is one instance, its name resolved by the policy.
 */
import { DatasetError } from '../core/error.ts';
import type { HistoryTurn } from './dataset.ts';
import type { Episode, ResolvedStep } from './episodes/episode.ts';
import { factsOf, resolveTool } from './policy/resolve.ts';
import type { GtaRules, UserProfile } from './policy/types.ts';
import { TOOLS, toolType, type ToolCall } from './tools.ts';

export type GtaTurn = { readonly role: 'user'; readonly content: string } | HistoryTurn | { readonly role: 'assistant'; readonly content: string };

/** One query of GTA. */
export interface GtaEntry {
  readonly tools: readonly { readonly name: string; readonly description: string; readonly inputs: readonly unknown[]; readonly outputs: readonly unknown[] }[];
  readonly files: readonly { readonly type: 'image'; readonly path: string; readonly url: string | null }[];
  readonly dialogs: readonly GtaTurn[];
  readonly gt_answer: unknown;
}

/** An episode as an entry of GTA's file. */
export function gtaEntry(episode: Episode, steps: readonly ResolvedStep[]): GtaEntry {
  const used = new Set(steps.map((s) => toolType(s.call.name)?.name));
  return {
    tools: TOOLS.filter((tool) => used.has(tool.name)).map((tool) => ({
      name: tool.name,
      description: tool.description,
      inputs: tool.arguments.map((a) => ({ type: a.type, name: a.name, description: a.description, optional: !a.required, default: a.default ?? null, filetype: null })),
      outputs: [],
    })),
    files: episode.imageNames.map((path) => ({ type: 'image', path, url: null })),
    dialogs: [
      { role: 'user', content: episode.query },
      ...steps.flatMap((s): GtaTurn[] => [
        { role: 'assistant', tool_calls: [{ type: 'function', function: s.call }], thought: s.step.why },
        { role: 'tool', name: s.call.name, content: s.step.output },
      ]),
    ],
    gt_answer: null,
  };
}

/** A call of an entry with what came before it. */
export interface GtaInstance {
  readonly query: string;
  readonly images: readonly string[];
  readonly history: readonly HistoryTurn[];
  readonly gold: ToolCall;
}

function fail(path: string, message: string): never {
  throw new DatasetError('invalidFile', `${path}: ${message}`);
}

function object(path: string, value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : fail(path, 'write an object.');
}

function readCall(path: string, turn: Record<string, unknown>): ToolCall | undefined {
  const calls = turn['tool_calls'];
  if (calls === undefined) return undefined;
  const call = object(`${path}.tool_calls[0].function`, object(`${path}.tool_calls[0]`, Array.isArray(calls) ? calls[0] : undefined)['function']);
  if (typeof call['name'] !== 'string') fail(path, 'the call has no name.');
  return { name: call['name'] as string, arguments: object(`${path}.arguments`, call['arguments']) as ToolCall['arguments'] };
}

/**
 * The instances of an entry under a policy for a user: names of tools get the version that the rules want, in the gold calls
 * and in the history. `hasMath` says which images hold mathematics. Throws `invalidFile` that names the turn.
 */
export function instancesFromGta(
  entry: unknown, options: { readonly rules: GtaRules; readonly profile: UserProfile; readonly hasMath?: (image: string) => boolean }, path = 'entry',
): GtaInstance[] {
  const e = object(path, entry);
  const dialogs = Array.isArray(e['dialogs']) ? (e['dialogs'] as unknown[]) : fail(path, 'dialogs must be a list.');
  const files = Array.isArray(e['files']) ? (e['files'] as unknown[]) : [];
  const images = files.map((file, i) => {
    const name = object(`${path}.files[${i}]`, file)['path'];
    return typeof name === 'string' ? name : fail(`${path}.files[${i}]`, 'path must be a text.');
  });
  const version = (call: ToolCall): ToolCall => {
    const image = call.arguments['image'];
    const hasMath = typeof image === 'string' && options.hasMath?.(image) === true;
    const tool = toolType(call.name)?.name;
    return tool === undefined ? call : { ...call, name: resolveTool(options.rules, tool, factsOf(options.profile, hasMath)).name };
  };
  let query = '';
  let last = '';
  const history: HistoryTurn[] = [];
  const out: GtaInstance[] = [];
  dialogs.forEach((value, i) => {
    const where = `${path}.dialogs[${i}]`;
    const turn = object(where, value);
    if (turn['role'] === 'user') query = typeof turn['content'] === 'string' ? turn['content'] : fail(where, 'content must be a text.');
    else if (turn['role'] === 'assistant') {
      const call = readCall(where, turn);
      if (call === undefined) return;
      const gold = version(call);
      last = gold.name;
      out.push({ query, images, history: [...history], gold });
      history.push({ role: 'assistant', tool_calls: [{ type: 'function', function: gold }], thought: typeof turn['thought'] === 'string' ? turn['thought'] : '' });
    } else if (turn['role'] === 'tool') {
      const content = object(`${where}.content`, turn['content']);
      history.push({ role: 'tool', name: last, content: { type: content['type'] === 'image' ? 'image' : 'text', content: String(content['content'] ?? '') } });
    } else fail(where, `role is ${JSON.stringify(turn['role'])}; write user, assistant or tool.`);
  });
  return out;
}
