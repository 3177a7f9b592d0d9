/**
 * @file GTAPolicy: one instance is one call of an episode: images, profile, query and history in, the next call out.
 * Item i is a pure function of the config and i, and has an episode of its own (all steps of an episode: `episode`).
 */
import { formatResponse } from '../core/answer.ts';
import { DatasetError, requireInteger, requireOneOf } from '../core/error.ts';
import type { Example, Split } from '../core/example.ts';
import { hashKeys, randomStream, type StreamKey } from '../core/random.ts';
import { FAMILIES } from './episodes/families.ts';
import { makeEpisode, resolveEpisode, type Episode, type ResolvedStep } from './episodes/episode.ts';
import { pickBox, profileIn } from './episodes/profile.ts';
import { generateRules, type GenerateRulesOptions } from './policy/generate.ts';
import { PAPER_RULES } from './policy/paper.ts';
import { proveRules, ruleBoxes, type RuleProof } from './policy/prove.ts';
import { policyDocument } from './policy/text.ts';
import { holds, type GtaRules, type UserProfile } from './policy/types.ts';
import { factsOf } from './policy/resolve.ts';
import { formatToolCall } from './score/score.ts';
import type { ToolCall } from './tools.ts';

/** `unseenCell`: the user falls in a case that the policy decides but that no training example shows. */
export const SLICES = ['iid', 'boundary', 'unseenCell', 'severalImages', 'longHistory'] as const;
export type Slice = (typeof SLICES)[number];

export interface GtaPolicyConfig {
  readonly seed?: StreamKey;
  /** `paper`, or a generated policy. */
  readonly policy?: 'paper' | GenerateRulesOptions;
  /** 451 and 106 by default, as in the paper. */
  readonly train?: number;
  readonly test?: number;
  /**
   * Test examples take turns through all slices, and one case of each tool with three or more is kept out of training for
   * the slice `unseenCell`. With `false`, every case is trained and the test is drawn like the training examples.
   */
  readonly slices?: boolean;
}

export type HistoryTurn =
  | { readonly role: 'assistant'; readonly tool_calls: readonly [{ readonly type: 'function'; readonly function: ToolCall }]; readonly thought: string }
  | { readonly role: 'tool'; readonly name: string; readonly content: { readonly type: 'text' | 'image'; readonly content: string } };

export interface GtaPolicyExample extends Example {
  readonly index: number;
  readonly episodeId: string;
  readonly family: string;
  /** Which step of the episode, from 0. */
  readonly step: number;
  readonly imageNames: readonly string[];
  readonly profile: UserProfile;
  /** The user's own words; `query` wraps them with profile, images and history. */
  readonly userQuery: string;
  readonly history: readonly HistoryTurn[];
  readonly gold: ToolCall;
  readonly golds: readonly ToolCall[];
  /** Rules and tips that decide the call. */
  readonly rulesUsed: readonly string[];
  readonly slice: Slice;
  readonly reverseReasoning: string;
}

export interface GtaPolicyDataset {
  readonly config: Required<Omit<GtaPolicyConfig, 'policy'>>;
  readonly rules: GtaRules;
  readonly proof: RuleProof;
  readonly policyText: string;
  /** Rules (`OCR.2#0`) whose cases no training example shows. */
  readonly heldOut: ReadonlySet<string>;
  size(split: Split): number;
  example(split: Split, index: number): GtaPolicyExample;
  /** All instances of the episode of an index, for the same user. */
  episode(split: Split, index: number): GtaPolicyExample[];
  stream(split: Split): Generator<GtaPolicyExample>;
}

const POLICY_NAME = 'GTAPolicy';
const INSTRUCTION = 'Determine the appropriate tool to use at the current step. Answer with a JSON object with "name" and "arguments".';

/** Of each tool with three or more cases, one is held out of training. */
function heldOutRules(rules: GtaRules, seed: StreamKey): Set<string> {
  const out = new Set<string>();
  for (const tool of new Set(rules.bullets.map((bullet) => bullet.tool))) {
    const boxes = ruleBoxes(rules, tool).filter((box) => box.name !== 'MathOCR');
    if (boxes.length < 3) continue;
    const box = boxes[hashKeys([seed, 'heldOut', tool]) % boxes.length];
    if (box) out.add(`${box.bullet}#${box.choice}`);
  }
  return out;
}

