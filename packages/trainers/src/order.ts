import { PhiloxStream } from '@trimpi/runtime';

/**
 * Which examples a step takes: epoch after epoch, each a new permutation. A function of seed and step alone, so that a
 * resumed run goes on where it was.
 */
export function examplesOfStep(size: number, perStep: number, step: number, seed: number): number[] {
  const out: number[] = [];
  for (let at = (step - 1) * perStep; out.length < perStep; at++) {
    const epoch = Math.floor(at / size);
    out.push(permutation(size, seed, epoch)[at % size]!);
  }
  return out;
}

let last: { readonly key: string; readonly order: readonly number[] } | undefined;

function permutation(size: number, seed: number, epoch: number): readonly number[] {
  const key = `${size} ${seed} ${epoch}`;
  if (last?.key !== key) last = { key, order: new PhiloxStream(seed, epoch + 1).shuffle(Array.from({ length: size }, (_, i) => i)) };
  return last.order;
}
