import { RolloutError, checkChoice, nearestName } from '../error.ts';

/**
 * Reads a library's configuration under its own names: nested as the library nests it or flat, `null` for Python's
 * None. Names that belong to the library but not to the arithmetic are let pass; any other name is refused with the
 * nearest right one.
 */
export class ConfigReader {
  private readonly values = new Map<string, unknown>();

  constructor(
    private readonly call: string,
    config: object,
    private readonly known: readonly string[],
    ignored: readonly string[],
    sections: readonly string[],
  ) {
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw new RolloutError('invalid-argument', call, config, 'must be an object of options', `Pass ${call}({ … }) with the library's own option names.`);
    }
    this.collect(config, '', ignored, sections);
  }

  private collect(config: object, path: string, ignored: readonly string[], sections: readonly string[]): void {
    for (const [key, value] of Object.entries(config)) {
      const parts = key.split('.');
      const name = parts[parts.length - 1] as string;
      for (const section of parts.slice(0, -1)) if (!sections.includes(section)) this.unknown(`${path}${key}`, value, section, sections);
      if (sections.includes(name) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
        this.collect(value, `${path}${name}.`, ignored, sections);
      } else if (this.known.includes(name)) this.values.set(name, value);
      else if (!ignored.includes(name) && !sections.includes(name)) this.unknown(`${path}${key}`, value, name, [...this.known, ...ignored]);
    }
  }

  private unknown(path: string, value: unknown, name: string, names: readonly string[]): never {
    const near = nearestName(name, names) ?? '';
    throw new RolloutError('unknown-option', `${this.call}.${path}`, value, 'is not an option of the library', `Did you mean "${near}"?`);
  }

  /** Whether the option was given (null counts as not given). */
  has(name: string): boolean {
    const value = this.values.get(name);
    return value !== undefined && value !== null;
  }

  raw(name: string): unknown {
    return this.values.get(name);
  }

  number(name: string, fallback: number, min = -Infinity, max = Infinity): number {
    return this.optionalNumber(name, min, max) ?? fallback;
  }

  optionalNumber(name: string, min = -Infinity, max = Infinity): number | undefined {
    const value = this.values.get(name);
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
      const range = min === -Infinity && max === Infinity ? 'a finite number' : max === Infinity ? `a number of at least ${min}` : `a number between ${min} and ${max}`;
      throw new RolloutError('invalid-argument', `${this.call}.${name}`, value, `must be ${range}`, 'Pass a number, or null for the default.');
    }
    return value;
  }

  /** Two bounds in order. */
  optionalRange(name: string): readonly [number, number] | undefined {
    const range = this.values.get(name);
    if (range === undefined || range === null) return undefined;
    const [min, max] = (Array.isArray(range) && range.length === 2 ? range : []) as readonly unknown[];
    if (typeof min !== 'number' || typeof max !== 'number' || !Number.isFinite(min) || !Number.isFinite(max) || min > max) {
      throw new RolloutError('invalid-argument', `${this.call}.${name}`, range, 'must be two numbers, the smaller first', 'Pass [min, max], or null for no bounds.');
    }
    return [min, max];
  }

  /** Refuses an option that is given and not false: the objective has no arithmetic for it. */
  refuse(name: string, problem: string, remedy: string): void {
    const value = this.values.get(name);
    if (value === undefined || value === null || value === false) return;
    throw new RolloutError('not-supported', `${this.call}.${name}`, value, problem, remedy);
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.values.get(name);
    if (value === undefined || value === null) return fallback;
    if (typeof value !== 'boolean') throw new RolloutError('invalid-argument', `${this.call}.${name}`, value, 'must be true or false', 'Pass a boolean.');
    return value;
  }

  string(name: string, fallback: string): string {
    const value = this.values.get(name);
    if (value === undefined || value === null) return fallback;
    if (typeof value !== 'string') throw new RolloutError('invalid-argument', `${this.call}.${name}`, value, 'must be a name', 'Pass a string.');
    return value;
  }

  choice<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const value = this.values.get(name);
    return value === undefined || value === null ? fallback : checkChoice(`${this.call}.${name}`, value, choices);
  }
}
