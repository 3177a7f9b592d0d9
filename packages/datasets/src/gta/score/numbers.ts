/**
 * @file Numbers as Python has them: whole ones without limit of size (bigint here, up to MAX_BITS) and floats. Where the two
 * languages differ (rounding, `//`, `%`, division of large whole numbers) this follows CPython's `floatobject.c` and `longobject.c`.
 */

/** What Python would refuse, or what is too large to compute here. */
export class NoValue extends Error {}

export function noValue(): never {
  throw new NoValue();
}

export type PythonNumber = bigint | number;

/** Whole numbers beyond this are not computed; 500! still is. */
export const MAX_BITS = 4096;
const LIMIT = 1n << BigInt(MAX_BITS);

/** A whole number that is small enough. */
export function whole(value: bigint): bigint {
  return value < LIMIT && value > -LIMIT ? value : noValue();
}

/** The float nearest to a number; none beyond the largest one, as Python's OverflowError. */
export function toFloat(value: PythonNumber): number {
  const float = Number(value);
  return typeof value === 'bigint' && !Number.isFinite(float) ? noValue() : float;
}

/** A float made whole by `how`; a whole number as it is. */
export function toWhole(value: PythonNumber, how: (value: number) => number): bigint {
  return typeof value === 'bigint' ? value : BigInt(how(finite(value)));
}

export function add(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, b, (x, y) => x + y, (x, y) => x + y);
}

export function subtract(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, b, (x, y) => x - y, (x, y) => x - y);
}

export function multiply(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, b, (x, y) => x * y, (x, y) => x * y);
}

export function divide(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, nonZero(b), ratio, (x, y) => x / y);
}

export function floorDivide(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, nonZero(b), (x, y) => (x - modulo(x, y)) / y, floorDivideFloats);
}

export function remainder(a: PythonNumber, b: PythonNumber): PythonNumber {
  return arithmetic(a, nonZero(b), modulo, moduloFloats);
}

export function power(a: PythonNumber, b: PythonNumber): PythonNumber {
  if (Number(a) === 0 && b < 0) return noValue();
  if (typeof a === 'bigint' && typeof b === 'bigint' && b >= 0n) {
    // Of 0, 1 and -1 every power is small; of another number one may be too large even to begin.
    if (abs(a) > 1n && BigInt(bitsOf(a) - 1) * b > MAX_BITS) return noValue();
    return whole(a ** b);
  }
  return finite(toFloat(a) ** toFloat(b));
}

/** a ** b modulo m; only for b from 0. */
export function powerModulo(a: bigint, b: bigint, m: bigint): bigint {
  if (m === 0n || b < 0n) return noValue();
  let result = modulo(1n, m);
  let square = modulo(a, m);
  for (let rest = b; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = modulo(result * square, m);
    square = modulo(square * square, m);
  }
  return result;
}

/** Without digits a whole number, else of the same sort; half to even on the exact value, which for 2.675 lies below the half. */
export function round(value: PythonNumber, digits?: bigint): PythonNumber {
  if (typeof value === 'bigint') return digits === undefined || digits >= 0n ? value : roundedTo(value, 1n, digits)[0];
  if (!Number.isFinite(value)) return digits === undefined ? noValue() : value;
  const [numerator, denominator] = exactly(value);
  if (digits === undefined) return nearest(numerator, denominator);
  // No float has more decimal places than count, or is as large.
  if (digits > 323n) return value;
  if (digits < -308n) return 0;
  return ratio(...roundedTo(numerator, denominator, digits));
}

/** A result that Python gives; NaN and infinity from finite arguments are errors there. */
export function finite(value: number): number {
  return Number.isFinite(value) ? value : noValue();
}

/** In whole numbers where both are, else in floats. */
function arithmetic(a: PythonNumber, b: PythonNumber, wholes: (a: bigint, b: bigint) => PythonNumber, floats: (a: number, b: number) => number): PythonNumber {
  if (typeof a !== 'bigint' || typeof b !== 'bigint') return floats(toFloat(a), toFloat(b));
  const result = wholes(a, b);
  return typeof result === 'bigint' ? whole(result) : result;
}

function nonZero(value: PythonNumber): PythonNumber {
  return Number(value) === 0 ? noValue() : value;
}

/** With the sign of b. */
function modulo(a: bigint, b: bigint): bigint {
  const rest = a % b;
  return otherSign(rest, b) ? rest + b : rest;
}

function moduloFloats(a: number, b: number): number {
  const rest = a % b;
  return otherSign(rest, b) ? rest + b : rest;
}

/** Whether a remainder is none that Python gives: it has the sign of the divisor, or is 0. */
function otherSign(rest: PythonNumber, b: PythonNumber): boolean {
  return rest < 0 ? b > 0 : rest > 0 && b < 0;
}

/** From the remainder, which is exact where a / b is not: 1 // 0.1 is 9. */
function floorDivideFloats(a: number, b: number): number {
  const rest = a % b;
  const quotient = (a - rest) / b - (otherSign(rest, b) ? 1 : 0);
  const down = Math.floor(quotient);
  return quotient - down > 0.5 ? down + 1 : down;
}

/** The float nearest to a / b. */
function ratio(a: bigint, b: bigint): number {
  const [p, q] = [abs(a), abs(b)];
  if (p === 0n) return 0;
  // A quotient of at least 60 bits, whose last one stands for all that follow; its conversion rounds half to even.
  const shift = bitsOf(q) - bitsOf(p) + 62;
  const [dividend, divisor] = shift > 0 ? [p << BigInt(shift), q] : [p, q << BigInt(-shift)];
  const quotient = dividend / divisor;
  const rounded = Number(dividend % divisor === 0n ? quotient : quotient | 1n);
  const half = shift >> 1;
  // In two factors: one alone may be smaller than any float.
  const size = finite(rounded * 2 ** -half * 2 ** (half - shift));
  return a < 0n === b < 0n ? size : -size;
}

/** a / b to the nearest multiple of 10 ** -digits, as a fraction. */
function roundedTo(a: bigint, b: bigint, digits: bigint): [bigint, bigint] {
  if (digits >= 0n) return [nearest(a * 10n ** digits, b), 10n ** digits];
  if (-digits > MAX_BITS) return [0n, 1n];
  return [nearest(a, b * 10n ** -digits) * 10n ** -digits, 1n];
}

/** The whole number nearest to a / b (b > 0), the even one of two. */
function nearest(a: bigint, b: bigint): bigint {
  const rest = modulo(a, b);
  const down = (a - rest) / b;
  return 2n * rest > b || (2n * rest === b && down % 2n !== 0n) ? down + 1n : down;
}

/** A float as a fraction. */
function exactly(value: number): [bigint, bigint] {
  let numerator = value;
  let denominator = 1n;
  while (!Number.isInteger(numerator)) {
    numerator *= 2;
    denominator *= 2n;
  }
  return [BigInt(numerator), denominator];
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function bitsOf(value: bigint): number {
  return abs(value).toString(2).length;
}
