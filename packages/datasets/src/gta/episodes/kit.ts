/** @file What families of episodes are written with: pictures in, steps out; every tool result is read off the picture. */
import type { Split } from '../../core/example.ts';
import type { Random } from '../../core/random.ts';
import type { Box, Picture } from '../pictures/sketch.ts';
import { colours, words, type NamedColour, type WordList } from '../pictures/words.ts';
import { evaluateExpression } from '../score/expression.ts';

export type Arguments = Readonly<Record<string, string | number | boolean>>;

/** One step of a plan: the type of tool, its arguments, what it returns, and why it is called. */
export interface PlanStep {
  readonly tool: string;
  readonly arguments: Arguments;
  readonly output: { readonly type: 'text' | 'image'; readonly content: string };
  readonly why: string;
  /** Which picture the call reads, for rules about the image. */
  readonly picture?: number;
  /** Further argument values that are equally right. */
  readonly aliases?: readonly Arguments[];
}

export interface EpisodeDraft {
  readonly pictures: readonly Picture[];
  readonly query: string;
  readonly steps: readonly PlanStep[];
}

/** A family of episodes. */
export interface Family {
  readonly name: string;
  readonly several: boolean;
  build(kit: Kit): EpisodeDraft;
}

export function boxText(box: Box): string {
  return `(${box[0]}, ${box[1]}, ${box[2]}, ${box[3]})`;
}

/** A number as Python prints it, to at most six decimals. */
export function numberText(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Math.floor(value * 1e6 + 0.5) / 1e6);
}

export class Kit {
  readonly random: Random;
  readonly split: Split;
  readonly seed: string;
  readonly #first: number;
  #made = 0;

  constructor(random: Random, split: Split, seed: string) {
    this.random = random;
    this.split = split;
    this.seed = seed;
    this.#first = random.between(1, 240);
  }

  words(list: WordList, count: number): string[] {
    return this.random.sample(words(list, this.split), count);
  }

  word(list: WordList): string {
    return this.random.pick(words(list, this.split));
  }

  colours(count: number): NamedColour[] {
    return this.random.sample(colours(this.split), count);
  }

  /** The words of a question; the last wording of each list is for test only. */
  ask(...wordings: string[]): string {
    return this.split === 'train' ? this.random.pick(wordings.slice(0, -1)) : (wordings.at(-1) as string);
  }

  image(picture: number): string {
    return `image/image_${this.#first + picture}.jpg`;
  }

  #result(): string {
    this.#made++;
    return `image/generated_${this.#made}.jpg`;
  }

  describe(pictures: readonly Picture[], i: number, why: string): PlanStep {
    return { tool: 'ImageDescription', arguments: { image: this.image(i) }, output: { type: 'text', content: pictures[i]?.description ?? '' }, why, picture: i };
  }

  read(pictures: readonly Picture[], i: number, why: string): PlanStep {
    const picture = pictures[i];
    const content = picture && picture.latex.length > 0
      ? picture.latex.join('\n')
      : (picture?.lines ?? []).map((line) => `${boxText(line.box)} ${line.text}`).join('\n');
    return { tool: 'OCR', arguments: { image: this.image(i) }, output: { type: 'text', content }, why, picture: i };
  }

  count(pictures: readonly Picture[], i: number, text: string, matches: (name: string, attributes: Readonly<Record<string, string>>) => boolean, why: string): PlanStep {
    const n = (pictures[i]?.entities ?? []).filter((entity) => matches(entity.name, entity.attributes)).length;
    return { tool: 'CountGivenObject', arguments: { image: this.image(i), text }, output: { type: 'text', content: String(n) }, why, picture: i };
  }

  find(i: number, text: string, box: Box, why: string): PlanStep {
    return { tool: 'TextToBbox', arguments: { image: this.image(i), text }, output: { type: 'text', content: `${boxText(box)}, score ${this.random.between(70, 98)}` }, why, picture: i };
  }

  region(i: number, box: Box, attribute: string, value: string, why: string): PlanStep {
    return { tool: 'RegionAttributeDescription', arguments: { image: this.image(i), bbox: boxText(box), attribute }, output: { type: 'text', content: value }, why, picture: i };
  }

  calculate(expression: string, why: string): PlanStep {
    return { tool: 'Calculator', arguments: { expression }, output: { type: 'text', content: numberText(evaluateExpression(expression) ?? 0) }, why };
  }

  search(query: string, open: boolean, results: readonly string[], why: string): PlanStep {
    const k = open ? 4 : 1;
    return { tool: 'GoogleSearch', arguments: { query, k }, output: { type: 'text', content: results.slice(0, k).map((r, i) => `${i + 1} - ${r}`).join('\n') }, why };
  }

  draw(tool: string, args: Arguments, why: string, picture?: number): PlanStep {
    return { tool, arguments: args, output: { type: 'image', content: this.#result() }, why, ...(picture === undefined ? {} : { picture }) };
  }

  solve(tool: 'Solver', command: string, result: string, why: string): PlanStep {
    return { tool, arguments: { command }, output: { type: 'text', content: result }, why };
  }
}