/** GTAPolicy as a dataset. The rules are proved when it is made. Throws `invalidArgument` for a bad config. */
export function gtaPolicy(config: GtaPolicyConfig = {}): GtaPolicyDataset {
  const seed = config.seed ?? 0;
  const policy = config.policy ?? 'paper';
  if (typeof policy === 'string') requireOneOf('policy', policy, ['paper']);
  const rules = policy === 'paper' ? PAPER_RULES : generateRules(policy);
  const resolved = { seed, train: requireInteger('train', config.train ?? 451, 0, 1e9), test: requireInteger('test', config.test ?? 106, 0, 1e9), slices: config.slices ?? true };
  const proof = proveRules(rules);
  const policyText = policyDocument(rules);
  const heldOut = resolved.slices ? heldOutRules(rules, seed) : new Set<string>();
  const size = (split: Split): number => (requireOneOf('split', split, ['train', 'test']) === 'train' ? resolved.train : resolved.test);

  const prepare = (split: Split, index: number): { episode: Episode; profile: UserProfile; step: number; slice: Slice } => {
    requireInteger('index', index, 0, size(split) - 1);
    const random = randomStream(seed, 'instance', split, index);
    const slice: Slice = split === 'test' && resolved.slices ? (SLICES[index % SLICES.length] as Slice) : 'iid';
    const families = FAMILIES.filter((family) => (slice === 'severalImages' || slice === 'longHistory' ? family.several : true)).map((family) => family.name);
    // Slices take turns by the index, so families must not: they are drawn.
    const family = slice === 'iid' && split === 'train' ? undefined : random.pick(families);
    for (let attempt = 0; attempt < 400; attempt++) {
      const episode = makeEpisode(`${String(seed)}${attempt === 0 ? '' : `/${attempt}`}`, split, index, family ?? undefined);
      const first = slice === 'longHistory' ? Math.min(3, episode.steps.length - 1) : 0;
      const step = random.between(first, episode.steps.length - 1);
      const tool = episode.steps[step]?.tool ?? '';
      const hasMath = pictureHasMath(episode, step);
      const box = slice === 'unseenCell' ? heldBox(rules, tool, heldOut, hasMath) : pickBox(rules, tool, random, hasMath);
      if (slice === 'unseenCell' && box === undefined) {
        const other = random.pick(FAMILIES).name;
        const retry = unseenEpisode(seed, split, index, other, rules, heldOut);
        if (retry === undefined) continue;
        return { ...retry, profile: profileIn(retry.box, rules, random, false), slice };
      }
      const boundary = slice === 'boundary' || (split === 'train' && random.chance(0.25));
      const profile = profileIn(box ?? { when: [] }, rules, random, boundary);
      const hits = resolveEpisode(episode, rules, profile).some((s) => s.rules.some((rule) => heldOut.has(rule)));
      if (slice !== 'unseenCell' && hits) continue;
      return { episode, profile, step, slice };
    }
    throw new DatasetError('unsatisfiable', `no user for ${split}/${index} was found outside the held-out cases; use another seed.`);
  };

  const build = (split: Split, index: number, episode: Episode, steps: readonly ResolvedStep[], profile: UserProfile, step: number, slice: Slice): GtaPolicyExample => {
    const current = steps[step] as ResolvedStep;
    const history = steps.slice(0, step).flatMap((s): HistoryTurn[] => [
      { role: 'assistant', tool_calls: [{ type: 'function', function: s.call }], thought: '' },
      { role: 'tool', name: s.call.name, content: s.step.output },
    ]);
    const answer = formatToolCall(current.call);
    const forward = gtaReasoning(rules, profile, current, step);
    return {
      id: `${episode.id}-${step}`, split, index,
      policyId: rules.id, policyName: POLICY_NAME,
      images: episode.pictures.map((picture) => picture.image),
      imageNames: episode.imageNames,
      episodeId: episode.id, family: episode.family, step, profile,
      userQuery: episode.query,
      history,
      query: queryText(episode, profile, history),
      answer,
      gold: current.call, golds: current.golds,
      reasoning: forward,
      reverseReasoning: `The right call is ${current.call.name}. ${forward}`,
      response: formatResponse(forward, answer),
      policyText,
      policyParts: [{ type: 'text', text: policyText }],
      rulesUsed: current.rules,
      slice,
    };
  };
  const example = (split: Split, index: number): GtaPolicyExample => {
    const { episode, profile, step, slice } = prepare(split, index);
    return build(split, index, episode, resolveEpisode(episode, rules, profile), profile, step, slice);
  };
  return {
    config: resolved, rules, proof, policyText, heldOut, size, example,
    episode(split, index) {
      const { episode, profile, slice } = prepare(split, index);
      const steps = resolveEpisode(episode, rules, profile);
      return steps.map((_, step) => build(split, index, episode, steps, profile, step, slice));
    },
    *stream(split) {
      for (let i = 0; i < size(split); i++) yield example(split, i);
    },
  };
}

