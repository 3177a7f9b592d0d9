/** What went wrong, as a word a program can switch on. */
export type RolloutErrorCode =
  | 'invalid-argument'
  | 'length-mismatch'
  | 'empty-batch'
  | 'not-finite'
  | 'unknown-group'
  | 'unknown-option'
  | 'duplicate-id'
  | 'missing-need'
  | 'not-supported';

/**
 * The one error of this package: every refused input becomes one of these, before any work is done.
 *
 * `argument` is the path of the argument (`logps[17]`, `config.epsilon`), `value` what was found there, and the message
 * ends with what to do about it.
 */
export class RolloutError extends Error {
  override readonly name = 'RolloutError';
  readonly code: RolloutErrorCode;
  readonly argument: string;
  readonly value: unknown;
  readonly remedy: string;

  constructor(code: RolloutErrorCode, argument: string, value: unknown, problem: string, remedy: string) {
    super(`${argument}: ${problem} (got ${show(value)}). ${remedy}`);
    this.code = code;
    this.argument = argument;
    this.value = value;
    this.remedy = remedy;
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value) || ArrayBuffer.isView(value)) return `an array of ${(value as ArrayLike<unknown>).length}`;
    return 'an object';
  }
  return String(value);
}

/** Refuses what is no object where one must be. */
export function checkObject(argument: string, value: unknown, what: string): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw new RolloutError('invalid-argument', argument, value, `must be an object of ${what}`, `Pass { … } with the ${what}, as the documentation names them.`);
}

/** Checks a number option and returns it: finite, and inside [min, max] where they are given. */
export function checkNumber(argument: string, value: unknown, min = -Infinity, max = Infinity): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new RolloutError('invalid-argument', argument, value, 'must be a finite number', `Pass a number${range(min, max)}.`);
  }
  if (value < min || value > max) {
    throw new RolloutError('invalid-argument', argument, value, 'is out of range', `Pass a number${range(min, max)}.`);
  }
  return value;
}

function range(min: number, max: number): string {
  if (min === -Infinity && max === Infinity) return '';
  if (max === Infinity) return ` of at least ${min}`;
  if (min === -Infinity) return ` of at most ${max}`;
  return ` between ${min} and ${max}`;
}

/** Checks that `value` is one of `choices`; the refusal names the nearest one. */
export function checkChoice<T extends string>(argument: string, value: unknown, choices: readonly T[]): T {
  if (typeof value === 'string' && (choices as readonly string[]).includes(value)) return value as T;
  const near = typeof value === 'string' ? nearestName(value, choices) : undefined;
  throw new RolloutError(
    'unknown-option',
    argument,
    value,
    'is not a known choice',
    `${near === undefined ? '' : `Did you mean "${near}"? `}Choose one of ${choices.map((c) => `"${c}"`).join(', ')}.`,
  );
}

/** The known name with the least edit distance to `name` (Levenshtein, case and separators ignored). */
export function nearestName<T extends string>(name: string, known: readonly T[]): T | undefined {
  const wanted = plain(name);
  let best: T | undefined;
  let bestDistance = Infinity;
  for (const candidate of known) {
    const bare = plain(candidate);
    // A name cut short means the name it begins.
    const distance = bare.startsWith(wanted) && wanted.length > 2 ? 0.5 : editDistance(wanted, bare);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(swap, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
