/**
 * @file CLEVR's question programs, run on a scene: all operations of its engine and the template macros.
 * A program is a list of nodes `{type | function, inputs, value_inputs | side_inputs}`; the last node is the answer.
 */
import { DatasetError } from '../../core/error.ts';
import { ATTRIBUTES, type Attribute } from '../attributes.ts';
import { RELATIONS, type Relation, type Scene, type SceneObject } from '../scene/types.ts';

export interface ProgramNode {
  /** The operation; CLEVR v1.0 writes `function`, its generator `type`. */
  readonly type?: string;
  readonly function?: string;
  readonly inputs?: readonly number[];
  readonly value_inputs?: readonly string[];
  readonly side_inputs?: readonly string[];
}

/** An object is its index; a set of objects is an ascending list of indices. */
export type ProgramValue = number | boolean | string | readonly number[];

/** The value of a program in which `unique` met a set whose size is not one (as in CLEVR's engine). */
export const INVALID = '__INVALID__';

function fail(message: string): never {
  throw new DatasetError('invalidProgram', message);
}

/** Runs a program; the values of all nodes, in order. Throws `invalidProgram` that names the node when it is malformed. */
export function runProgram(program: readonly ProgramNode[], scene: Pick<Scene, 'objects' | 'relationships'>): ProgramValue[] {
  const values: ProgramValue[] = [];
  if (program.length === 0) fail('the program is empty; write at least one node.');
  program.forEach((node, position) => {
    const name = node.type ?? node.function ?? '';
    const where = `node ${position} (${name || 'no type'})`;
    const inputs = (node.inputs ?? []).map((i) => {
      const value = values[i];
      if (value === undefined) fail(`${where} takes input ${i}; inputs must name earlier nodes.`);
      return value;
    });
    const side = node.value_inputs ?? node.side_inputs ?? [];
    values.push(inputs.includes(INVALID) ? INVALID : apply(name, inputs, side, scene, where));
  });
  return values;
}

/** The answer of a program: the value of its last node, or {@link INVALID}. */
export function evaluateProgram(program: readonly ProgramNode[], scene: Pick<Scene, 'objects' | 'relationships'>): ProgramValue {
  return runProgram(program, scene).at(-1) as ProgramValue;
}

type Objects = Pick<Scene, 'objects' | 'relationships'>;

function apply(name: string, inputs: readonly ProgramValue[], side: readonly string[], scene: Objects, where: string): ProgramValue {
  const set = (i: number): readonly number[] => {
    const value = inputs[i];
    return typeof value === 'object' ? value : fail(`${where}: input ${i} must be a set of objects, got ${typeof value}.`);
  };
  const integer = (i: number): number => {
    const value = inputs[i];
    return typeof value === 'number' ? value : fail(`${where}: input ${i} must be an object or a number, got ${typeof value}.`);
  };
  const text = (i: number): string => {
    const value = inputs[i];
    return typeof value === 'string' ? value : fail(`${where}: input ${i} must be an attribute value, got ${typeof value}.`);
  };
  const object = (i: number): SceneObject => scene.objects[integer(i)] ?? fail(`${where}: input ${i} is not an object of the scene.`);
  const attribute = (prefix: string): Attribute | undefined =>
    name.startsWith(prefix) ? ATTRIBUTES.find((a) => a === name.slice(prefix.length)) : undefined;

  const filtered = attribute('filter_');
  if (filtered) return keep(scene, set(0), [[filtered, side[0] ?? fail(`${where}: write the value to filter by in value_inputs.`)]]);
  const asked = attribute('query_');
  if (asked) return object(0)[asked];
  const shared = attribute('same_');
  if (shared) {
    const self = integer(0);
    const value = object(0)[shared];
    return scene.objects.flatMap((other, i) => (i !== self && other[shared] === value ? [i] : []));
  }
  if (attribute('equal_')) return text(0) === text(1);

  if (name.startsWith('relate_filter') || name === 'relate') {
    const found = keep(scene, related(scene, integer(0), side[0], where), mentioned(side.slice(1)));
    return tail(name.slice('relate_filter'.length), found);
  }
  if (['filter', 'filter_unique', 'filter_count', 'filter_exist'].includes(name)) {
    return tail(name.slice('filter'.length), keep(scene, set(0), mentioned(side)));
  }
  switch (name) {
    case 'scene':
      return scene.objects.map((_, i) => i);
    case 'unique':
      return tail('_unique', set(0));
    case 'count':
      return set(0).length;
    case 'exist':
      return set(0).length > 0;
    case 'union':
      return [...new Set([...set(0), ...set(1)])].toSorted((a, b) => a - b);
    case 'intersect':
      return set(0).filter((i) => set(1).includes(i));
    case 'equal_integer':
    case 'equal_object':
      return integer(0) === integer(1);
    case 'less_than':
      return integer(0) < integer(1);
    case 'greater_than':
      return integer(0) > integer(1);
    default:
      return fail(`${where}: this is not an operation of CLEVR.`);
  }
}

function tail(name: string, set: readonly number[]): ProgramValue {
  if (name === '_unique') return set.length === 1 ? (set[0] as number) : INVALID;
  if (name === '_count') return set.length;
  if (name === '_exist') return set.length > 0;
  return set;
}

function keep(scene: Objects, set: readonly number[], wanted: readonly (readonly [Attribute, string])[]): number[] {
  return set.filter((i) => wanted.every(([attribute, value]) => scene.objects[i]?.[attribute] === value));
}

/** Values of a macro in the order size, colour, material, shape; empty ones are not mentioned. */
function mentioned(values: readonly string[]): [Attribute, string][] {
  return ATTRIBUTES.flatMap((attribute, i): [Attribute, string][] => {
    const value = values[i];
    return value === undefined || value === '' || value === 'thing' ? [] : [[attribute, value]];
  });
}

function related(scene: Objects, index: number, relation: string | undefined, where: string): readonly number[] {
  const name = RELATIONS.find((r): r is Relation => r === relation) ?? fail(`${where}: relation is ${String(relation)}; write one of ${RELATIONS.join(', ')}.`);
  return scene.relationships[name][index] ?? fail(`${where}: input 0 is not an object of the scene.`);
}
