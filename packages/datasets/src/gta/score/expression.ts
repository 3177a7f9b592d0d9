/**
 * @file Python arithmetic, evaluated by its own parser: numbers, + - * / // % **, parentheses, lists, and the functions
 * round, min, max, sum, abs, len and math.*. Nothing is ever executed; length, depth and size are bounded.
 */

const MAX_LENGTH = 400;
const MAX_DEPTH = 40;

type Value = number | Value[];

const FUNCTIONS: Readonly<Record<string, (args: Value[]) => number>> = {
  abs: (a) => Math.abs(single(a)),
  round: (a) => pythonRound(number(a[0]), a.length > 1 ? number(a[1]) : 0),
  min: (a) => Math.min(...numbers(a)),
  max: (a) => Math.max(...numbers(a)),
  sum: (a) => numbers(a).reduce((x, y) => x + y, 0),
  len: (a) => (Array.isArray(a[0]) ? a[0].length : fail()),
  int: (a) => Math.trunc(single(a)),
  float: (a) => single(a),
  pow: (a) => number(a[0]) ** number(a[1]),
  sqrt: (a) => Math.sqrt(single(a)),
  ceil: (a) => Math.ceil(single(a)),
  floor: (a) => Math.floor(single(a)),
  fabs: (a) => Math.abs(single(a)),
  exp: (a) => Math.exp(single(a)),
  log: (a) => (a.length > 1 ? Math.log(number(a[0])) / Math.log(number(a[1])) : Math.log(single(a))),
  log2: (a) => Math.log2(single(a)),
  log10: (a) => Math.log10(single(a)),
  sin: (a) => Math.sin(single(a)),
  cos: (a) => Math.cos(single(a)),
  tan: (a) => Math.tan(single(a)),
};
const NAMES: Readonly<Record<string, number>> = { pi: Math.PI, e: Math.E };

class Unreadable extends Error {}

function fail(): never {
  throw new Unreadable();
}

function number(value: Value | undefined): number {
  return typeof value === 'number' ? value : fail();
}

function single(args: Value[]): number {
  return args.length === 1 ? number(args[0]) : fail();
}

function numbers(args: Value[]): number[] {
  const list = args.length === 1 && Array.isArray(args[0]) ? args[0] : args;
  return list.length > 0 ? list.map(number) : fail();
}

/** Half to even, as in Python; exact where the scaled value is. */
function pythonRound(value: number, digits: number): number {
  const scale = 10 ** digits;
  const scaled = value * scale;
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const up = rest > 0.5 || (rest === 0.5 && down % 2 !== 0);
  return (up ? down + 1 : down) / scale;
}

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
    if (!take(token)) fail();
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
    const token = tokens[at++] ?? fail();
    if (/^[\d.]/.test(token)) {
      const value = Number(token.replaceAll('_', ''));
      return Number.isFinite(value) ? value : fail();
    }
    if (token === '(') {
      const value = sum();
      expect(')');
      return value;
    }
    if (token === '[') return list(']');
    const name = token.startsWith('math.') ? token.slice(5) : token;
    if (take('(')) {
      const call = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
      return call ? call(list(')')) : fail();
    }
    return Object.hasOwn(NAMES, name) && token.startsWith('math.') ? (NAMES[name] as number) : fail();
  };
  const unary = (): Value => {
    if (++depth > MAX_DEPTH) fail();
    try {
      if (take('-')) return -number(unary());
      if (take('+')) return number(unary());
      const base = atom();
      return take('**') ? number(base) ** number(unary()) : base;
    } finally {
      depth--;
    }
  };
  const product = (): Value => {
    let value = unary();
    for (;;) {
      if (take('*')) value = number(value) * number(unary());
      else if (take('//')) value = Math.floor(number(value) / divisor(number(unary())));
      else if (take('/')) value = number(value) / divisor(number(unary()));
      else if (take('%')) {
        const by = divisor(number(unary()));
        value = number(value) - by * Math.floor(number(value) / by);
      } else return value;
    }
  };
  const sum = (): Value => {
    if (++depth > MAX_DEPTH) fail();
    let value = product();
    for (;;) {
      if (take('+')) value = number(value) + number(product());
      else if (take('-')) value = number(value) - number(product());
      else {
        depth--;
        return value;
      }
    }
  };
  try {
    const value = sum();
    return at === tokens.length && typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

function divisor(value: number): number {
  return value === 0 ? fail() : value;
}
