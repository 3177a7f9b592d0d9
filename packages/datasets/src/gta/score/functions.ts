/** @file Functions of Python that a calculator is asked for: built-in ones and those of its module `math`. */
import { add, finite, MAX_BITS, multiply, noValue, power, powerModulo, round, toFloat, toWhole, whole, type PythonNumber } from './numbers.ts';

/** A number, or a list or tuple. */
export type Value = PythonNumber | Value[];

export type PythonFunction = (args: readonly Value[]) => Value;

export const BUILT_IN: Readonly<Record<string, PythonFunction>> = {
  abs: taking(1, ([x]) => (number(x) < 0 ? -number(x) : number(x))),
  float: taking(1, ([x]) => float(x)),
  int: taking(1, ([x]) => toWhole(number(x), Math.trunc)),
  len: taking(1, ([x]) => BigInt(items(x).length)),
  max: (args) => extreme(args, (x, best) => x > best),
  min: (args) => extreme(args, (x, best) => x < best),
  pow: taking([2, 3], ([x, y, m]) => (m === undefined ? power(number(x), number(y)) : powerModulo(integer(x), integer(y), integer(m)))),
  round: taking([1, 2], ([x, digits]) => round(number(x), digits === undefined ? undefined : integer(digits))),
  sum: taking([1, 2], ([list, start = 0n]) => items(list).map(number).reduce(add, number(start))),
};

export const MATH: Readonly<Record<string, PythonFunction>> = {
  ...ofFloats(Math, ['acos', 'asin', 'atan', 'atan2', 'cbrt', 'cos', 'cosh', 'exp', 'expm1', 'log10', 'log1p', 'log2', 'sin', 'sinh', 'sqrt', 'tan', 'tanh']),
  ...ofFloats({ degrees: (x: number) => (x * 180) / Math.PI, fabs: Math.abs, fmod: (x: number, y: number) => x % y, pow: (x: number, y: number) => x ** y, radians: (x: number) => (x * Math.PI) / 180 }, ['degrees', 'fabs', 'fmod', 'pow', 'radians']),
  ceil: taking(1, ([x]) => toWhole(number(x), Math.ceil)),
  comb: taking(2, ([n, k]) => combinations(natural(n), natural(k))),
  factorial: taking(1, ([n]) => permutations(natural(n), natural(n))),
  floor: taking(1, ([x]) => toWhole(number(x), Math.floor)),
  gcd: (args) => args.map(integer).reduce(commonDivisor, 0n),
  hypot: (args) => finite(Math.hypot(...args.map(float))),
  lcm: (args) => args.map(integer).reduce(commonMultiple, 1n),
  log: taking([1, 2], ([x, base]) => finite(finite(Math.log(float(x))) / (base === undefined ? 1 : finite(Math.log(float(base)))))),
  perm: taking([1, 2], ([n, k]) => permutations(natural(n), natural(k ?? n))),
  prod: taking(1, ([list]) => items(list).map(number).reduce(multiply, 1n)),
  trunc: taking(1, ([x]) => toWhole(number(x), Math.trunc)),
};

export const CONSTANTS: Readonly<Record<string, number>> = { e: Math.E, pi: Math.PI, tau: 2 * Math.PI };

/** The one number that a value is. */
export function number(value: Value | undefined): PythonNumber {
  return typeof value === 'bigint' || typeof value === 'number' ? value : noValue();
}

function float(value: Value | undefined): number {
  return toFloat(number(value));
}

function integer(value: Value | undefined): bigint {
  return typeof value === 'bigint' ? value : noValue();
}

function natural(value: Value | undefined): bigint {
  const n = integer(value);
  return n < 0n ? noValue() : n;
}

function items(value: Value | undefined): readonly Value[] {
  return Array.isArray(value) ? value : noValue();
}

/** A function that takes so many arguments, or one of two counts. */
function taking(counts: number | readonly number[], compute: PythonFunction): PythonFunction {
  return (args) => ([counts].flat().includes(args.length) ? compute(args) : noValue());
}

function ofFloats<K extends string>(functions: Readonly<Record<K, (...args: number[]) => number>>, names: readonly K[]): Record<string, PythonFunction> {
  return Object.fromEntries(names.map((name) => [name, taking(functions[name].length, (args) => finite(functions[name](...args.map(float))))]));
}

/** Of the one list given, or of the arguments; the first of equals. */
function extreme(args: readonly Value[], better: (x: PythonNumber, best: PythonNumber) => boolean): PythonNumber {
  const [first, ...rest] = (args.length === 1 ? items(args[0]) : args).map(number);
  return rest.reduce((best, x) => (better(x, best) ? x : best), number(first));
}

/** n (n - 1) ... of k factors. Ends early: each of the first ones at least doubles the product. */
function permutations(n: bigint, k: bigint): bigint {
  if (k > n) return 0n;
  let product = 1n;
  for (let i = 0n; i < k; i++) product = whole(product * (n - i));
  return product;
}

function combinations(n: bigint, k: bigint): bigint {
  if (k > n) return 0n;
  const fewer = 2n * k > n ? n - k : k;
  // Each factor is at least 2.
  if (fewer > MAX_BITS) return noValue();
  let product = 1n;
  for (let i = 1n; i <= fewer; i++) product = whole((product * (n - fewer + i)) / i);
  return product;
}

function commonMultiple(a: bigint, b: bigint): bigint {
  const product = whole(a * (b / (commonDivisor(a, b) || 1n)));
  return product < 0n ? -product : product;
}

function commonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a < 0n ? -a : a;
}
