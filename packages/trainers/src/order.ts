import { PhiloxStream } from '@trimpi/runtime';

/**
 * Examples `position` .. `position + count - 1` of an endless row of epochs, each a new permutation. A function of seed
 * and position alone, so that a resumed run goes on where it was.
 */
export function examplesAt(size: number, position: number, count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => permutation(size, seed, Math.floor((position + i) / size))[(position + i) % size]!);
}

/** Which examples a step takes when every step takes as many. */
export function examplesOfStep(size: number, perStep: number, step: number, seed: number): number[] {
  return examplesAt(size, (step - 1) * perStep, perStep, seed);
}

let last: { readonly key: string; readonly order: readonly number[] } | undefined;

function permutation(size: number, seed: number, epoch: number): readonly number[] {
  const key = `${size} ${seed} ${epoch}`;
  if (last?.key !== key) last = { key, order: new PhiloxStream(seed, epoch + 1).shuffle(Array.from({ length: size }, (_, i) => i)) };
  return last.order;
}