function pictureHasMath(episode: Episode, step: number): boolean {
  const picture = episode.steps[step]?.picture;
  return picture !== undefined && (episode.pictures[picture]?.latex.length ?? 0) > 0;
}

function heldBox(rules: GtaRules, tool: string, heldOut: ReadonlySet<string>, hasMath: boolean): ReturnType<typeof ruleBoxes>[number] | undefined {
  return hasMath ? undefined : ruleBoxes(rules, tool).find((box) => heldOut.has(`${box.bullet}#${box.choice}`));
}

function unseenEpisode(seed: StreamKey, split: Split, index: number, family: string, rules: GtaRules, heldOut: ReadonlySet<string>): { episode: Episode; step: number; box: ReturnType<typeof ruleBoxes>[number] } | undefined {
  const episode = makeEpisode(`${String(seed)}/unseen`, split, index, family);
  for (let step = 0; step < episode.steps.length; step++) {
    const box = heldBox(rules, episode.steps[step]?.tool ?? '', heldOut, pictureHasMath(episode, step));
    if (box) return { episode, step, box };
  }
  return undefined;
}

function queryText(episode: Episode, profile: UserProfile, history: readonly HistoryTurn[]): string {
  const user = Object.entries(profile).map(([key, value]) => `- ${key}: ${value}`).join('\n');
  const past = history.length === 0 ? '(none)' : history.map((turn) => JSON.stringify(turn)).join('\n');
  return `### User Profile ###\n${user}\n\n### Images ###\n${episode.imageNames.join('\n')}\n\n### User Query ###\n${episode.query}\n\n### Interaction History ###\n${past}\n\n${INSTRUCTION}`;
}

/** Why a call is right: what the step needs, which facts decide the version, which rule says so, and the arguments. */
export function gtaReasoning(rules: GtaRules, profile: UserProfile, resolved: ResolvedStep, step: number): string {
  const { call, step: plan } = resolved;
  const lines = [`${step === 0 ? 'Nothing has been called yet' : `${step} ${step === 1 ? 'call has' : 'calls have'} been made`}; ${plan.why}, so ${/^[AEIO]/.test(plan.tool) ? 'an' : 'a'} ${plan.tool} tool is needed.`];
  const key = resolved.rules[0]?.split('#')[0];
  const bullet = rules.bullets.find((b) => b.id === key);
  if (bullet) {
    const read = [...new Set([...bullet.when, ...bullet.choices.flatMap((c) => c.when)].map((r) => r.field))].filter((field) => field !== 'hasMath');
    const facts = read.map((field) => `${field} is ${String(profile[field as keyof UserProfile])}`);
    const stated = facts.length > 0 ? `The user's ${facts.join(' and ')}. ` : call.name === 'MathOCR' ? 'The image contains mathematical expressions. ' : '';
    lines.push(`${stated}The rule says: ${bullet.text} Hence ${call.name}.`);
  } else {
    lines.push(`${call.name} has a single version.`);
  }
  for (const id of resolved.rules.filter((rule) => rule.startsWith('Tip.') && rule !== 'Tip.3')) lines.push(`A tip applies: ${rules.tips.find((tip) => tip.id === id)?.text ?? ''}`);
  lines.push(`The arguments are ${Object.entries(call.arguments).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(', ')}.`);
  return lines.join('\n');
}

/** Whether a rule (`OCR.2#0`) applies to a user. */
export function ruleApplies(rules: GtaRules, rule: string, profile: UserProfile, hasMath: boolean): boolean {
  const [id, choice] = rule.split('#');
  const bullet = rules.bullets.find((b) => b.id === id);
  const facts = factsOf(profile, hasMath);
  return bullet !== undefined && holds(bullet.when, facts) && holds(bullet.choices[Number(choice)]?.when ?? [], facts);
}
