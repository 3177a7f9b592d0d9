/**
 * @file Who sums a column: one thread that walks down it, or the slices of a workgroup, each of which has every so many rows.
 * Threads side by side have neighbouring columns, so that they read neighbouring numbers. The counterpart of `team.ts`, which
 * is for rows: a kernel is written once for both.
 */
import type { KernelContext } from './context.ts';

export interface Slices {
  /** Columns of a workgroup. */
  readonly columns: number;
  /** Threads that share a column; 1, or a power of two. */
  readonly count: number;
}

/** For columns of `rows` numbers. */
export function slicesFor({ cooperative }: KernelContext, rows: number): Slices {
  if (!cooperative || rows < 16) return { columns: 8, count: 1 };
  const count = rows < 128 ? 8 : 32;
  return { columns: 256 / count, count };
}

/** WGSL before `main`. */
export function sliceHeader({ columns, count }: Slices): string {
  return `const SLICES = ${count}u;${count === 1 ? '' : `\nvar<workgroup> sums: array<f32, ${columns * count}>;`}`;
}

/** WGSL: the column `c` (below `end`, when `inside`) and the `slice` of a thread, from the x-th workgroup `first` on. */
export function slicePlace({ columns, count }: Slices, end: string, first = '0u'): string {
  const column = `(wid.x - ${first}) * ${columns}u + lid.x`;
  if (count === 1) return `let c = ${column};\n  if (c >= ${end}) { return; }\n  let slice = 0u;\n  let inside = true;`;
  return `let wanted = ${column};\n  let inside = wanted < ${end};\n  let c = min(wanted, ${end} - 1u);\n  let slice = lid.y;`;
}

/** WGSL statements after which `name` of slice 0 is the sum over all slices, in a fixed order. In uniform control flow only. */
export function sliceSum({ columns, count }: Slices, name: string): string {
  if (count === 1) return '';
  return `
  sums[slice * ${columns}u + lid.x] = ${name};
  workgroupBarrier();
  if (slice == 0u) { for (var i = 1u; i < SLICES; i++) { ${name} += sums[i * ${columns}u + lid.x]; } }`;
}
