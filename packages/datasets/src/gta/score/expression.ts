/**
 * @file Python arithmetic, evaluated by its own parser with Python's results: whole numbers and floats, + - * / // % **,
 * parentheses, lists, tuples, and functions (`functions.ts`; those of `math` with and without its name). Nothing is ever
 * executed; length, depth and size are bounded.
 */
import { BUILT_IN, CONSTANTS, MATH, number, type PythonFunction, type Value } from './functions.ts';
import { add, divide, finite, floorDivide, multiply, NoValue, noValue, power, remainder, subtract } from './numbers.ts';

const MAX_LENGTH = 400;
const MAX_DEPTH = 40;

/** The value of an expression, or undefined when it is not one (too long, unknown name, not finite, several values). */
export function evaluateExpression(text: string): number | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const tokens = text.match(/\d+(?:_\d+)*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\*\*|\/\/|[-+*/%(),[\]]|[A-Za-z_][A-Za-z_0-9.]*|\S/g) ?? [];
  let at = 0;
  let depth = 0;
  const take = (token: string): boolean => {
    if (tokens[at] !== token) return false;
    at++;
    return true;
  };
  const expect = (token: string): void => {
    if (!take(token)) noValue();
  };
  const list = (close: string): Value[] => {
    const items: Value[] = [];
    while (!take(close)) {
      items.push(sum());
      if (!take(',')) {
        expect(close);
        break;
      }
    }
    return items;
  };
  const atom = (): Value => {
    const token = tokens[at++] ?? noValue();
    if (/^[\d.]/.test(token)) return literal(token);
    if (token === '[') return list(']');
    if (token === '(') {
      const values = list(')');
      return values.length === 1 && tokens[at - 2] !== ',' ? values[0]! : values;
    }
    if (take('(')) return (functionOf(token) ?? noValue())(list(')'));
    return named(CONSTANTS, token.startsWith('math.') ? token.slice(5) : '') ?? noValue();
  };
  const unary = (): Value => {
    if (++depth > MAX_DEPTH) noValue();
    try {
      if (take('-')) return -number(unary());
      if (take('+')) return number(unary());
      const base = atom();
      return take('**') ? power(number(base), number(unary())) : base;
    } finally {
      depth--;
    }
  };
  const product = (): Value => {
    let value = unary();
    for (;;) {
      if (take('*')) value = multiply(number(value), number(unary()));
      else if (take('//')) value = floorDivide(number(value), number(unary()));
      else if (take('/')) value = divide(number(value), number(unary()));
      else if (take('%')) value = remainder(number(value), number(unary()));
      else return value;
    }
  };
  const sum = (): Value => {
    if (++depth > MAX_DEPTH) noValue();
    let value = product();
    for (;;) {
      if (take('+')) value = add(number(value), number(product()));
      else if (take('-')) value = subtract(number(value), number(product()));
      else {
        depth--;
        return value;
      }
    }
  };
  try {
    const value = Number(number(sum()));
    return at === tokens.length && Number.isFinite(value) ? value : undefined;
  } catch (error) {
    if (error instanceof NoValue) return undefined;
    throw error;
  }
}

/** Digits alone are a whole number, all else a float. */
function literal(token: string): number | bigint {
  const digits = token.replaceAll('_', '');
  return /^\d+$/.test(digits) ? BigInt(digits) : finite(Number(digits));
}

/** A built-in name, or one of `math` (which a calculator has also without `math.`). */
function functionOf(name: string): PythonFunction | undefined {
  return name.startsWith('math.') ? named(MATH, name.slice(5)) : (named(BUILT_IN, name) ?? named(MATH, name));
}

function named<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
