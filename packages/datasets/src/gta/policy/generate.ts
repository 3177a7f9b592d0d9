/**
 * @file Further policies of graded size. The rules of each tool are the leaves of a random partition of the space of the
 * fields, so they are complete and disjoint by construction; proveRules checks it all the same.
 */
import { requireInteger, requireOneOf } from '../../core/error.ts';
import { randomStream, type Random, type StreamKey } from '../../core/random.ts';
import { policyDocument } from './text.ts';
import { TIPS } from './paper.ts';
import { proveRules } from './prove.ts';
import { FIELDS, type Field, type GtaRules, type Restriction, type RuleBullet } from './types.ts';

const VERSIONED = ['OCR', 'ImageDescription', 'CountGivenObject', 'GoogleSearch', 'TextToImage', 'RegionAttributeDescription', 'ImageStylization'] as const;
const BASE = ['account_type', 'credits', 'age'] as const;
const EXTENDED = ['hour', 'membership', 'region', 'device'] as const;

export interface GenerateRulesOptions {
  readonly seed: StreamKey;
  /** small: about 8 rules; medium: about the paper's 24; large: about 70, over seven profile fields. */
  readonly size?: 'small' | 'medium' | 'large';
  /** Rules are added until the policy document has about this many tokens (characters / 4); up to 50,000. */
  readonly tokens?: number;
}

type Box = ReadonlyMap<string, Restriction>;

function splitField(field: Field, current: Restriction | undefined, random: Random): [Restriction, Restriction] | undefined {
  if (field.kind === 'choice') {
    const values = current && 'values' in current ? current.values : field.values;
    if (values.length < 2) return undefined;
    const mixed = random.shuffle(values);
    const cut = random.between(1, values.length - 1);
    const side = (part: readonly string[]): Restriction => ({ field: field.name, values: field.values.filter((value) => part.includes(value)) });
    return [side(mixed.slice(0, cut)), side(mixed.slice(cut))];
  }
  const low = current && 'low' in current ? current.low : field.low;
  const high = current && 'low' in current ? current.high : field.high;
  if (high - low < 3) return undefined;
  const step = field.name === 'credits' && high - low > 60 ? 25 : 1;
  const cut = Math.min(high, Math.max(low + 1, Math.floor(random.range(low + (high - low) * 0.2, low + (high - low) * 0.8) / step) * step));
  return [{ field: field.name, low, high: cut - 1 }, { field: field.name, low: cut, high }];
}

function partition(fields: readonly Field[], count: number, random: Random): Box[] {
  const boxes: Box[] = [new Map()];
  for (let tries = 0; boxes.length < count && tries < 50 * count; tries++) {
    const index = random.int(boxes.length);
    const box = boxes[index] as Box;
    const field = random.pick(fields);
    const parts = splitField(field, box.get(field.name), random);
    if (!parts) continue;
    boxes.splice(index, 1, ...parts.map((part) => new Map([...box, [field.name, part]])));
  }
  return boxes;
}

const NUMBER_PHRASES: readonly ((name: string, low: number, high: number, field: { low: number; high: number }) => string)[] = [
  (name, low, high, f) => (low === f.low ? `${name} <= ${high}` : high === f.high ? `${name} > ${low - 1}` : `${low - 1} < ${name} <= ${high}`),
  (name, low, high, f) => (low === f.low ? `${name} < ${high + 1}` : high === f.high ? `${name} >= ${low}` : `${low} <= ${name} < ${high + 1}`),
  (name, low, high, f) => (low === f.low ? `${name} is at most ${high}` : high === f.high ? `${name} is at least ${low}` : `${name} is between ${low} and ${high}, both included`),
];

function restrictionText(r: Restriction, random: Random): string {
  if ('values' in r) return r.values.length === 1 ? `${r.field} is ${r.values[0]}` : `${r.field} is in [${r.values.join(', ')}]`;
  const field = FIELDS.find((f) => f.name === r.field);
  const bounds = field?.kind === 'number' ? field : { low: r.low, high: r.high };
  return random.pick(NUMBER_PHRASES)(r.field, r.low, r.high, bounds);
}

