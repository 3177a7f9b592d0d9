/** @file Mutations for fuzz tests, a function of the seed alone. */

/** Numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <T>(items: readonly T[], next: () => number): T | undefined => items[Math.floor(next() * items.length)];

/** Values that break assumptions. */
const HOSTILE: readonly unknown[] = [
  null, true, false, 0, -0, -1, 1, 2, 3, 7, 0.5, 1e-300, 1e9, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, -1e308, '', ' ', 'a', '0', '-1', '1e9', 'NaN', '__proto__', 'constructor',
  '\u0000', '\ud800', '🙂', '(', '[', '*', '.*', '<|im_end|>', [], [[]], [0], [-1], [1, 2], [1, 2, 3], ['a'], {}, { a: 1 }, { type: 'x' }, { length: 5 },
];

/** A copy of a JSON value with up to three places changed: replaced, removed, copied, renamed. */
export function mutateJson(value: unknown, next: () => number): unknown {
  let out = structuredClone(value);
  for (let round = 1 + Math.floor(next() * 3); round > 0; round--) out = mutateOnce(out, next);
  // As it would come from a file: no holes in arrays, no undefined.
  return JSON.parse(JSON.stringify(out));
}

function mutateOnce(value: unknown, next: () => number): unknown {
  if (typeof value !== 'object' || value === null || next() < 0.02) return structuredClone(pick(HOSTILE, next));
  let at = value as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(at);
    const key = pick(keys, next);
    if (key === undefined) return value;
    const inner = at[key];
    if (typeof inner === 'object' && inner !== null && next() < 0.75) {
      at = inner as Record<string, unknown>;
      continue;
    }
    const kind = next();
    if (kind < 0.55) at[key] = structuredClone(pick(HOSTILE, next));
    else if (kind < 0.7) delete at[key];
    else if (kind < 0.8 && typeof inner === 'number') at[key] = inner * (pick([-1, 2, 0.5, 1e6], next) ?? 1);
    else if (kind < 0.9) at[pick(keys, next) ?? key] = structuredClone(inner);
    else at[`${key}x`] = structuredClone(inner);
    return value;
  }
}

/** A copy of bytes that is cut, flipped, overwritten, or grown. */
export function mutateBytes(bytes: Uint8Array, next: () => number, within = bytes.length): Uint8Array {
  let out = bytes.slice();
  for (let round = 1 + Math.floor(next() * 4); round > 0; round--) {
    const at = Math.floor(next() * Math.min(within, out.length));
    const kind = next();
    if (kind < 0.4 && out.length > 0) out[at] = (out[at] ?? 0) ^ (1 << Math.floor(next() * 8));
    else if (kind < 0.7 && out.length > 0) out[at] = Math.floor(next() * 256);
    else if (kind < 0.8) out = out.slice(0, at);
    else if (kind < 0.9) out = Uint8Array.from([...out.subarray(0, at), Math.floor(next() * 256), ...out.subarray(at)]);
    else out.fill(pick([0, 255, 0x20, 0x39], next) ?? 0, at, at + 1 + Math.floor(next() * 8));
  }
  return out;
}
