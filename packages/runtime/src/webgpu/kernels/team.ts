/**
 * @file Who works on a row: one thread, or a team of lanes of one workgroup whose partial results meet in workgroup memory.
 * A kernel is written once for both: it begins with `place`, walks its row `for (var i = lane; i < n; i += LANES)`, and
 * `together` makes the sum (or the maximum) of what the lanes have, in a fixed order. For one thread a row both are nothing.
 */
import type { KernelContext } from './context.ts';

export interface Team {
  /** Lanes that share a row; 1, or a power of two. */
  readonly lanes: number;
  /** Threads of a workgroup. */
  readonly size: number;
  /** Rows of a workgroup. */
  readonly rows: number;
}

/** Threads that one row may keep busy. */
const MOST_LANES = 256;
/** Threads of a workgroup whose rows need fewer. */
const LEAST_SIZE = 64;

/** The team for rows of `columns` numbers: about four numbers a lane, more where rows are long. */
export function teamFor({ cooperative }: KernelContext, columns: number, size?: number): Team {
  if (!cooperative) return { lanes: 1, size: size ?? 8, rows: size ?? 8 };
  const lanes = Math.min(MOST_LANES, 2 ** Math.ceil(Math.log2(Math.max(4, columns / 4))));
  const threads = Math.max(lanes, size ?? LEAST_SIZE);
  return { lanes, size: threads, rows: threads / lanes };
}

/** Lanes that meet at once; of more, every so many meet first. */
const CIRCLE = 16;

/** WGSL before `main`: LANES, and for a team the memory in which it meets, one `type` for each thread. */
export function teamHeader({ lanes, size }: Team, type: 'f32' | 'vec2<f32>' | 'vec4<f32>' = 'f32'): string {
  if (lanes === 1) return 'const LANES = 1u;';
  return `const LANES = ${lanes}u;\nvar<workgroup> meeting: array<${type}, ${size}>;${lanes > CIRCLE ? `\nvar<workgroup> circles: array<${type}, ${size / CIRCLE}>;` : ''}`;
}

/**
 * WGSL: `row` (below the uniform `count`), `lane` and `inside`. A thread without a row ends, unless its workgroup meets:
 * then it goes along with the last row, and must store nothing. `thread`: WGSL of a thread's number in its workgroup.
 */
export function place({ lanes, rows }: Team, count: string, thread = 'lid.x'): string {
  if (lanes === 1) return `let row = gid.x;\n  if (row >= ${count}) { return; }\n  let lane = 0u;\n  let inside = true;`;
  return `let thread = ${thread};\n  let lane = thread % LANES;\n  let wanted = wid.x * ${rows}u + thread / LANES;\n  let inside = wanted < ${count};\n  let row = min(wanted, ${count} - 1u);`;
}

/**
 * WGSL statements that replace the variable `name` by the result over the lanes of the row, which every lane then has.
 * In uniform control flow only.
 */
export function together({ lanes }: Team, name: string, operation: (a: string, b: string) => string = (a, b) => `${a} + ${b}`): string {
  if (lanes === 1) return '';
  const all = (from: string, count: number) => `${name} = ${from.replace('#', '0u')};\n  for (var i = 1u; i < ${count}u; i++) { ${name} = ${operation(name, from.replace('#', 'i'))}; }`;
  const meet = `\n  meeting[thread] = ${name};\n  workgroupBarrier();`;
  if (lanes <= CIRCLE) return `${meet}\n  ${all('meeting[thread - lane + #]', lanes)}\n  workgroupBarrier();`;
  return `${meet}
  if (lane < LANES / ${CIRCLE}u) {
    ${all(`meeting[thread - lane + lane * ${CIRCLE}u + #]`, CIRCLE)}
    circles[(thread - lane) / ${CIRCLE}u + lane] = ${name};
  }
  workgroupBarrier();
  ${all(`circles[(thread - lane) / ${CIRCLE}u + #]`, lanes / CIRCLE)}`;
}

/** Workgroups for `count` rows. */
export function teamGroups({ rows }: Team, count: number): number {
  return Math.ceil(count / rows);
}
