/** @file Policies of compact GTAPolicy: their text, random ones, and those made from rules such as the paper's. */
import { DatasetError, requireInteger } from '../../core/error.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import type { AttributeValue } from '../../clevr/attributes.ts';
import { compactName } from '../../clevr/policy/names.ts';
import { PAPER_RULES } from '../policy/paper.ts';
import { proveRules, ruleBoxes, type RuleBox } from '../policy/prove.ts';
import type { GtaRules, UserProfile } from '../policy/types.ts';
import { conditionHolds, decidedValue, GRIDS, restrictRegion, treeCases, WHOLE } from './region.ts';
import type { CompactGtaCase, CompactGtaCondition, CompactGtaNode, CompactGtaPolicy, CompactGtaRegion, CompactGtaRules } from './types.ts';
import {
  ACCOUNTS, COMPACT_GTA_IDS, COMPACT_GTA_TOOLS, COMPACT_GTA_TYPES, COMPACT_GTA_VERSIONS, IMAGE_VALUES, MATH_WORD, takesImage, type CompactGtaTool,
} from './words.ts';

/** What an image shows where the paper asks for mathematical expressions: two in five tiny scenes have it. */
export const COMPACT_MATH_VALUE: AttributeValue = 'red';

export interface SampleCompactGtaOptions {
  readonly seed: StreamKey;
  /** How many of the seven tools, drawn at random; all by default. */
  readonly tools?: number;
  /** Most conditions on the way to a version, 1 to 4; 3 by default. Many tools have smaller trees: a policy has at most 96 nodes. */
  readonly depth?: number;
  /** Whether conditions may be about the image at hand; true by default. */
  readonly images?: boolean;
  /** Both tips (where the policy has their tools), or none; by default each one by chance. */
  readonly tips?: boolean;
}

/** A tree before ids are given. */
type Shape = { readonly version: string } | { readonly condition: CompactGtaCondition; readonly yes: Shape; readonly no: Shape };

/** `credits c250`, `account A C`, `image metal`: the words of a condition in policies and in reasoning. */
export function conditionWords(condition: CompactGtaCondition): string[] {
  switch (condition.kind) {
    case 'credits':
      return ['credits', `c${condition.most}`];
    case 'age':
      return ['age', `a${condition.most}`];
    case 'account':
      return ['account', ...condition.accounts];
    case 'image':
      return ['image', condition.value];
  }
}

/** `policy kavo miru : ocr n5 ; n5 credits c250 n6 n7 ; n6 v3 ; ... tip describe ;` */
function policyWords(policy: Omit<CompactGtaPolicy, 'text'>): string[] {
  const words = ['policy', ...policy.name.split(' '), ':'];
  const walk = (node: CompactGtaNode): void => {
    if (node.kind === 'leaf') {
      words.push(node.id, node.version, ';');
      return;
    }
    words.push(node.id, ...conditionWords(node.condition), node.yes.id, node.no.id, ';');
    walk(node.yes);
    walk(node.no);
  };
  for (const { tool, root } of policy.tools) {
    words.push(tool, root.id, ';');
    walk(root);
  }
  if (policy.tips.describe) words.push('tip', 'describe', ';');
  if (policy.tips.box) words.push('tip', 'box', ';');
  return words;
}

function countNodes(shape: Shape): number {
  return 'version' in shape ? 1 : 1 + countNodes(shape.yes) + countNodes(shape.no);
}

function assemble(id: string, shapes: readonly (readonly [CompactGtaTool, Shape])[], tips: CompactGtaPolicy['tips'], random: Random): CompactGtaPolicy {
  const nodes = shapes.reduce((sum, [, shape]) => sum + countNodes(shape), 0);
  if (nodes > COMPACT_GTA_IDS) throw new DatasetError('invalidArgument', `policy ${id} has ${nodes} nodes, and there are words for ${COMPACT_GTA_IDS}; use fewer or shorter rules.`);
  const name = compactName(random);
  const ids = random.shuffle(Array.from({ length: COMPACT_GTA_IDS }, (_, i) => `n${i}`));
  const label = (shape: Shape): CompactGtaNode => {
    const node = ids.pop() as string;
    return 'version' in shape ? { kind: 'leaf', id: node, version: shape.version } : { kind: 'decision', id: node, condition: shape.condition, yes: label(shape.yes), no: label(shape.no) };
  };
  const tools = random.shuffle(shapes).map(([tool, shape]): CompactGtaRules => {
    const root = label(shape);
    return { tool, root, cases: treeCases(root) };
  });
  const policy = { id, name, tools, tips };
  return { ...policy, text: policyWords(policy).join(' ') };
}

