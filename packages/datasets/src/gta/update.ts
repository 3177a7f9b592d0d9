/** @file Updated tool rules in context, and whether cited rules are right. */
import { DatasetError, requireInteger } from '../core/error.ts';
import type { Split } from '../core/example.ts';
import { hashKeys, randomStream, type StreamKey } from '../core/random.ts';
import { formatResponse } from '../core/answer.ts';
import { gtaPolicy, type GtaPolicyConfig, type GtaPolicyDataset, type GtaPolicyExample } from './dataset.ts';
import { proveRules } from './policy/prove.ts';
import { factsOf, resolveTool } from './policy/resolve.ts';
import type { GtaRules, RuleBullet, UserProfile } from './policy/types.ts';
import { formatToolCall } from './score/score.ts';
import { toolType, type ToolCall } from './tools.ts';

export interface GtaOverrideOptions {
  readonly seed?: StreamKey;
  /** Share of items in which the update concerns another tool, so that the call must not change; 0.2 by default. */
  readonly controls?: number;
}

export interface GtaOverrideExample extends GtaPolicyExample {
  readonly oldGold: ToolCall;
  readonly changed: boolean;
  readonly updatedRules: GtaRules;
}

export interface GtaOverrideDataset {
  readonly base: GtaPolicyDataset;
  readonly size: GtaPolicyDataset['size'];
  example(split: Split, index: number): GtaOverrideExample;
}

/** The rules of a tool with its versions moved on by `shift` among themselves, so that every case gets another name. */
export function permuteVersions(rules: GtaRules, tool: string, shift: number): GtaRules {
  const names = [...new Set(rules.bullets.filter((b) => b.tool === tool).flatMap((b) => b.choices.map((c) => c.name)))].filter((name) => name !== 'MathOCR').toSorted();
  const rename = new Map(names.map((name, i) => [name, names[(i + shift) % names.length] as string]));
  const bullets = rules.bullets.map((bullet): RuleBullet => {
    if (bullet.tool !== tool) return bullet;
    return {
      ...bullet,
      choices: bullet.choices.map((choice) => ({ ...choice, name: rename.get(choice.name) ?? choice.name })),
      text: bullet.text.replace(/[A-Za-z]+_v\d+/g, (name) => rename.get(name) ?? name),
    };
  });
  const updated = { ...rules, id: `${rules.id}+${tool}`, bullets };
  proveRules(updated);
  return updated;
}

const versioned = (rules: GtaRules): string[] => Object.entries(rules.versions).filter(([, n]) => n > 1).map(([tool]) => tool);

function overrideText(rules: GtaRules, tool: string): string {
  const lines = rules.bullets.filter((bullet) => bullet.tool === tool).map((bullet) => `- ${bullet.text}`);
  return `### Tool Calling Rule Override ###\nSome rules are updated as follows:\n[${tool} Tools]:\n${lines.join('\n')}`;
}

