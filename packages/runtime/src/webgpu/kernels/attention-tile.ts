/**
 * @file WGSL pieces of attention in tiles: 32 rows (queries, or keys in the gradients of keys and values) against 32 columns
 * (the others). 8 x 8 threads; the one at (tx, ty) has the 4 x 4 scores of rows ty + 8i and columns tx + 8j, and for the same
 * rows the vec4s tx + 8c of what is summed up. So neighbours read neighbouring memory, every vec4 from workgroup memory goes
 * into eight times as many products or more, and what a row needs to know of itself stays with the eight threads that have
 * it: component i of a vec4 is always row i, or row i has a vec4 with a component for each of its columns. Heads of any size
 * pass through workgroup memory eight or sixteen vec4s at a time: below 15 KiB.
 *
 * Loops run up to uniforms and are not unrolled here where that is not needed: places in the code that read or write memory are
 * what lavapipe's compiler takes its time for (forward 7 s and backward 30 s of a shared 2-core EPYC, November 2026). For the
 * same reason heads and their sizes are uniforms too: one shader serves all heads of up to 32 elements, of up to 64, 96 and 128.
 */
import type { AttentionAttributes } from '../../ops/types.ts';
import { unroll } from '../launch.ts';

/** Rows and columns of a tile. */
export const TILE = 32;
/** Threads along a side, and the rows (columns) of a thread: components of a vec4. */
const SIDE = 8;
const PER = 4;
/** Vec4s from row to row in workgroup memory. Odd, so that eight rows lie in different banks. */
const PITCH = SIDE + 1;

export const TILE_THREADS = [SIDE, SIDE] as const;

/** Rows of a tensor that a tile works on; all WGSL. */
export interface TileRows {
  readonly buffer: string;
  /** The first row, and how many the tensor has: the last one stands in for those beyond it, to be masked. */
  readonly first: string;
  readonly count: string;
  /** Vec4s from row to row, and where the head begins in row 0. */
  readonly stride: string;
  readonly base: string;
}

/** What `f` makes of each row of a thread; of its columns likewise. */
export function eachRow(f: (i: number) => string, separator = '\n'): string {
  return unroll(PER, f, separator);
}

/** A vec4 of what `f` makes of each row. */
export function ofRows(f: (i: number) => string, type = 'f32'): string {
  return `vec4<${type}>(${unroll(PER, f, ', ')})`;
}

/** The vec4s tx + 8c of a head that a thread sums up: c and WGSL for which one it is, which may lie beyond the last. */
export function eachSum(d: number, f: (c: number, quad: string) => string): string {
  return unroll(Math.ceil(d / SIDE), (c) => f(c, `(tx + ${SIDE * c}u)`), ' ');
}

/** Uniforms of every kernel in tiles: vec4s of a head, heads, how many share a key-value head, and threads along a side. */
export function tileUniforms(a: AttentionAttributes) {
  return { depth: ['u32', a.headDim / 4], heads: ['u32', a.heads], group: ['u32', a.heads / a.kvHeads], side: ['u32', SIDE] } as const;
}

export const TILE_HEADER = `
const NONE = 0xffffffffu;
var<workgroup> staged: array<vec4<f32>, ${2 * TILE * PITCH}>;
// By row; vec4 n has its columns n, n + 8, n + 16 and n + 24.
var<workgroup> weights: array<vec4<f32>, ${TILE * PITCH}>;
// What each thread has found for its rows.
var<workgroup> exchanged: array<vec4<f32>, ${SIDE * SIDE}>;
var<workgroup> reached: array<u32, ${SIDE}>;
var<workgroup> nearest: u32;`;

/** Who a thread is, and its rows. */
export const TILE_PLACE = `
  let tx = lid.x;
  let ty = lid.y;
  let thread = ty * ${SIDE}u + tx;
  let first = wid.x * ${TILE}u;
  let rows = first + ty + vec4<u32>(0u, 8u, 16u, 24u);`;

/** Which rows see which columns: a row has `width` numbers in `buffer`, of which those at `slot` are its [low, high). All WGSL. */
export interface Sight {
  readonly buffer: string;
  readonly width: number;
  readonly slot: string;
  /** How many rows there are, and columns. */
  readonly count: string;
  readonly limit: string;
}

/**
 * Runs `body` for tiles of columns, from `at` on, some of which some row sees; `see`i is true for the columns that row i does.
 * Skips what no row sees, so that a tile over two sequences does not walk over what lies between them.
 */