function toolBullets(tool: string, fields: readonly Field[], count: number, random: Random): { bullets: RuleBullet[]; versions: number } {
  const boxes = partition(fields, count, random);
  const names = random.shuffle(boxes.map((_, i) => `${tool}_v${i + 1}`));
  const maths: Restriction[] = tool === 'OCR' ? [{ field: 'hasMath', values: ['no'] }] : [];
  const bullets = boxes.map((box, i): RuleBullet => {
    const when = [...box.values()];
    const name = names[i] as string;
    const conditions = when.map((r) => restrictionText(r, random)).join(' and ');
    return {
      id: `${tool}.${i + 1}`, tool, when: [...maths, ...when], choices: [{ when: [], name }],
      text: when.length === 0 ? `Always use ${name}.` : `${random.pick(['If', 'When', 'In case'])} ${conditions}, ${random.pick(['use', 'call', 'choose'])} ${name}.`,
    };
  });
  if (tool === 'OCR') {
    bullets.push({
      id: `OCR.${boxes.length + 1}`, tool, when: [{ field: 'hasMath', values: ['yes'] }], choices: [{ when: [], name: 'MathOCR' }],
      text: 'If the image contains mathematical expressions, use MathOCR instead of any OCR version.',
    });
  }
  return { bullets, versions: boxes.length };
}

function build(options: GenerateRulesOptions, perTool: number, tools: readonly string[], fields: readonly Field[]): GtaRules {
  const random = randomStream(options.seed, 'gtaRules', perTool, tools.length);
  const bullets: RuleBullet[] = [];
  const versions: Record<string, number> = {};
  for (const tool of random.shuffle(tools)) {
    const count = perTool <= 3 ? perTool : random.between(Math.max(2, Math.floor(perTool * 0.8)), Math.floor(perTool * 1.2));
    const own = toolBullets(tool, fields, count, random);
    bullets.push(...own.bullets);
    versions[tool] = own.versions;
  }
  for (const tool of VERSIONED) {
    if (versions[tool] !== undefined) continue;
    bullets.push(...toolBullets(tool, [], 1, random).bullets);
    versions[tool] = 1;
  }
  return { id: `generated-${String(options.seed)}-${perTool}`, bullets, tips: TIPS, fields: fields.map((field) => field.name), versions };
}

const named = (names: readonly string[]): Field[] => FIELDS.filter((field) => names.includes(field.name));

/** A random policy, proved complete and without overlap. Throws `invalidArgument` for a bad option. */
export function generateRules(options: GenerateRulesOptions): GtaRules {
  const size = requireOneOf('size', options.size ?? 'medium', ['small', 'medium', 'large']);
  let rules: GtaRules;
  if (options.tokens === undefined) {
    const [perTool, tools, fields] =
      size === 'small' ? [2, VERSIONED.slice(0, 3), named(BASE)] as const
      : size === 'medium' ? [3, VERSIONED, named(BASE)] as const
      : [10, VERSIONED, named([...BASE, ...EXTENDED])] as const;
    rules = build(options, perTool, tools, fields);
  } else {
    const tokens = requireInteger('tokens', options.tokens, 1500, 60000);
    const fields = named([...BASE, ...EXTENDED]);
    // A rule is about 30 tokens: start there, then correct by what was measured.
    let perTool = Math.max(2, Math.floor((tokens - 1300) / (30 * VERSIONED.length)));
    rules = build(options, perTool, VERSIONED, fields);
    for (let i = 0; i < 6; i++) {
      const ratio = tokens / (policyDocument(rules).length / 4);
      if (Math.abs(ratio - 1) < 0.04) break;
      perTool = Math.max(2, Math.floor(perTool * ratio + 0.5));
      rules = build(options, perTool, VERSIONED, fields);
    }
  }
  proveRules(rules);
  return rules;
}