/** GTAPolicy's override: the block of the tool at hand is rewritten, and the right call changes; controls rewrite another. */
export function gtaOverride(config: GtaPolicyConfig = {}, options: GtaOverrideOptions = {}): GtaOverrideDataset {
  const base = gtaPolicy(config);
  const seed = options.seed ?? 'gtaOverride';
  const controls = options.controls ?? 0.2;
  if (!(controls >= 0 && controls <= 1)) throw new DatasetError('invalidArgument', `controls is ${controls}; pass a share from 0 to 1.`);
  const example = (split: Split, index: number): GtaOverrideExample => {
    requireInteger('index', index, 0, base.size(split) - 1);
    const random = randomStream(seed, split, index);
    const control = hashKeys([seed, 'control', split, index]) / 4294967296 < controls;
    const episode = base.episode(split, index);
    const able = episode.filter((e) => versioned(base.rules).includes(toolType(e.gold.name)?.name ?? ''));
    // Every family but those read by MathOCR alone calls a versioned tool; those serve as controls.
    const original = able.length > 0 ? random.pick(able) : (episode[0] as GtaPolicyExample);
    const own = toolType(original.gold.name)?.name ?? '';
    const changed = !control && able.length > 0;
    const tool = changed ? own : random.pick(versioned(base.rules).filter((name) => name !== own && !original.history.some((turn) => turn.role === 'tool' && toolType(turn.name)?.name === name)));
    const rules = permuteVersions(base.rules, tool, 1 + random.int(Math.max(1, (base.rules.versions[tool] ?? 2) - 1)));
    const hasMath = false;
    const name = changed ? resolveTool(rules, own, factsOf(original.profile, hasMath)).name : original.gold.name;
    const rename = (call: ToolCall): ToolCall => (call.name === original.gold.name ? { ...call, name } : call);
    const gold = rename(original.gold);
    const answer = formatToolCall(gold);
    const reasoning = changed
      ? `The rules of ${tool} are updated. ${original.reasoning.replace(/The rule says: .* Hence .*\./, `The updated rule says: ${ruleText(rules, tool, original.profile)} Hence ${name}.`)}`
      : original.reasoning;
    return {
      ...original,
      id: `gta-override-${split}-${index}`,
      query: `${overrideText(rules, tool)}\n\n${original.query}`,
      answer, gold,
      golds: original.golds.map(rename),
      reasoning, reverseReasoning: `The right call is ${gold.name}. ${reasoning}`,
      response: formatResponse(reasoning, answer),
      oldGold: original.gold,
      changed,
      updatedRules: rules,
    };
  };
  return { base, size: base.size, example };
}

function ruleText(rules: GtaRules, tool: string, profile: UserProfile): string {
  const { bullet } = resolveTool(rules, tool, factsOf(profile, false));
  return rules.bullets.find((b) => b.id === bullet)?.text ?? '';
}

export interface GtaReferralScore {
  readonly score: number;
  readonly correct: number;
  readonly cited: number;
}

/**
 * Referral without a judge: every version that the reasoning names must be a version of the policy, and one that the rules
 * give this user (or, in a quoted rule, one of that rule's); every threshold it states beside a field must be in the policy.
 */
export function scoreGtaReferral(reasoning: string, rules: GtaRules, profile: UserProfile): GtaReferralScore {
  let correct = 0;
  let cited = 0;
  const judge = (right: boolean): void => {
    cited++;
    if (right) correct++;
  };
  const quoted = rules.bullets.filter((bullet) => reasoning.includes(bullet.text));
  for (const bullet of quoted) judge(rules.bullets.includes(bullet));
  let rest = reasoning;
  for (const bullet of quoted) rest = rest.replaceAll(bullet.text, ' ');
  for (const [name] of new Set([...rest.matchAll(/\b[A-Za-z]+_v\d+\b/g)].map((m) => [m[0]] as const))) {
    const tool = toolType(name)?.name;
    judge(tool !== undefined && rules.versions[tool] !== undefined && resolveTool(rules, tool, factsOf(profile, false)).name === name);
  }
  for (const [, tool] of rest.matchAll(/\b([A-Za-z]+) has a single version/g)) judge((rules.versions[tool as string] ?? 1) === 1 && toolType(tool as string) !== undefined);
  for (const [, field, value] of rest.matchAll(/\b(credits|age)\s*(?:<=|>=|<|>|is (?:below|above|at least|at most))\s*(\d+)/g)) {
    judge(rules.bullets.some((bullet) => new RegExp(`(${field}\\D{0,12}${value}\\b|\\b${value} <=? ${field})`).test(bullet.text)));
  }
  return { score: cited === 0 ? 0 : (10 * correct) / cited, correct, cited };
}

/** Direct questions about the rules: which version a user of given facts gets. */
export function gtaPolicyQuestions(rules: GtaRules, profiles: readonly UserProfile[]): { readonly question: string; readonly answer: string }[] {
  return profiles.flatMap((profile) =>
    versioned(rules).map((tool) => ({
      question: `Which ${tool} tool should be called for a user with ${Object.entries(profile).map(([k, v]) => `${k} ${v}`).join(', ')}, for an image without mathematics?`,
      answer: resolveTool(rules, tool, factsOf(profile, false)).name,
    })),
  );
}