export function overSeen({ buffer, width, slot, count, limit }: Sight, body: string): string {
  return `
    let place = min(rows, vec4<u32>(${count} - 1u)) * ${width}u + ${slot};
    let low = ${ofRows((i) => `${buffer}[place[${i}]]`, 'u32')};
    let end = min(${ofRows((i) => `${buffer}[place[${i}] + 1u]`, 'u32')}, vec4<u32>(${limit}));
    let high = select(vec4<u32>(), end, (end > low) & (rows < vec4<u32>(${count})));
    var after = 0u;
    loop {
      if (tx == 0u) {
        let next = select(vec4<u32>(NONE), max(low, vec4<u32>(after)), high > vec4<u32>(after));
        reached[ty] = min(min(next.x, next.y), min(next.z, next.w));
      }
      workgroupBarrier();
      if (thread == 0u) {
        var least = NONE;
        for (var n = 0u; n < p.side; n++) { least = min(least, reached[n]); }
        nearest = least;
      }
      let at = workgroupUniformLoad(&nearest);
      if (at == NONE) { break; }
      let columns = at + tx + vec4<u32>(0u, 8u, 16u, 24u);
      ${eachRow((i) => `let see${i} = (columns >= vec4<u32>(low[${i}])) & (columns < vec4<u32>(high[${i}]));`)}
      ${body}
      after = at + ${TILE}u;
    }`;
}

/** Declares `name`i, the products of row i of a with the rows of b (its columns). Leaves workgroup memory free. */
export function scores(name: string, a: TileRows, b: TileRows): string {
  return `
      ${eachRow((i) => `var ${name}${i} = vec4<f32>();`, ' ')}
      for (var done = 0u; done < p.depth; done += ${SIDE}u) {
        let quad = min(done + tx, p.depth - 1u);
        ${fetch('a', a, SIDE, 'quad', 'let ')}
        ${fetch('b', b, SIDE, 'quad', 'let ')}
        ${eachRow((i) => `staged[(ty + ${SIDE * i}u) * ${PITCH}u + tx] = a${i}; staged[(ty + ${TILE + SIDE * i}u) * ${PITCH}u + tx] = b${i};`)}
        workgroupBarrier();
        for (var e = 0u; e < min(${SIDE}u, p.depth - done); e++) {
          let turned = transpose(mat4x4<f32>(${eachRow((j) => `staged[(tx + ${TILE + SIDE * j}u) * ${PITCH}u + e]`, ', ')}));
          ${eachRow((i) => `{ let u = staged[(ty + ${SIDE * i}u) * ${PITCH}u + e]; ${unroll(4, (n) => `${name}${i} = fma(vec4<f32>(u[${n}]), turned[${n}], ${name}${i});`, ' ')} }`)}
        }
        workgroupBarrier();
      }`;
}

/** Sets the weights of row i, of which `accumulate` makes sums. */
export function setWeights(i: number, value: string): string {
  return `weights[(ty + ${SIDE * i}u) * ${PITCH}u + tx] = ${value};`;
}

/**
 * Adds to the sums `name`i_c of row i its weights times the rows of b (its columns), or of another b where `otherwise` says
 * so (uniform). Leaves workgroup memory free.
 */
export function accumulate(name: string, d: number, b: TileRows, otherwise?: { readonly condition: string; readonly b: TileRows }): string {
  const wide = 2 * SIDE;
  return unroll(Math.ceil(d / wide), (part) => {
    const count = Math.ceil(Math.min(wide, d - part * wide) / SIDE);
    const width = count * SIDE;
    const fetched = (rows: TileRows) => fetch('b', rows, width, 'quad', '');
    return `{
        let quad = min(${part * wide}u + thread % ${width}u, p.depth - 1u);
        ${unroll(PER * count, (n) => `var b${n}: vec4<f32>;`, ' ')}
        ${otherwise === undefined ? fetched(b) : `if (${otherwise.condition}) {\n${fetched(otherwise.b)}\n} else {\n${fetched(b)}\n}`}
        ${unroll(PER * count, (n) => `staged[thread + ${SIDE * SIDE * n}u] = b${n};`, ' ')}
        workgroupBarrier();
        for (var n = 0u; n < p.side; n++) {
          ${eachRow((i) => `let w${i} = weights[(ty + ${SIDE * i}u) * ${PITCH}u + n];`, ' ')}
          ${eachRow((j) => unroll(count, (c) => `{ let x = staged[(n + ${SIDE * j}u) * ${width}u + tx + ${SIDE * c}u]; ${eachRow((i) => { const sum = `${name}${i}_${2 * part + c}`; return `${sum} = fma(vec4<f32>(w${i}[${j}]), x, ${sum});`; }, ' ')} }`))}
        }
        workgroupBarrier();
      }`;
  });
}

/** Declares `name`: what the eight threads of a row hold for it in `value` (a vec4 of rows), put together by `join`. */
export function acrossRows(name: string, value: string, join: (a: string, b: string) => string): string {
  return `
      exchanged[thread] = ${value};
      workgroupBarrier();
      var ${name} = exchanged[ty * ${SIDE}u];
      for (var n = 1u; n < p.side; n++) { ${name} = ${join(name, `exchanged[ty * ${SIDE}u + n]`)}; }`;
}

/** Fetches into `name`n (with `let `: declares them) vec4 `quad` of the rows that a thread fetches when `width` vec4s of each are wanted. */
function fetch(name: string, { buffer, first, count, stride, base }: TileRows, width: number, quad: string, keyword: 'let ' | ''): string {
  const step = (SIDE * SIDE) / width;
  return unroll(TILE / step, (n) => `${keyword}${name}${n} = ${buffer}[min(${first} + thread / ${width}u + ${step * n}u, ${count} - 1u) * ${stride} + ${base} + ${quad}];`);
}
