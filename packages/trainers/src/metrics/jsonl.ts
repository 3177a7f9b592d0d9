/** @file Metrics and sampled completions as JSON lines, in whole files: one object a line, `step` in each. */
import type { CheckpointFiles } from '../checkpoints.ts';
import type { MetricSink, Metrics } from './sink.ts';

/** Lines of steps up to `lastStep`; a torn last line is dropped. */
export function linesUpTo(text: string, lastStep: number): string[] {
  return text.split('\n').filter((line) => {
    try {
      return (JSON.parse(line) as { step: number }).step <= lastStep;
    } catch {
      return false;
    }
  });
}

/** JSON has no NaN: such a metric becomes null. */
export function jsonLine(metrics: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(metrics);
}

/** A file of lines that is rewritten at each flush, for storages that can only replace files. */
export class JsonLines<Line extends { readonly step: number } = Metrics> implements MetricSink {
  readonly #files: CheckpointFiles;
  readonly #file: string;
  #lines: string[] = [];

  constructor(files: CheckpointFiles, file: string) {
    this.#files = files;
    this.#file = file;
  }

  async begin(lastStep: number): Promise<void> {
    const bytes = await this.#files.read(this.#file);
    this.#lines = bytes === null ? [] : linesUpTo(new TextDecoder().decode(bytes), lastStep);
  }

  write(line: Line): void {
    this.#lines.push(jsonLine(line));
  }

  async flush(): Promise<void> {
    await this.#files.write(this.#file, new TextEncoder().encode(this.#lines.map((l) => `${l}\n`).join('')));
  }

  /** What was written, in order. */
  rows(): Line[] {
    return this.#lines.map((l) => JSON.parse(l) as Line);
  }
}
