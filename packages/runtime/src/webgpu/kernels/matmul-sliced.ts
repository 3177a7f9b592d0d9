/**
 * @file Matrix products with few results of long sums, as the two halves of a low-rank adapter and their gradients are: the
 * inner axis is divided among the threads of a workgroup, and what they have meets in workgroup memory in a fixed order.
 *
 * A [M, K] B [N, K]: 4 rows by 8 columns of the result a workgroup, each of its 64 threads has every 64th vec4 of the inner axis.
 * B [K, N]: 8 rows by 32 columns; a thread has four columns, and every 16th step of the inner axis (or four of them, where A
 * lies along it).
 */
import { launch, type Launch, unroll } from '../launch.ts';
import { operandsOf, PLACE, type Product, productGroups, productSpec, store } from './product.ts';

/** Whether there is a variant for the transposition. Both operands must be readable in vec4s. */
export function slicable({ transposeA, transposeB }: Product): boolean {
  return !(transposeA && transposeB);
}

export function sliced(o: Product): Launch {
  return o.transposeB ? alongRows(o) : alongColumns(o);
}

function alongRows(o: Product): Launch {
  const [rows, columns, threads] = [4, 8, 64];
  const quads = columns / 4;
  const spec = productSpec(o, 'sliced', 'vec4<f32>', columns);
  const { a, b } = operandsOf(o);
  return launch({
    ...spec,
    header: `${spec.header}\nvar<workgroup> sums: array<vec4<f32>, ${rows * quads * threads}>;`,
    workgroupSize: [threads],
    workgroups: productGroups(o, rows, columns),
    body: `${PLACE}
  let r0 = tile.y * ${rows}u;
  let c0 = tile.x * ${columns}u;
  ${unroll(rows, (i) => `let row${i} = min(r0 + ${i}u, p.m - 1u);`, ' ')}
  ${unroll(columns, (j) => `let column${j} = min(c0 + ${j}u, p.n - 1u);`, ' ')}
  ${unroll(rows, (i) => unroll(quads, (q) => `var s${i}_${q} = vec4<f32>();`, ' '), ' ')}
  for (var k4 = lid.x; k4 < p.k / 4u; k4 += ${threads}u) {
    ${unroll(columns, (j) => `let y${j} = ${b.quad(`column${j}`, 'k4')};`)}
    ${unroll(rows, (i) => `{ let x = ${a.quad(`row${i}`, 'k4')};
      ${unroll(quads, (q) => `s${i}_${q} += vec4<f32>(${unroll(4, (e) => `dot(x, y${q * 4 + e})`, ', ')});`, ' ')} }`)}
  }
  ${unroll(rows, (i) => unroll(quads, (q) => `sums[${(i * quads + q) * threads}u + lid.x] = s${i}_${q};`, ' '), '\n  ')}
  ${gather(o, rows, quads, threads, 'lid.x')}`,
  });
}

function alongColumns(o: Product): Launch {
  const [rows, quads, slices] = [8, 8, 16];
  const spec = productSpec(o, 'sliced', 'vec4<f32>', quads * 4);
  const { a, b } = operandsOf(o);
  return launch({
    ...spec,
    header: `${spec.header}\nvar<workgroup> sums: array<vec4<f32>, ${rows * quads * slices}>;`,
    workgroupSize: [quads, slices],
    workgroups: productGroups(o, rows, quads * 4),
    body: `${PLACE}
  let r0 = tile.y * ${rows}u;
  let c0 = tile.x * ${quads * 4}u;
  let column4 = min(c0 / 4u + lid.x, p.n / 4u - 1u);
  ${unroll(rows, (i) => `var s${i} = vec4<f32>();`, ' ')}
  ${a.alongInner
    ? `for (var k4 = lid.y; k4 < p.k / 4u; k4 += ${slices}u) {
    ${unroll(4, (e) => `let y${e} = ${b.quad(`(k4 * 4u + ${e}u)`, 'column4')};`)}
    ${unroll(rows, (i) => `{ let x = ${a.quad(`min(r0 + ${i}u, p.m - 1u)`, 'k4')}; ${unroll(4, (e) => `s${i} = fma(vec4<f32>(x[${e}]), y${e}, s${i});`, ' ')} }`)}
  }`
    : `for (var k = lid.y; k < p.k; k += ${slices}u) {
    let y = ${b.quad('k', 'column4')};
    ${unroll(rows / 4, (q) => `{ let x = ${a.quad('k', `min(r0 / 4u + ${q}u, p.m / 4u - 1u)`)};
      ${unroll(4, (e) => `s${q * 4 + e} = fma(vec4<f32>(x[${e}]), y, s${q * 4 + e});`, ' ')} }`)}
  }`}
  ${unroll(rows, (i) => `sums[(${i * quads}u + lid.x) * ${slices}u + lid.y] = s${i};`, ' ')}
  ${gather(o, rows, quads, slices, `lid.y * ${quads}u + lid.x`)}`,
  });
}

/** WGSL that adds up the partial sums (of each vec4 of the result `count`, behind each other in `sums`) and stores them: a thread a vec4. */
function gather(o: Product, rows: number, quads: number, count: number, thread: string): string {
  return `workgroupBarrier();
  let it = ${thread};
  if (it >= ${rows * quads}u) { return; }
  var s = sums[it * ${count}u];
  for (var i = 1u; i < ${count}u; i++) { s += sums[it * ${count}u + i]; }
  let r = r0 + it / ${quads}u;
  let c = c0 + it % ${quads}u * 4u;
  if (r < p.m) { ${unroll(4, (e) => `if (c + ${e}u < p.n) { ${store(o, 'r', `(c + ${e}u)`, `s[${e}]`)} }`, ' ')} }`;
}
