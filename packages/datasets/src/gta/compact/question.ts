/** @file One question of compact GTAPolicy: who asks, what is needed, what has been done; the call that the policy wants, and why. */
import { DatasetError } from '../../core/error.ts';
import type { Random } from '../../core/random.ts';
import { ATTRIBUTES, filterWords, type Attribute, type AttributeValue, type ObjectType } from '../../clevr/attributes.ts';
import { compactResponse } from '../../clevr/policy/compact.ts';
import type { UserProfile } from '../policy/types.ts';
import { compactGtaCallText, type CompactGtaCall } from './call.ts';
import { conditionWords } from './policy.ts';
import { conditionHolds, GRIDS, imageReaches, WHOLE } from './region.ts';
import type { CompactGtaCase, CompactGtaDecision, CompactGtaNode, CompactGtaPolicy, CompactGtaRegion } from './types.ts';
import { ACCOUNTS, COMPACT_GTA_FIELDS, COMPACT_GTA_IMAGES, imageWord, KEYWORDS, STYLES, takesImage, type CompactGtaCallable, type CompactGtaTool } from './words.ts';

/** Of the questions with several images, how many find one undescribed where the policy's tip asks for it. */
const TIP_SHARE = 0.25;
const BOUNDARY_SHARE = 0.25;

export interface CompactGtaQuestion {
  /** Names the policy but holds nothing of it; the pictures come before it. */
  readonly query: string;
  /** Without think tags. */
  readonly reasoning: string;
  readonly response: string;
  readonly answer: string;
  readonly gold: CompactGtaCall;
  /** The tool that is called, which a tip may have put before the one that is needed. */
  readonly tool: CompactGtaCallable;
  readonly tip: 'describe' | 'box' | undefined;
  /** Node id of the leaf that decides the version; none for `box`. */
  readonly leaf: string | undefined;
  readonly images: number;
  readonly profile: UserProfile;
}

export interface CompactGtaQuestionOptions {
  /** Whether the user's numbers are next to a threshold where the leaf has any; a quarter are by default. */
  readonly boundary?: boolean;
  /** Leaves that may decide; all by default. */
  readonly leaves?: ReadonlySet<string>;
  /** Whether the call may be `box`, which no leaf decides; true by default. */
  readonly box?: boolean;
}

/** What of a scene a question is about. */
export interface SeenScene {
  readonly objects: readonly ObjectType[];
}

/** The values that a scene shows. */
export function sceneValues(scene: SeenScene): ReadonlySet<AttributeValue> {
  return new Set(scene.objects.flatMap(filterWords));
}

/** A user in a region, uniformly; at its edges with `boundary`, where it has edges that a threshold made. */
function userIn(region: CompactGtaRegion, boundary: boolean, random: Random): UserProfile {
  const number = (kind: 'credits' | 'age'): number => {
    const [low, high] = region[kind];
    const edges = boundary ? [...(low > 0 ? [low] : []), ...(high < GRIDS[kind].length - 1 ? [high] : [])] : [];
    return GRIDS[kind][edges.length > 0 ? random.pick(edges) : random.between(low, high)] as number;
  };
  return { account_type: random.pick(region.accounts), credits: number('credits'), age: number('age') };
}

/** One or two attribute values of an object of the scene. */
function objectWords(scene: SeenScene, without: Attribute | undefined, random: Random): string {
  const object: ObjectType = random.pick(scene.objects);
  const attributes = random.sample(ATTRIBUTES.filter((attribute) => attribute !== without), random.between(1, 2));
  return filterWords(Object.fromEntries(attributes.map((attribute) => [attribute, object[attribute]]))).join(' ');
}

/** A call with arguments about an image, still without version. */
function drawArguments(tool: CompactGtaCallable, scenes: readonly SeenScene[], image: number, random: Random): CompactGtaCall {
  const fields = COMPACT_GTA_FIELDS[tool];
  const attribute = fields.includes('attribute') ? random.pick(ATTRIBUTES) : undefined;
  return {
    tool,
    version: undefined,
    arguments: {
      ...(fields.includes('image') ? { image: imageWord(image) } : {}),
      ...(attribute === undefined ? {} : { attribute }),
      ...(fields.includes('object') ? { object: objectWords(scenes[image] as SeenScene, attribute, random) } : {}),
      ...(fields.includes('style') ? { style: random.pick(STYLES) } : {}),
      ...(fields.includes('keyword') ? { keyword: random.pick(KEYWORDS) } : {}),
    },
  };
}

const describeCall = (image: number): CompactGtaCall => ({ tool: 'describe', version: undefined, arguments: { image: imageWord(image) } });

