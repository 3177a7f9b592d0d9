/** @file A settings file in YAML or JSON, checked against its defaults; every complaint has file, line and column. */
import { Document, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument, type Scalar, visit } from 'yaml';
import { readFileSync } from 'node:fs';
import { PipelineError } from '@trimpi/pipeline';
import { UsageError } from '../errors.ts';
import { nearest } from '../options.ts';

type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value };
export type Defaults = { readonly [key: string]: Value };

/** Settings without a default, by name: a value that could be given, and what the setting is. */
export type Optional = Readonly<Record<string, readonly [value: string | number | boolean, about: string]>>;

export interface Settings<T extends Defaults> {
  readonly values: T;
  /** What the file says, and no more; an owner with nothing behind it says nothing. */
  readonly given: Readonly<Record<string, unknown>>;
  /** An error at the place of a setting (`rl.rollouts`), or at its nearest owner that the file has. */
  fail(path: string, message: string): never;
}

/**
 * Reads settings; what the file leaves out has its default, at every depth.
 * @param file what errors call it.
 * @param words what lists of words may hold, by setting.
 * @param optional what an owner (`rl`) may hold besides its defaults; what is not given is left out.
 * @throws UsageError `file:line:column: message` for broken syntax, an unknown or doubled setting, or a value of another type.
 */
export function parseSettings<T extends Defaults>(text: string, file: string, defaults: T, words: Readonly<Record<string, readonly string[]>> = {}, optional: Readonly<Record<string, Optional>> = {}): Settings<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const where = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const places = new Map<string, number>();
  const complain = (offset: number, message: string): never => {
    throw new UsageError(`${where(offset)}: ${message}`);
  };
  const [error] = document.errors;
  if (error !== undefined) complain(error.pos[0], `${error.message.replace(/\.$/, '')}.`);

  const read = (node: Node | null, given: Value, path: string): Value => {
    const offset = node?.range?.[0] ?? 0;
    places.set(path, offset);
    const named = path === '' ? 'The file' : path;
    if (typeof given === 'object' && !Array.isArray(given)) {
      const owner = given as Defaults;
      const more = optional[path] ?? {};
      const names = [...Object.keys(owner), ...Object.keys(more)];
      if (node === null || (isScalar(node) && node.value === null)) return owner;
      if (!isMap(node)) return complain(offset, `${named} must hold settings: ${names.join(', ')}.`);
      const found: Record<string, Value> = {};
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : '';
        const keyOffset = (key as Node | null)?.range?.[0] ?? offset;
        if (!names.includes(name)) {
          const near = nearest(name, names);
          complain(keyOffset, `${path === '' ? '' : `${path}.`}${name} is no setting. ${near === undefined ? `There is ${names.join(', ')}.` : `Did you mean ${near}?`}`);
        }
        const inner = path === '' ? name : `${path}.${name}`;
        found[name] = read(value as Node | null, Object.hasOwn(owner, name) ? owner[name]! : more[name]![0], inner);
      }
      return Object.fromEntries(names.flatMap((name) => {
        const value = found[name] ?? owner[name];
        return value === undefined ? [] : [[name, value]];
      }));
    }
    if (Array.isArray(given)) {
      if (!isSeq(node)) return complain(offset, `${named} must be a list, as ${JSON.stringify(given)}.`);
      return node.items.map((item, i) => {
        const value = read(item as Node | null, (given as readonly Value[])[0]!, `${path}[${i}]`);
        const known = words[path];
        if (typeof value !== 'string' || known === undefined || known.includes(value)) return value;
        const near = nearest(value, known);
        return complain((item as Node).range?.[0] ?? offset, `${path}[${i}] is ${value}. ${near === undefined ? `There is ${known.join(', ')}.` : `Did you mean ${near}?`}`);
      });
    }
    const value: unknown = isScalar(node) ? node.value : undefined;
    if (typeof value !== typeof given || (typeof value === 'number' && !Number.isFinite(value))) {
      return complain(offset, `${named} must be ${typeof given === 'number' ? 'a number' : typeof given === 'boolean' ? 'true or false' : 'a text'}, as ${JSON.stringify(given)}.`);
    }
    return value as Value;
  };
  const values = read(document.contents as Node | null, defaults, '') as T;
  return {
    values,
    given: Object.fromEntries(Object.entries((document.toJS() ?? {}) as object).filter(([, value]) => value !== null)),
    fail(path, message) {
      let owner = path;
      while (owner !== '' && !places.has(owner)) owner = owner.slice(0, Math.max(0, owner.lastIndexOf('.')));
      throw new UsageError(`${where(places.get(owner) ?? 0)}: ${message}`);
    },
  };
}

/** What a file says of a plain setting, as far as it can be read. */
export function settingOf(text: string, name: string): unknown {
  const { contents } = parseDocument(text, { uniqueKeys: false });
  return isMap(contents) ? contents.get(name) : undefined;
}

/** Whether a file has a setting of this name, as far as it can be read. */
export function hasSetting(text: string, name: string): boolean {
  const { contents } = parseDocument(text, { uniqueKeys: false });
  return isMap(contents) && contents.has(name);
}

/** All settings with their defaults, as a file to begin with; `about` says what a setting is, by its path. Those that are optional stand below as comments. */
export function defaultsAsYaml(defaults: Defaults, about: Readonly<Record<string, string>>, optional: Readonly<Record<string, Optional>> = {}): string {
  const document = new Document(defaults);
  visit(document, {
    Pair(_key, pair, path) {
      const keys = [...path.filter(isPair), pair].map((p) => String((p.key as Scalar).value));
      const text = about[keys.join('.')];
      if (text !== undefined) (pair.key as Scalar).commentBefore = ` ${text}`;
      const more = optional[keys.join('.')];
      if (more !== undefined) (pair.value as Node).comment = Object.entries(more).map(([name, [value, what]]) => ` ${name}: ${String(value)} # ${what}`).join('\n');
    },
  });
  return document.toString();
}

/** Complaints of a config at the place of the setting in the file. */
export function checked<Config>(fail: Settings<Defaults>['fail'], resolveIt: () => Config): Config {
  try {
    return resolveIt();
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'invalid-option') return fail(error.argument, error.message);
    throw error;
  }
}

/** The text of a settings file; `hint` ends what is said of one that cannot be read. */
export function readText(file: string, hint: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UsageError(`${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Give a YAML or JSON file; ${hint}`);
  }
}
