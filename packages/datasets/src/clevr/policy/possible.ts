/** @file Which of the 96 kinds of object a path of existence tests leaves open. */
import { matches, OBJECT_TYPES, type Filter, type ObjectType } from '../attributes.ts';

/** What a path demands: some object for each positive filter, no object for any negative one. */
export interface ExistenceDemand {
  readonly positives: readonly Filter[];
  readonly negatives: readonly Filter[];
}

/** The kinds of object that a scene may hold: those that no negative filter matches. */
export function allowedTypes(demand: ExistenceDemand): ObjectType[] {
  return OBJECT_TYPES.filter((type) => !demand.negatives.some((filter) => matches(type, filter)));
}

/** Whether some scene meets the demand. */
export function isSatisfiable(demand: ExistenceDemand): boolean {
  const allowed = allowedTypes(demand);
  return allowed.length > 0 && demand.positives.every((filter) => allowed.some((type) => matches(type, filter)));
}
