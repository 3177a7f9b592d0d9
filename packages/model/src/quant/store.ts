/** @file The quantised matrices of a model on an engine, frozen. */
import { type Engine, type Graph, type QuantisedWeight, type Storage } from '@trimpi/runtime';
import { type Quantisation, quantiseRows, rowLayout } from './rows.ts';

interface Entry {
  readonly rows: number;
  readonly columns: number;
  readonly quantisation: Quantisation;
  readonly data: Storage;
  readonly scales: Storage | undefined;
}

export interface QuantisedSpec {
  readonly name: string;
  readonly shape: readonly [rows: number, columns: number];
  readonly quantisation: Quantisation;
}

export class QuantisedStore {
  readonly #entries = new Map<string, Entry>();

  constructor(engine: Engine, specs: readonly QuantisedSpec[]) {
    for (const { name, shape: [rows, columns], quantisation } of specs) {
      const { words, blocks } = rowLayout(columns, quantisation);
      this.#entries.set(name, { rows, columns, quantisation, data: engine.createStorage(`${name}.data`, rows * words, 'u32'), scales: quantisation.format === 'f16' ? undefined : engine.createStorage(`${name}.scales`, rows * blocks) });
    }
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Quantises rows of a matrix and puts them in from row `first` on. */
  writeRows(name: string, first: number, values: Float32Array): void {
    const { columns, quantisation, data, scales } = this.#entries.get(name)!;
    const { words, blocks } = rowLayout(columns, quantisation);
    const rows = quantiseRows(values, values.length / columns, columns, quantisation);
    data.write(rows.data, first * words);
    if (rows.scales !== undefined) scales?.write(rows.scales, first * blocks);
  }

  /** Whether a matrix is what these values are when quantised. */
  async holds(name: string, values: Float32Array): Promise<boolean> {
    const { rows, columns, quantisation, data, scales } = this.#entries.get(name)!;
    if (values.length !== rows * columns) return false;
    const theirs = quantiseRows(values, rows, columns, quantisation);
    const same = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.prototype.every.call(a, (v, i) => v === b[i]);
    return same(theirs.data, await data.read()) && (scales === undefined || same(theirs.scales!, await scales.read()));
  }

  weight(graph: Graph, name: string): QuantisedWeight {
    const { rows, columns, quantisation, data, scales } = this.#entries.get(name)!;
    const { words, blocks } = rowLayout(columns, quantisation);
    return { ...quantisation, rows, columns, data: graph.view(data, 0, [rows, words], `${name}.data`), ...(scales === undefined ? {} : { scales: graph.view(scales, 0, [rows, blocks], `${name}.scales`) }) };
  }

  dispose(): void {
    for (const { data, scales } of this.#entries.values()) {
      data.dispose();
      scales?.dispose();
    }
  }
}