function boxCall(need: CompactGtaCall): CompactGtaCall {
  const { image, object } = need.arguments;
  return { tool: 'box', version: undefined, arguments: { ...(image === undefined ? {} : { image }), ...(object === undefined ? {} : { object }) } };
}

/** Calls that came before: they leave exactly what the tip, if any, asks for. */
function drawHistory(policy: CompactGtaPolicy, need: CompactGtaCall, tip: CompactGtaQuestion['tip'], called: number, scenes: readonly SeenScene[], random: Random): CompactGtaCall[] {
  const several = policy.tips.describe && scenes.length > 1;
  const calls: CompactGtaCall[] = [];
  scenes.forEach((_, image) => {
    const chance = random.chance(0.5);
    // The first image that is not described is the one that the tip asks for.
    if (!several ? chance : tip !== 'describe' || image < called || (image > called && chance)) calls.push(describeCall(image));
  });
  if (need.tool === 'attribute') {
    const right = boxCall(need);
    // A box of something else is as good as none.
    const wrong = drawArguments('box', scenes, random.int(scenes.length), random);
    if (random.chance(0.5) && compactGtaCallText(wrong) !== compactGtaCallText(right)) calls.push(wrong);
    if (tip !== 'box' && ((tip === undefined && policy.tips.box) || random.chance(0.5))) calls.push(right);
  }
  const others = policy.tools.map((rules) => rules.tool).filter((tool) => tool !== 'describe' && tool !== 'attribute');
  if (others.length > 0 && random.chance(0.25)) {
    const other = drawArguments(random.pick(others), scenes, random.int(scenes.length), random);
    if (compactGtaCallText(other) !== compactGtaCallText(need)) calls.push(other);
  }
  return calls;
}

/** `policy kavo miru ? user account B credits c600 age a30` */
function userText({ name }: CompactGtaPolicy, { account_type, credits, age }: UserProfile): string {
  return `policy ${name} ? user account ${account_type} credits c${credits} age a${age}`;
}

/** `policy kavo miru ? user account B credits c600 age a30 need count sphere image2 done describe image1 ;` */
function queryText(policy: CompactGtaPolicy, profile: UserProfile, need: CompactGtaCall, history: readonly CompactGtaCall[]): string {
  const { image, ...words } = need.arguments;
  const needed = COMPACT_GTA_FIELDS[need.tool].flatMap((field) => (field === 'image' ? [] : words[field] ?? []));
  return [
    userText(policy, profile),
    'need', need.tool, ...needed, ...(image === undefined ? [] : [image]),
    ...history.flatMap((call) => ['done', compactGtaCallText(call), ';']),
  ].join(' ');
}

/** `n5 credits c250 ?` */
function askedText({ id, condition }: CompactGtaDecision): string {
  return [id, ...conditionWords(condition), '?'].join(' ');
}

/** `ocr n5 credits c250 ? no n7 age a20 ? yes n8 v2` */
function wayText(tool: CompactGtaTool, decided: CompactGtaCase): string {
  const words = decided.path.flatMap(({ node, outcome }) => [askedText(node), outcome ? 'yes' : 'no']);
  return [tool, ...words, decided.leaf.id, decided.leaf.version].join(' ');
}

/** A question, or undefined when no allowed leaf of the drawn tool can be reached with the drawn image. */
export function drawCompactGta(policy: CompactGtaPolicy, scenes: readonly SeenScene[], random: Random, options: CompactGtaQuestionOptions = {}): CompactGtaQuestion | undefined {
  const { leaves } = options;
  const allowed = (decided: CompactGtaCase): boolean => leaves === undefined || leaves.has(decided.leaf.id);
  const callable: CompactGtaCallable[] = policy.tools.filter((rules) => leaves === undefined || rules.cases.some(allowed)).map((rules) => rules.tool);
  const describing = policy.tips.describe && scenes.length > 1 && callable.includes('describe') && random.chance(TIP_SHARE);
  if (policy.tips.box && options.box !== false) callable.push('box');
  const tool = describing ? 'describe' : random.pick(callable);
  const tip = describing ? 'describe' : tool === 'box' ? 'box' : undefined;
  const needed = describing ? random.pick(policy.tools).tool : tool === 'box' ? 'attribute' : tool;
  const image = random.int(scenes.length);
  const need = drawArguments(needed, scenes, describing ? random.int(scenes.length) : image, random);
  let decided: CompactGtaCase | undefined;
  if (tool !== 'box') {
    const shown = takesImage(tool) ? sceneValues(scenes[image] as SeenScene) : undefined;
    const cases = policy.tools.find((rules) => rules.tool === tool)?.cases ?? [];
    const reached = cases.filter((own) => allowed(own) && (shown === undefined || imageReaches(own.region, shown)));
    if (reached.length === 0) return undefined;
    decided = random.pick(reached);
  }
  const profile = userIn(decided?.region ?? WHOLE, options.boundary ?? random.chance(BOUNDARY_SHARE), random);
  const history = drawHistory(policy, need, tip, image, scenes, random);
  const base = tip === 'describe' ? describeCall(image) : tip === 'box' ? boxCall(need) : need;
  const gold: CompactGtaCall = { ...base, version: decided?.leaf.version };
  const answer = compactGtaCallText(gold);
  const reasoning = [
    ...(tip === undefined ? [] : ['tip', tip, gold.arguments.image ?? '']),
    ...(decided === undefined ? [] : [wayText(tool as CompactGtaTool, decided)]),
  ].join(' ');
  return {
    query: queryText(policy, profile, need, history), reasoning, response: compactResponse(reasoning, answer), answer,
    gold, tool, tip, leaf: decided?.leaf.id, images: scenes.length, profile,
  };
}

