/**
 * @file Scenes for a chosen leaf. For existence trees the objects are constructed: one witness for each demand that no
 * other witness meets, and fillers from the kinds that no false edge forbids. Nothing is rejected by label.
 */
import type { Random } from '../../core/random.ts';
import { ATTRIBUTE_VALUES, ATTRIBUTES, matches, type Filter, type ObjectType } from '../attributes.ts';
import { allowedTypes, isSatisfiable, type ExistenceDemand } from './possible.ts';
import { leafPaths } from './tree.ts';
import type { PolicyTree } from './types.ts';

/** What the objects of a scene must be for it to reach a leaf of an existence tree. */
export interface LeafDirector {
  readonly demand: ExistenceDemand;
  readonly allowed: readonly ObjectType[];
  readonly witnesses: readonly (readonly ObjectType[])[];
  readonly reachable: boolean;
}

function covers(general: Filter, specific: Filter): boolean {
  return ATTRIBUTES.every((attribute) => general[attribute] === undefined || general[attribute] === specific[attribute]);
}

/** One director for each leaf, in the order of `tree.leaves`. Only for trees of existence conditions. */
export function leafDirectors(tree: PolicyTree): LeafDirector[] {
  return leafPaths(tree).map((path) => {
    const filters = (outcome: boolean): Filter[] =>
      path.flatMap((step) => (step.outcome === outcome && step.node.condition.kind === 'exist' ? [step.node.condition.filter] : []));
    const all = filters(true);
    // A filter that a later, narrower one implies needs no witness of its own.
    const positives = all.filter((filter, i) => !all.some((other, j) => j > i && covers(filter, other)));
    const demand = { positives, negatives: filters(false) };
    const allowed = allowedTypes(demand);
    return {
      demand,
      allowed,
      witnesses: positives.map((filter) => allowed.filter((type) => matches(type, filter))),
      reachable: isSatisfiable(demand),
    };
  });
}

/** Kinds of `count` objects that reach the director's leaf (more, when its witnesses are more). */
export function directTypes(director: LeafDirector, count: number, random: Random): ObjectType[] {
  const chosen: ObjectType[] = [];
  director.demand.positives.forEach((filter, i) => {
    if (!chosen.some((type) => matches(type, filter))) chosen.push(random.pick(director.witnesses[i] as readonly ObjectType[]));
  });
  const witnesses = [...chosen];
  while (chosen.length < count) chosen.push(filler(director, witnesses, random));
  return random.shuffle(chosen);
}

function filler(director: LeafDirector, witnesses: readonly ObjectType[], random: Random): ObjectType {
  const kind = random.float();
  if (kind < 0.3) {
    const near = nearMiss(director, witnesses, random);
    if (near !== undefined) return near;
  } else if (kind < 0.5 && director.witnesses.length > 0) {
    return random.pick(random.pick(director.witnesses));
  }
  return random.pick(director.allowed);
}

/** An allowed kind that differs in one attribute from a witness, or from what a false edge forbids. */
function nearMiss(director: LeafDirector, witnesses: readonly ObjectType[], random: Random): ObjectType | undefined {
  const forbidden = director.demand.negatives;
  const useForbidden = forbidden.length > 0 && (witnesses.length === 0 || random.chance(0.5));
  if (!useForbidden && witnesses.length === 0) return undefined;
  const base = useForbidden ? { ...random.pick(director.allowed), ...random.pick(forbidden) } : random.pick(witnesses);
  const near: ObjectType[] = [];
  for (const attribute of ATTRIBUTES) {
    for (const value of ATTRIBUTE_VALUES[attribute]) {
      if (value === base[attribute]) continue;
      const type = director.allowed.find((item) => ATTRIBUTES.every((a) => item[a] === (a === attribute ? value : base[a])));
      if (type !== undefined) near.push(type);
    }
  }
  return near.length === 0 ? undefined : random.pick(near);
}