/** A condition that leaves neither side of a region empty; undefined when there is none. */
function drawCondition(region: CompactGtaRegion, images: boolean, random: Random): CompactGtaCondition | undefined {
  const values = images ? IMAGE_VALUES.filter((value) => decidedValue(region, value) === undefined) : [];
  const kinds = (['credits', 'age', 'account', 'image'] as const).filter((kind) =>
    kind === 'image' ? values.length > 0 : kind === 'account' ? region.accounts.length > 1 : region[kind][0] < region[kind][1],
  );
  if (kinds.length === 0) return undefined;
  const kind = random.pick(kinds);
  switch (kind) {
    case 'image':
      return { kind, value: random.pick(values) };
    case 'account': {
      const part = random.sample(region.accounts, random.between(1, region.accounts.length - 1));
      return { kind, accounts: ACCOUNTS.filter((account) => part.includes(account)) };
    }
    default: {
      const [low, high] = region[kind];
      return { kind, most: GRIDS[kind][low + Math.floor((high - low) * random.range(0.2, 0.8))] as number };
    }
  }
}

function grow(region: CompactGtaRegion, leaves: number, depth: number, images: boolean, random: Random, versions: string[]): Shape {
  const condition = leaves === 1 ? undefined : drawCondition(region, images, random);
  const yes = condition && restrictRegion(region, condition, true);
  const no = condition && restrictRegion(region, condition, false);
  if (condition === undefined || yes === undefined || no === undefined) return { version: versions.pop() as string };
  const most = 2 ** (depth - 1);
  const left = random.between(Math.max(1, leaves - most), Math.min(leaves - 1, most));
  return { condition, yes: grow(yes, left, depth - 1, images, random, versions), no: grow(no, leaves - left, depth - 1, images, random, versions) };
}

/**
 * A random policy: for each tool a tree that every user and image goes through on exactly one way, with the versions v1 to
 * vK in random order at its K leaves. Throws `invalidArgument` for a bad option.
 */
export function sampleCompactGta(options: SampleCompactGtaOptions): CompactGtaPolicy {
  const count = requireInteger('tools', options.tools ?? COMPACT_GTA_TOOLS.length, 1, COMPACT_GTA_TOOLS.length);
  const depth = requireInteger('depth', options.depth ?? 3, 1, 4);
  const images = options.images ?? true;
  const random = randomStream(options.seed, 'compactGta', count, depth, images ? 1 : 0);
  const tools = random.sample(COMPACT_GTA_TOOLS, count);
  const most = Math.min(2 ** depth, Math.floor((Math.floor(COMPACT_GTA_IDS / count) + 1) / 2));
  const shapes = tools.map((tool) => {
    const leaves = random.between(2, most);
    const versions = random.shuffle(Array.from({ length: leaves }, (_, i) => `v${i + 1}`));
    return [tool, grow(WHOLE, leaves, depth, images && takesImage(tool), random, versions)] as const;
  });
  const tip = (tool: CompactGtaTool): boolean => {
    const drawn = random.chance(0.5);
    return tools.includes(tool) && (options.tips ?? drawn);
  };
  const tips = { describe: tip('describe'), box: tip('attribute') };
  return assemble(`gta-${String(options.seed)}-${count}-${depth}`, shapes, tips, random);
}

interface RegionBox {
  readonly region: CompactGtaRegion;
  readonly version: string;
}

/** A rule's box on the grid; undefined when no value of the grid is in it. */
function gridBox(box: RuleBox, tool: CompactGtaTool): RegionBox | undefined {
  let region: CompactGtaRegion | undefined = WHOLE;
  const narrow = (condition: CompactGtaCondition, outcome: boolean): void => {
    region = region && restrictRegion(region, condition, outcome);
  };
  for (const r of box.when) {
    if ('values' in r && r.field === 'account_type') narrow({ kind: 'account', accounts: ACCOUNTS.filter((account) => r.values.includes(account)) }, true);
    else if ('values' in r && r.field === 'hasMath' && takesImage(tool)) {
      if (r.values.length === 1) narrow({ kind: 'image', value: COMPACT_MATH_VALUE }, r.values[0] === 'yes');
    } else if ('low' in r && (r.field === 'credits' || r.field === 'age')) {
      const below = GRIDS[r.field].filter((value) => value < r.low).at(-1);
      const most = GRIDS[r.field].filter((value) => value <= r.high).at(-1);
      if (below !== undefined) narrow({ kind: r.field, most: below }, false);
      if (most === undefined) return undefined;
      narrow({ kind: r.field, most }, true);
    } else {
      throw new DatasetError('invalidArgument', `rule ${box.bullet} reads ${r.field}, which compact ${tool} rules have no words for; use rules over account_type, credits and age.`);
    }
  }
  const version = box.name === 'MathOCR' ? MATH_WORD : `v${/_v(\d+)$/.exec(box.name)?.[1] ?? 1}`;
  if (Number(version.slice(1)) > COMPACT_GTA_VERSIONS) throw new DatasetError('invalidArgument', `${box.name} has no word; use at most ${COMPACT_GTA_VERSIONS} versions of a tool.`);
  return region && { region, version };
}

