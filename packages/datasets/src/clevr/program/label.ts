/**
 * @file The second opinion on every label: conditions written as CLEVR programs and run by the program engine, extremes
 * read off the relation lists. Shares no code with evaluate.ts.
 */
import { ATTRIBUTE_VALUES, ATTRIBUTES, type Filter } from '../attributes.ts';
import type { Scene, Relation } from '../scene/types.ts';
import { caseAnswer, type Condition, type Extreme, type PolicyTree, type TreeNode } from '../policy/types.ts';
import { evaluateProgram, type ProgramNode } from './run.ts';

type Objects = Pick<Scene, 'objects' | 'relationships'>;

function filterNodes(filter: Filter, first: number): ProgramNode[] {
  const nodes: ProgramNode[] = [];
  for (const attribute of ATTRIBUTES) {
    const value = filter[attribute];
    if (value !== undefined) nodes.push({ type: `filter_${attribute}`, inputs: [first + nodes.length - 1], value_inputs: [value] });
  }
  return nodes;
}

/** `scene`, the filters in CLEVR's order, and a tail such as `exist` or `count`. */
export function filterProgram(filter: Filter, tail: 'exist' | 'count'): ProgramNode[] {
  const nodes: ProgramNode[] = [{ type: 'scene', inputs: [] }, ...filterNodes(filter, 1)];
  return [...nodes, { type: tail, inputs: [nodes.length - 1] }];
}

const count = (filter: Filter, scene: Objects): number => evaluateProgram(filterProgram(filter, 'count'), scene) as number;

const side = (filter: Filter): string[] => ATTRIBUTES.map((attribute) => filter[attribute] ?? '');

/** Margins between objects exceed the threshold of relations, so nothing lies left of the leftmost object. */
function extremeIndex(extreme: Extreme, scene: Objects): number {
  const relation: Relation = ({ leftmost: 'left', rightmost: 'right', closest: 'front', farthest: 'behind' } as const)[extreme];
  return scene.relationships[relation].findIndex((others) => others.length === 0);
}

function holds(condition: Condition, scene: Objects): boolean {
  switch (condition.kind) {
    case 'exist':
      return evaluateProgram(filterProgram(condition.filter, 'exist'), scene) === true;
    case 'count': {
      const n = count(condition.filter, scene);
      return { atLeast: n >= condition.k, exactly: n === condition.k, fewer: n < condition.k }[condition.compare];
    }
    case 'more':
      return count(condition.a, scene) > count(condition.b, scene);
    case 'even':
      return count(condition.filter, scene) % 2 === 0;
    case 'extreme':
      return scene.objects[extremeIndex(condition.extreme, scene)]?.[condition.attribute] === condition.value;
    case 'relation': {
      const members = evaluateProgram([{ type: 'scene' }, { type: 'filter', inputs: [0], side_inputs: side(condition.b) }], scene) as readonly number[];
      return members.some((i) => (scene.relationships[condition.relation][i] ?? []).some((j) => ATTRIBUTES.every((a) => (condition.a[a] ?? scene.objects[j]?.[a]) === scene.objects[j]?.[a])));
    }
    case 'same': {
      const value = scene.objects[extremeIndex(condition.extreme, scene)]?.[condition.attribute];
      return value !== undefined && count({ [condition.attribute]: value }, scene) >= 2;
    }
    case 'pair':
    case 'all': {
      const counts = ATTRIBUTE_VALUES[condition.attribute].map((value) => count({ ...condition.filter, [condition.attribute]: value }, scene));
      return condition.kind === 'pair' ? counts.some((n) => n >= 2) : counts.filter((n) => n > 0).length <= 1;
    }
    default:
      return condition satisfies never;
  }
}

/** The answer of a tree by CLEVR programs. */
export function labelByProgram(tree: Pick<PolicyTree, 'root'>, scene: Objects): string {
  let node: TreeNode = tree.root;
  while (node.kind === 'decision') node = holds(node.condition, scene) ? node.yes : node.no;
  return caseAnswer(node);
}
