/** @file Regions of users and images: where a node's condition cuts them, and which cases a tree makes of them. */
import type { AttributeValue } from '../../clevr/attributes.ts';
import { ATTRIBUTE_VALUES, attributeOf } from '../../clevr/attributes.ts';
import type { UserProfile } from '../policy/types.ts';
import type { CompactGtaCase, CompactGtaCondition, CompactGtaNode, CompactGtaRegion } from './types.ts';
import { ACCOUNTS, AGE_GRID, CREDITS_GRID } from './words.ts';

/** Every user and every image. */
export const WHOLE: CompactGtaRegion = { credits: [0, CREDITS_GRID.length - 1], age: [0, AGE_GRID.length - 1], accounts: ACCOUNTS, shown: new Map() };

export const GRIDS: Readonly<Record<'credits' | 'age', readonly number[]>> = { credits: CREDITS_GRID, age: AGE_GRID };

/** The part of a region where a condition has an outcome; undefined when it is empty. */
export function restrictRegion(region: CompactGtaRegion, condition: CompactGtaCondition, outcome: boolean): CompactGtaRegion | undefined {
  switch (condition.kind) {
    case 'credits':
    case 'age': {
      const cut = GRIDS[condition.kind].indexOf(condition.most);
      const [low, high] = region[condition.kind];
      const range: [number, number] = outcome ? [low, Math.min(high, cut)] : [Math.max(low, cut + 1), high];
      return range[0] > range[1] ? undefined : { ...region, [condition.kind]: range };
    }
    case 'account': {
      const accounts = region.accounts.filter((account) => condition.accounts.includes(account) === outcome);
      return accounts.length === 0 ? undefined : { ...region, accounts };
    }
    case 'image':
      return decidedValue(region, condition.value) === !outcome ? undefined : { ...region, shown: new Map([...region.shown, [condition.value, outcome]]) };
  }
}

/** Whether images of a region show a value: known from a condition, or from all other values of its attribute being absent. */
export function decidedValue(region: CompactGtaRegion, value: AttributeValue): boolean | undefined {
  const known = region.shown.get(value);
  if (known !== undefined) return known;
  return ATTRIBUTE_VALUES[attributeOf(value)].every((other) => other === value || region.shown.get(other) === false) ? true : undefined;
}

/** Whether an image that shows these values can be in a region. */
export function imageReaches(region: CompactGtaRegion, shown: ReadonlySet<AttributeValue>): boolean {
  for (const [value, wanted] of region.shown) if (shown.has(value) !== wanted) return false;
  return true;
}

/** Whether a condition holds for a user and an image. */
export function conditionHolds(condition: CompactGtaCondition, profile: UserProfile, shown: ReadonlySet<AttributeValue>): boolean {
  switch (condition.kind) {
    case 'credits':
    case 'age':
      return profile[condition.kind] <= condition.most;
    case 'account':
      return condition.accounts.includes(profile.account_type);
    case 'image':
      return shown.has(condition.value);
  }
}

/** The leaves of a tree with their ways and regions, depth first. */
export function treeCases(root: CompactGtaNode): CompactGtaCase[] {
  const out: CompactGtaCase[] = [];
  const walk = (node: CompactGtaNode, path: CompactGtaCase['path'], region: CompactGtaRegion): void => {
    if (node.kind === 'leaf') {
      out.push({ leaf: node, path, region });
      return;
    }
    for (const outcome of [true, false]) {
      const part = restrictRegion(region, node.condition, outcome);
      if (part !== undefined) walk(outcome ? node.yes : node.no, [...path, { node, outcome }], part);
    }
  };
  walk(root, [], WHOLE);
  return out;
}
