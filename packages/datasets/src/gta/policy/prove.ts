/**
 * @file Proof that a rule list decides every case exactly once. Every choice of a bullet is a box in the space of the
 * fields. Boxes that are pairwise disjoint and whose volumes sum to that of the space cover it: exact, in integers.
 */
import { DatasetError } from '../../core/error.ts';
import { FIELDS, type Field, type GtaRules, type Restriction } from './types.ts';

/** One choice of one bullet as a box. */
export interface RuleBox {
  readonly bullet: string;
  readonly choice: number;
  readonly name: string;
  readonly when: readonly Restriction[];
}

export interface RuleProof {
  readonly tools: readonly { readonly tool: string; readonly boxes: number; readonly names: readonly string[]; readonly volume: number }[];
  readonly bullets: number;
  readonly boxes: number;
  /** Mean number of restrictions of a box. */
  readonly literals: number;
}

/** The boxes of a tool. */
export function ruleBoxes(rules: GtaRules, tool: string): RuleBox[] {
  return rules.bullets
    .filter((bullet) => bullet.tool === tool)
    .flatMap((bullet) => bullet.choices.map((choice, i) => ({ bullet: bullet.id, choice: i, name: choice.name, when: [...bullet.when, ...choice.when] })));
}

function domain(name: string): Field {
  const field = FIELDS.find((f) => f.name === name);
  if (!field) throw new DatasetError('invalidArgument', `a rule reads the field ${JSON.stringify(name)}; use one of ${FIELDS.map((f) => f.name).join(', ')}.`);
  return field;
}

/** How many values of a field a box admits, and whether two boxes share one. */
function admitted(field: Field, box: RuleBox): { low: number; high: number } | readonly string[] {
  if (field.kind === 'number') {
    let { low, high } = field;
    for (const r of box.when) {
      if (r.field !== field.name || 'values' in r) continue;
      low = Math.max(low, r.low);
      high = Math.min(high, r.high);
    }
    return { low, high };
  }
  return field.values.filter((value) => box.when.every((r) => r.field !== field.name || !('values' in r) || r.values.includes(value)));
}

function isChoice(value: { low: number; high: number } | readonly string[]): value is readonly string[] {
  return Array.isArray(value);
}

function size(value: { low: number; high: number } | readonly string[]): number {
  return isChoice(value) ? value.length : Math.max(0, value.high - value.low + 1);
}

function meet(a: { low: number; high: number } | readonly string[], b: { low: number; high: number } | readonly string[]): boolean {
  if (isChoice(a)) return isChoice(b) && a.some((value) => b.includes(value));
  return !isChoice(b) && Math.max(a.low, b.low) <= Math.min(a.high, b.high);
}

/** Proves that each tool's rules are complete and without overlap; throws `invalidArgument` that names the rules at fault. */
export function proveRules(rules: GtaRules): RuleProof {
  const tools = [...new Set(rules.bullets.map((bullet) => bullet.tool))];
  let literals = 0;
  const report = tools.map((tool) => {
    const boxes = ruleBoxes(rules, tool);
    const fields = [...new Set(boxes.flatMap((box) => box.when.map((r) => r.field)))].map(domain);
    const extents = boxes.map((box) => fields.map((field) => admitted(field, box)));
    boxes.forEach((box, i) => {
      literals += box.when.length;
      if ((extents[i] as (typeof extents)[number]).some((extent) => size(extent) === 0)) {
        throw new DatasetError('invalidArgument', `rule ${box.bullet} (${box.name}) can never apply; its restrictions contradict each other.`);
      }
      for (let j = 0; j < i; j++) {
        if (fields.every((_, f) => meet(extents[i]?.[f] as readonly string[], extents[j]?.[f] as readonly string[]))) {
          throw new DatasetError('invalidArgument', `rules ${boxes[j]?.bullet} and ${box.bullet} both apply in some case; make them exclude each other.`);
        }
      }
    });
    const covered = extents.reduce((sum, extent) => sum + extent.reduce((product, e) => product * size(e), 1), 0);
    const whole = fields.reduce((product, field) => product * (field.kind === 'number' ? field.high - field.low + 1 : field.values.length), 1);
    if (covered !== whole) {
      throw new DatasetError('invalidArgument', `the rules of ${tool} decide ${covered} of ${whole} cases; add rules for the others.`);
    }
    return { tool, boxes: boxes.length, names: [...new Set(boxes.map((box) => box.name))].toSorted(), volume: whole };
  });
  const boxes = report.reduce((sum, tool) => sum + tool.boxes, 0);
  return { tools: report, bullets: rules.bullets.length + rules.tips.length, boxes, literals: literals / boxes };
}
