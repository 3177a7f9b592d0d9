/** @file Names of things. Each list is cut in two, so that train and test share no entity. */
import type { Split } from '../../core/example.ts';

const LISTS = {
  store: ['Corner Market', 'Green Basket', 'Harbor Foods', 'Mill Street Grocer', 'Sunrise Pantry', 'Old Town Deli', 'Maple Store', 'River Mart', 'Hilltop Foods', 'Lantern Shop', 'Cedar Goods', 'Prairie Market'],
  food: ['apples', 'bread', 'butter', 'rice', 'cheese', 'tomatoes', 'pasta', 'carrots', 'yogurt', 'potatoes', 'onions', 'eggs', 'salmon', 'spinach', 'noodles', 'mushrooms'],
  household: ['soap', 'candles', 'napkins', 'batteries', 'sponges', 'matches', 'detergent', 'towels', 'light bulbs', 'tape', 'brushes', 'paper bags'],
  dish: ['lentil soup', 'grilled trout', 'veggie burger', 'mint tea', 'fried rice', 'lemon cake', 'garden salad', 'bean stew', 'corn bread', 'plum tart', 'onion pie', 'iced coffee'],
  place: ['Blue Door Cafe', 'Stone Oven', 'Pepper House', 'The Quiet Fork', 'Garden Table', 'Copper Kettle', 'Moon Diner', 'Salt and Vine', 'Night Bakery', 'Oak Grill', 'Fern Bistro', 'Tall Spoon'],
  film: ['Paper Moons', 'The Last Ferry', 'Winter Orchard', 'Signal Hill', 'Glass River', 'Two Compasses', 'A Quiet Engine', 'Northern Line', 'Velvet Storm', 'The Clock Thief', 'Amber Coast', 'Sleeping Fox'],
  product: ['olive oil', 'fish oil capsules', 'green tea', 'oat milk', 'honey', 'sun lotion', 'multivitamin', 'rice vinegar', 'almond butter', 'cough syrup', 'maple syrup', 'hand cream'],
  maker: ['Norvane', 'Kestrel', 'Bluefern', 'Solano', 'Aldermoor', 'Pinecrest', 'Tidewell', 'Quartzia', 'Brightleaf', 'Everdale', 'Marlow', 'Windrose'],
  icon: ['cup', 'ball', 'box', 'bottle', 'star', 'flag', 'tree', 'kite'],
  person: ['Ada', 'Ben', 'Chloe', 'Dev', 'Elena', 'Farid', 'Grace', 'Hugo', 'Ines', 'Jonas', 'Kira', 'Liam'],
  city: ['Lisbon', 'Oslo', 'Kyoto', 'Quito', 'Cairo', 'Perth', 'Riga', 'Lima', 'Turin', 'Busan', 'Accra', 'Bergen'],
  style: ['a watercolor painting', 'a pencil sketch', 'a comic panel', 'a mosaic', 'an oil painting', 'a paper collage', 'a neon poster', 'a woodcut print'],
  sign: ['road closed', 'no parking', 'wet floor', 'school zone', 'keep left', 'deer crossing', 'private path', 'mind the step'],
} as const;

export type WordList = keyof typeof LISTS;

/** The words of a list that a split may use: three quarters for train, the others for test. */
export function words(list: WordList, split: Split): readonly string[] {
  const all = LISTS[list];
  const cut = Math.floor((all.length * 3) / 4);
  return split === 'train' ? all.slice(0, cut) : all.slice(cut);
}

/** Colours with names; the first eight are for train, the others for test. */
const COLOURS = [
  ['red', [200, 40, 40]], ['blue', [45, 80, 200]], ['green', [40, 140, 60]], ['yellow', [235, 200, 40]], ['purple', [130, 60, 170]],
  ['orange', [235, 130, 30]], ['brown', [120, 80, 50]], ['black', [30, 30, 30]], ['pink', [235, 130, 170]], ['teal', [20, 140, 140]], ['gray', [130, 130, 130]],
] as const;

export interface NamedColour {
  readonly name: string;
  readonly rgb: readonly [number, number, number];
}

export function colours(split: Split): readonly NamedColour[] {
  return COLOURS.slice(split === 'train' ? 0 : 8, split === 'train' ? 8 : 11).map(([name, rgb]) => ({ name, rgb }));
}
