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
      for (const section of parts.slice(0, -1)) if (!sections.includes(section)) this.refuse(`${path}${key}`, value, section, sections);
      if (sections.includes(name) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
        this.collect(value, `${path}${name}.`, ignored, sections);
      } else if (this.known.includes(name)) this.values.set(name, value);
      else if (!ignored.includes(name) && !sections.includes(name)) this.refuse(`${path}${key}`, value, name, [...this.known, ...ignored]);
    }
  }

  private refuse(path: string, value: unknown, name: string, names: readonly string[]): never {
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
