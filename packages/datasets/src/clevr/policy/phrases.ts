/** @file Conditions in English, as statements about the image. */
import { filterPhrase, type Filter } from '../attributes.ts';
import type { Relation } from '../scene/types.ts';
import type { Condition, Extreme } from './types.ts';

export const RELATION_WORDS: Readonly<Record<Relation, string>> = {
  left: 'to the left of',
  right: 'to the right of',
  front: 'in front of',
  behind: 'behind',
};

export const EXTREME_WORDS: Readonly<Record<Extreme, string>> = {
  leftmost: 'leftmost object',
  rightmost: 'rightmost object',
  closest: 'object closest to the camera',
  farthest: 'object farthest from the camera',
};

const many = (filter: Filter): string => filterPhrase(filter, true);
const one = (filter: Filter): string => {
  const phrase = filterPhrase(filter, false);
  return (/^[aeiou]/.test(phrase) ? 'an ' : 'a ') + phrase;
};

/** What follows "Check if": for example `the image contains any small cyan objects`. */
export function conditionPhrase(condition: Condition): string {
  switch (condition.kind) {
    case 'exist':
      return `the image contains any ${many(condition.filter)}`;
    case 'count': {
      const amount = { atLeast: 'at least', exactly: 'exactly', fewer: 'fewer than' }[condition.compare];
      return `the image contains ${amount} ${condition.k} ${filterPhrase(condition.filter, condition.k !== 1)}`;
    }
    case 'more':
      return `the image contains more ${many(condition.a)} than ${many(condition.b)}`;
    case 'even':
      return `the number of ${many(condition.filter)} in the image is even (zero is even)`;
    case 'extreme':
      return `the ${EXTREME_WORDS[condition.extreme]} is ${condition.attribute === 'shape' ? 'a ' : ''}${condition.value}`;
    case 'relation':
      return `${one(condition.a)} is ${RELATION_WORDS[condition.relation]} ${one(condition.b)}`;
    case 'same':
      return `another object has the same ${condition.attribute} as the ${EXTREME_WORDS[condition.extreme]}`;
    case 'pair':
      return `two ${many(condition.filter)} have the same ${condition.attribute}`;
    case 'all':
      return `all ${many(condition.filter)} have the same ${condition.attribute} (also when there are fewer than two)`;
    default:
      return condition satisfies never;
  }
}
