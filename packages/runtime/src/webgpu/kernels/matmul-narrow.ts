/**
 * @file Matrix products with at most eight rows (a step of decoding): the weight is read once, by neighbours side by side, and
 * the inner axis is divided among the eight threads of a column, whose sums meet in workgroup memory in a fixed order.
 */
import { launch, type Launch, unroll } from '../launch.ts';
import { PLACE, type Product, productGroups, productSpec, store } from './product.ts';

/** More rows would need more registers than they save reads. */
export const NARROW_ROWS = 8;

/** B [N, K]: eight columns a workgroup, lane l of a column takes every eighth vec4 of the inner axis from l on. B [K, N]: 32 columns a workgroup in vec4s, slice l takes every eighth step. */
export function narrow(o: Product): Launch {
  const { m, transposeB } = o;
  const columns = transposeB ? 8 : 32;
  const type = transposeB ? 'f32' : 'vec4<f32>';
  const spec = productSpec(o, `narrow${m}`, 'vec4<f32>', columns);
  const rows = (f: (r: number) => string, separator = ' ') => unroll(m, f, separator);
  // `x`: the column (or vec4 of columns) of a thread; `l`: its part of the inner axis.
  const sums = transposeB
    ? `let pb = (bz + min(tile.x * 8u + lid.y, p.n - 1u) * p.k) / 4u;
  for (var k = lid.x; k < p.k / 4u; k += 8u) { let w = b[pb + k]; ${rows((r) => `s${r} += dot(a[(az + ${r}u * p.rowA) / 4u + k], w);`)} }`
    : `let pb = bz / 4u + min(tile.x * 8u + lid.x, p.n / 4u - 1u);
  for (var k = lid.y; k < p.k; k += 8u) { let w = b[pb + k * (p.n / 4u)]; ${rows((r) => `s${r} = fma(vec4<f32>(a[(az + ${r}u * p.rowA + k) / 4u][k & 3u]), w, s${r});`)} }`;
  const [x, l] = transposeB ? ['lid.y', 'lid.x'] : ['lid.x', 'lid.y'];
  return launch({
    ...spec,
    header: `${spec.header}\nvar<workgroup> parts: array<${type}, ${64 * m}>;`,
    workgroupSize: [8, 8],
    workgroups: [productGroups(o, 1, columns)[0], 1],
    body: `${PLACE}
  ${rows((r) => `var s${r} = ${type}();`)}
  ${sums}
  ${rows((r) => `parts[(${r}u * 8u + ${x}) * 8u + ${l}] = s${r};`)}
  workgroupBarrier();
  // Thread l of a column has row l.
  if (${l} >= ${m}u) { return; }
  var s = ${type}();
  for (var i = 0u; i < 8u; i++) { s += parts[(${l} * 8u + ${x}) * 8u + i]; }
  ${transposeB
    ? `let c = tile.x * 8u + ${x}; if (c < p.n) { ${store(o, l, 'c', 's')} }`
    : `let c = tile.x * 32u + ${x} * 4u; ${unroll(4, (e) => `if (c + ${e}u < p.n) { ${store(o, l, `(c + ${e}u)`, `s[${e}]`)} }`, ' ')}`}`,
  });
}
