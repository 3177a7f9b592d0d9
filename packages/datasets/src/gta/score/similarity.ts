/** @file How alike two short texts are, in [0, 1]: the mean of word F1 and of chrF (character n-grams up to 4). */

const MAX_LENGTH = 4000;

function normalise(text: string): string {
  return text.slice(0, MAX_LENGTH).normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();
}

function f1(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 1 : 0;
  const counts = new Map<string, number>();
  for (const item of a) counts.set(item, (counts.get(item) ?? 0) + 1);
  let both = 0;
  for (const item of b) {
    const left = counts.get(item) ?? 0;
    if (left > 0) {
      both++;
      counts.set(item, left - 1);
    }
  }
  return (2 * both) / (a.length + b.length);
}

function grams(text: string, n: number): string[] {
  const letters = [...text.replaceAll(' ', '')];
  const out: string[] = [];
  for (let i = 0; i + n <= letters.length; i++) out.push(letters.slice(i, i + n).join(''));
  return out;
}

/** Deterministic text similarity; 1 for equal texts (up to case and white space), symmetric. */
export function textSimilarity(a: string, b: string): number {
  const x = normalise(a);
  const y = normalise(b);
  if (x === y) return 1;
  const words = f1(x.match(/[\p{L}\p{N}]+/gu) ?? [], y.match(/[\p{L}\p{N}]+/gu) ?? []);
  let chars = 0;
  let orders = 0;
  for (let n = 1; n <= 4; n++) {
    const p = grams(x, n);
    const q = grams(y, n);
    if (p.length === 0 && q.length === 0) continue;
    chars += f1(p, q);
    orders++;
  }
  return 0.5 * words + 0.5 * (orders === 0 ? 0 : chars / orders);
}
