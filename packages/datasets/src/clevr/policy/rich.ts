/** @file Conditions beyond existence: counts, comparisons, extremes, relations, shared attributes. */
import type { Random } from '../../core/random.ts';
import { ATTRIBUTE_VALUES, ATTRIBUTES, type Attribute, type Filter } from '../attributes.ts';
import { RELATIONS } from '../scene/types.ts';
import { EXTREMES, type Condition } from './types.ts';

const LIGHT: readonly Attribute[] = ['size', 'material', 'shape'];

function lightFilter(random: Random): Filter {
  const attribute = random.pick(LIGHT);
  return { [attribute]: random.pick(ATTRIBUTE_VALUES[attribute]) };
}

function filterOf(random: Random, attributes: number): Filter {
  return Object.fromEntries(random.sample(ATTRIBUTES, attributes).map((attribute) => [attribute, random.pick(ATTRIBUTE_VALUES[attribute])]));
}

/** A random condition; the kinds are equally likely. */
export function sampleRichCondition(random: Random): Condition {
  const kind = random.pick(['exist', 'count', 'more', 'even', 'extreme', 'relation', 'same', 'pair', 'all'] as const);
  switch (kind) {
    case 'exist':
      return { kind, filter: filterOf(random, random.between(1, 2)) };
    case 'count': {
      const compare = random.pick(['atLeast', 'exactly', 'fewer'] as const);
      return { kind, filter: lightFilter(random), compare, k: compare === 'exactly' ? random.between(1, 2) : random.between(2, 3) };
    }
    case 'more': {
      const attribute = random.pick(LIGHT);
      const [a, b] = random.sample(ATTRIBUTE_VALUES[attribute], 2);
      return { kind, a: { [attribute]: a }, b: { [attribute]: b } };
    }
    case 'even':
      return { kind, filter: lightFilter(random) };
    case 'extreme': {
      const attribute = random.pick(LIGHT);
      return { kind, extreme: random.pick(EXTREMES), attribute, value: random.pick(ATTRIBUTE_VALUES[attribute]) };
    }
    case 'relation':
      return { kind, a: lightFilter(random), relation: random.pick(RELATIONS), b: lightFilter(random) };
    case 'same':
      return { kind, extreme: random.pick(EXTREMES), attribute: random.pick(ATTRIBUTES) };
    case 'pair':
      return { kind, filter: lightFilter(random), attribute: 'color' };
    case 'all':
      return { kind, filter: { shape: random.pick(ATTRIBUTE_VALUES.shape) }, attribute: random.pick(['size', 'material'] as const) };
    default:
      return kind satisfies never;
  }
}