function meets(a: CompactGtaRegion, b: CompactGtaRegion): boolean {
  const apart = (['credits', 'age'] as const).some((kind) => Math.max(a[kind][0], b[kind][0]) > Math.min(a[kind][1], b[kind][1]));
  return !apart && a.accounts.some((account) => b.accounts.includes(account)) && [...a.shown].every(([value, shown]) => decidedValue(b, value) !== !shown);
}

/** The conditions that separate a box from the rest of a region. */
function faces(box: CompactGtaRegion, region: CompactGtaRegion): CompactGtaCondition[] {
  const out: CompactGtaCondition[] = [];
  for (const kind of ['credits', 'age'] as const) {
    const [low, high] = region[kind];
    if (box[kind][0] > low) out.push({ kind, most: GRIDS[kind][box[kind][0] - 1] as number });
    if (box[kind][1] < high) out.push({ kind, most: GRIDS[kind][box[kind][1]] as number });
  }
  const accounts = region.accounts.filter((account) => box.accounts.includes(account));
  if (accounts.length < region.accounts.length) out.push({ kind: 'account', accounts });
  for (const value of box.shown.keys()) if (decidedValue(region, value) === undefined) out.push({ kind: 'image', value });
  return out;
}

/** A tree for disjoint boxes that cover a region: each split cuts as few boxes as it can, then halves them. */
function treeOfBoxes(boxes: readonly RegionBox[], region: CompactGtaRegion): Shape {
  const { version } = boxes[0] as RegionBox;
  if (boxes.every((box) => box.version === version)) return { version };
  interface Split { readonly cost: number; readonly condition: CompactGtaCondition; readonly parts: readonly (readonly [RegionBox[], CompactGtaRegion])[] }
  let best: Split | undefined;
  for (const condition of boxes.flatMap((box) => faces(box.region, region))) {
    const parts = [true, false].map((outcome) => {
      const part = restrictRegion(region, condition, outcome) as CompactGtaRegion;
      return [boxes.filter((box) => meets(box.region, part)), part] as const;
    });
    const [yes, no] = parts.map(([inside]) => inside.length) as [number, number];
    const cost = (yes + no - boxes.length) * boxes.length + Math.abs(yes - no);
    if (best === undefined || cost < best.cost) best = { cost, condition, parts };
  }
  // Of two disjoint boxes in a region, one has a face inside it.
  const { condition, parts } = best as Split;
  const [yes, no] = parts.map(([inside, part]) => treeOfBoxes(inside, part)) as [Shape, Shape];
  return { condition, yes, no };
}

/**
 * A policy from rules over account type, credits, age and the image. Bounds between two values of a grid become the lower one;
 * mathematics in an image becomes an object of {@link COMPACT_MATH_VALUE}. Throws `invalidArgument` for rules
 * that leave gaps or overlap, and for those without compact words.
 */
export function compactGtaFromRules(rules: GtaRules, seed: StreamKey = 0): CompactGtaPolicy {
  proveRules(rules);
  const shapes = COMPACT_GTA_TOOLS.flatMap((tool) => {
    const boxes = ruleBoxes(rules, COMPACT_GTA_TYPES[tool]).flatMap((box) => gridBox(box, tool) ?? []);
    return boxes.length === 0 ? [] : [[tool, treeOfBoxes(boxes, WHOLE)] as const];
  });
  if (shapes.length === 0) throw new DatasetError('invalidArgument', `policy ${rules.id} has rules for none of ${Object.values(COMPACT_GTA_TYPES).join(', ')}; add some.`);
  const tip = (kind: string, tool: CompactGtaTool): boolean => rules.tips.some((t) => t.kind === kind) && shapes.some(([own]) => own === tool);
  return assemble(`gta-${rules.id}`, shapes, { describe: tip('describeFirst', 'describe'), box: tip('bboxFirst', 'attribute') }, randomStream(seed, 'compactGtaRules', rules.id));
}

/** The paper's policy in compact words; the seed draws name, ids and order of the tools. */
export function compactPaperGta(seed: StreamKey = 0): CompactGtaPolicy {
  return compactGtaFromRules(PAPER_RULES, seed);
}

/** The case of a tool that a user and an image fall in; undefined when the policy lacks the tool. */
export function resolveCompactGta(policy: CompactGtaPolicy, tool: CompactGtaTool, profile: UserProfile, shown: ReadonlySet<AttributeValue>): CompactGtaCase | undefined {
  const rules = policy.tools.find((own) => own.tool === tool);
  return rules?.cases.find(({ path }) => path.every(({ node, outcome }) => conditionHolds(node.condition, profile, shown) === outcome));
}
