/**
 * @file Matrix products on the matrix units of a GPU (Dawn's experimental subgroup matrices, 16 x 16 x 16): operands are
 * rounded to half floats on their way into workgroup memory, sums are of f32. Each of eight subgroups has 32 x 64 (or 32 x 16)
 * numbers of the result; what comes next is fetched while the units work. Operands lie in workgroup memory as they do in the
 * buffer, so nothing is turned: the units read rows or columns.
 *
 * An optional tier, taken where the engine was told `matmulPrecision: 'f16'`.
 */
import { launch, type Launch, unroll } from '../launch.ts';
import { type Operand, operandsOf, PLACE, type Product, productGroups, productSpec, store } from './product.ts';

const UNIT = 16;
const LANES = 32;
const SUBGROUPS = 8;
const THREADS = LANES * SUBGROUPS;
/** Steps of the inner axis that are kept at a time. */
const DEPTH = 32;
/** Half floats between rows in workgroup memory, beyond their length, so that they begin in different banks. */
const GAP = 8;

export interface MatrixShape {
  readonly rows: number;
  readonly columns: number;
  /** Subgroups side by side. */
  readonly across: number;
}

/** Tiles of the result that a workgroup makes. */
export const MATRIX_SHAPES = {
  matrix64: { rows: 64, columns: 64, across: 4 },
  matrix128: { rows: 128, columns: 128, across: 2 },
} as const satisfies Record<string, MatrixShape>;

export type MatrixVariant = keyof typeof MATRIX_SHAPES;

/** Bytes of workgroup memory that the largest tile takes. */
export const MATRIX_MEMORY = 2 * 2 * 128 * (DEPTH + GAP) + SUBGROUPS * UNIT * UNIT * 4;

export function matrix(o: Product, name: MatrixVariant): Launch {
  const { rows, columns, across } = MATRIX_SHAPES[name];
  const down = rows / (SUBGROUPS / across) / UNIT;
  const wide = columns / across / UNIT;
  const spec = productSpec(o, name, 'vec4<f32>', columns);
  const { a, b } = operandsOf(o);
  const tiles = [tileOf(a, rows, `tile.y * ${rows}u`), tileOf(b, columns, `tile.x * ${columns}u`)] as const;
  const fetch = (k0: string) => tiles.map((t) => t.fetch(k0)).join('\n    ');
  const each = (f: (i: number, j: number) => string) => unroll(down, (i) => unroll(wide, (j) => f(i, j), '\n      '), '\n      ');
  const [tileA, tileB] = tiles;
  return launch({
    ...spec,
    // What a subgroup has follows from the thread's number, which compilers cannot tell to be the same in a subgroup; it is, in one row of threads.
    enable: 'enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\ndiagnostic(off, chromium.subgroup_matrix_uniformity);',
    header: `${spec.header}
alias Left = subgroup_matrix_left<f16, ${UNIT}, ${UNIT}>;
alias Right = subgroup_matrix_right<f16, ${UNIT}, ${UNIT}>;
alias Result = subgroup_matrix_result<f32, ${UNIT}, ${UNIT}>;
var<workgroup> tileA: array<f16, ${tileA.size}>;
var<workgroup> tileB: array<f16, ${tileB.size}>;
var<workgroup> results: array<f32, ${SUBGROUPS * UNIT * UNIT}>;`,
    workgroupSize: [THREADS],
    workgroups: productGroups(o, rows, columns),
    body: `${PLACE}
  let subgroup = lid.x / ${LANES}u;
  let ours = vec2<u32>(subgroup / ${across}u * ${down * UNIT}u, subgroup % ${across}u * ${wide * UNIT}u);
  ${each((i, j) => `var s${i}_${j} = Result();`)}
  ${tiles.map((t) => t.declare).join('\n  ')}
  { ${fetch('0u')} }
  for (var k0 = 0u; k0 < p.k; k0 += ${DEPTH}u) {
    ${tiles.map((t) => t.keep).join('\n    ')}
    workgroupBarrier();
    let next = k0 + ${DEPTH}u;
    if (next < p.k) { ${fetch('next')} }
    ${unroll(DEPTH / UNIT, (step) => `{
      ${unroll(down, (i) => `let l${i} = subgroupMatrixLoad<Left, ${a.alongInner ? 'row_major' : 'col_major'}>(&tileA, ${tileA.at(`ours.x + ${i * UNIT}u`, step)}, ${tileA.stride}u);`, '\n      ')}
      ${unroll(wide, (j) => `let r${j} = subgroupMatrixLoad<Right, ${b.alongInner ? 'col_major' : 'row_major'}>(&tileB, ${tileB.at(`ours.y + ${j * UNIT}u`, step)}, ${tileB.stride}u);`, '\n      ')}
      ${each((i, j) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, s${i}_${j});`)}
    }`)}
    workgroupBarrier();
  }
  let lane = lid.x % ${LANES}u;
  let mine = subgroup * ${UNIT * UNIT}u;
  ${each((i, j) => `subgroupMatrixStore<row_major>(&results, mine, s${i}_${j}, ${UNIT}u);
  workgroupBarrier();
  for (var e = lane; e < ${UNIT * UNIT}u; e += ${LANES}u) {
    let r = tile.y * ${rows}u + ours.x + ${i * UNIT}u + e / ${UNIT}u;
    let c = tile.x * ${columns}u + ours.y + ${j * UNIT}u + e % ${UNIT}u;
    if (r < p.m && c < p.n) { ${store(o, 'r', 'c', 'results[mine + e]')} }
  }
  workgroupBarrier();`)}`,
  });
}

/** How a workgroup keeps `length` x DEPTH numbers of an operand, as they lie in memory, from the outer index `first` on. */
function tileOf({ name, quad, outer, alongInner }: Operand, length: number, first: string) {
  const width = alongInner ? DEPTH : length;
  const stride = width + GAP;
  const across = width / 4;
  const count = (length * DEPTH) / 4 / THREADS;
  // Row and vec4 of a thread's i-th share.
  const row = (i: number) => `(lid.x / ${across}u + ${(i * THREADS) / across}u)`;
  const column4 = `(lid.x % ${across}u)`;
  const tile = name === 'a' ? 'tileA' : 'tileB';
  return {
    stride,
    size: (alongInner ? length : DEPTH) * stride,
    /** WGSL: where the 16 x 16 numbers from an outer index and a step of the inner axis on begin. */
    at: (from: string, step: number) => (alongInner ? `(${from}) * ${stride}u + ${step * UNIT}u` : `${step * UNIT * stride}u + ${from}`),
    declare: unroll(count, (i) => `var ${name}${i} = vec4<f32>();`, ' '),
    /** WGSL that reads a thread's share of the tile at inner step k0; zero beyond k, beyond the outer axis whatever is last. */
    fetch: (k0: string) =>
      unroll(count, (i) =>
        alongInner
          ? `{ let k = ${k0} + ${column4} * 4u; ${name}${i} = select(vec4<f32>(), ${quad(`min(${first} + ${row(i)}, ${outer} - 1u)`, 'min(k, p.k - 4u) / 4u')}, k < p.k); }`
          : `{ let k = ${k0} + ${row(i)}; ${name}${i} = select(vec4<f32>(), ${quad('min(k, p.k - 1u)', `min(${first} / 4u + ${column4}, ${outer} / 4u - 1u)`)}, k < p.k); }`),
    /** WGSL that puts it into workgroup memory. */
    keep: unroll(count, (i) => unroll(4, (e) => `${tile}[${row(i)} * ${stride}u + ${column4} * 4u + ${e}u] = f16(${name}${i}[${e}]);`, ' ')),
  };
}
