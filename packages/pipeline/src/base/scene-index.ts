/** @file Which scenes of a pool lead to a leaf: a bit for each scene, so that all of them are asked a condition at once. */
import { type Filter, matches, type PathStep, type SeenScene } from '@trimpi/datasets';
import type { PhiloxStream } from '@trimpi/runtime';

export class SceneIndex {
  readonly #scenes: readonly SeenScene[];
  readonly #words: number;
  /** Scenes with an object of a filter. */
  readonly #holding = new Map<string, Uint32Array>();

  constructor(scenes: readonly SeenScene[]) {
    this.#scenes = scenes;
    this.#words = Math.ceil(scenes.length / 32);
  }

  /** A scene, drawn from those that answer every condition of a path so; undefined when none does. */
  pick(path: readonly PathStep[], random: PhiloxStream): number | undefined {
    const found = new Uint32Array(this.#words).fill(0xffffffff);
    const spare = 32 * this.#words - this.#scenes.length;
    if (spare > 0) found[this.#words - 1] = 0xffffffff >>> spare;
    for (const { node, outcome } of path) {
      if (node.condition.kind !== 'exist') throw new Error('a scene index knows existence conditions only');
      const bits = this.#bits(node.condition.filter);
      for (let w = 0; w < found.length; w++) found[w]! &= outcome ? bits[w]! : ~bits[w]!;
    }
    let left = found.reduce((n, word) => n + ones(word), 0);
    if (left === 0) return undefined;
    left = random.integer(left);
    for (let w = 0; ; w++) {
      const here = ones(found[w]!);
      if (left >= here) {
        left -= here;
        continue;
      }
      let word = found[w]!;
      for (; left > 0; left--) word &= word - 1;
      return 32 * w + 31 - Math.clz32(word & -word);
    }
  }

  #bits(filter: Filter): Uint32Array {
    const key = `${filter.size} ${filter.color} ${filter.material} ${filter.shape}`;
    let bits = this.#holding.get(key);
    if (bits === undefined) {
      this.#holding.set(key, (bits = new Uint32Array(this.#words)));
      for (const [i, scene] of this.#scenes.entries()) if (scene.objects.some((object) => matches(object, filter))) bits[i >> 5]! |= 1 << (i & 31);
    }
    return bits;
  }
}

function ones(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