const ATTEMPTS = 64;

/**
 * A random question about one to three scenes: the tool is uniform, then its leaf among those that the image at hand can
 * reach, then a user in that leaf's region. Throws `invalidArgument` for another number of scenes, and `unsatisfiable` when
 * none of the allowed leaves can be reached.
 */
export function compactGtaQuestion(policy: CompactGtaPolicy, scenes: readonly SeenScene[], random: Random, options: CompactGtaQuestionOptions = {}): CompactGtaQuestion {
  if (scenes.length < 1 || scenes.length > COMPACT_GTA_IMAGES.length) {
    throw new DatasetError('invalidArgument', `scenes has ${scenes.length} scenes; pass 1 to ${COMPACT_GTA_IMAGES.length}.`);
  }
  if (options.leaves !== undefined && !policy.tools.some((rules) => rules.cases.some((own) => options.leaves?.has(own.leaf.id)))) {
    throw new DatasetError('invalidArgument', `leaves holds no leaf of policy ${policy.id}; pass ids of its leaves.`);
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const question = drawCompactGta(policy, scenes, random, options);
    if (question !== undefined) return question;
  }
  throw new DatasetError('unsatisfiable', `none of the allowed leaves of policy ${policy.id} was reached with these scenes; allow more leaves or pass other scenes.`);
}

/** What the decisions of a policy say of one user, for training a base to decide. */
export interface CompactGtaDrill {
  /** `policy kavo miru ? user account B credits c600 age a30`. */
  readonly query: string;
  /** In random order, each in the words of a response: `n5 credits c250 ?` and `no n7`. */
  readonly decisions: readonly { readonly asked: string; readonly decided: string }[];
}

/** Of a drill's users, how many have a number that is a threshold of the policy, or the next above it; for each of both numbers. */
const DRILL_EDGES = 0.5;

function decisionsOf(policy: CompactGtaPolicy): CompactGtaDecision[] {
  const below = (node: CompactGtaNode): CompactGtaDecision[] => (node.kind === 'leaf' ? [] : [node, ...below(node.yes), ...below(node.no)]);
  return policy.tools.flatMap((rules) => below(rules.root));
}

/**
 * Every decision of a policy that is about the user, for a random one, on the way of an answer or not. A question shows two or three, and
 * a base that is to follow rules must see many; those about images, which need pictures, are left out.
 */
export function compactGtaDrill(policy: CompactGtaPolicy, random: Random): CompactGtaDrill {
  const decisions = decisionsOf(policy).filter(({ condition }) => condition.kind !== 'image');
  const number = (kind: 'credits' | 'age'): number => {
    const thresholds = decisions.flatMap(({ condition }) => (condition.kind === kind ? [condition.most] : []));
    if (thresholds.length === 0 || !random.chance(DRILL_EDGES)) return random.pick(GRIDS[kind]);
    // A threshold is never the last of its grid: each side of a condition has values.
    return GRIDS[kind][GRIDS[kind].indexOf(random.pick(thresholds)) + random.int(2)] as number;
  };
  const profile: UserProfile = { account_type: random.pick(ACCOUNTS), credits: number('credits'), age: number('age') };
  return {
    query: userText(policy, profile),
    decisions: random.shuffle(decisions).map((node) => {
      const outcome = conditionHolds(node.condition, profile, new Set());
      return { asked: askedText(node), decided: `${outcome ? 'yes' : 'no'} ${(outcome ? node.yes : node.no).id}` };
    }),
  };
}
