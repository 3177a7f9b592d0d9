/** @file Matrix products in register tiles, without workgroup memory and without any optional feature. */
import { launch, type Launch, unroll } from '../launch.ts';
import { PLACE, type Product, productGroups, productSpec, store, storeQuads } from './product.ts';

/** 4 x 4 outputs a thread with vec4 loads along whatever axis is contiguous. */
export function tile(o: Product): Launch {
  const { transposeA, transposeB } = o;
  // a_u[i]: element (row i, inner u) of the thread's 4 x 4 block of A; likewise b_u holds four columns at inner u.
  const loadA = transposeA
    ? unroll(4, (u) => `let x${u} = select(a[min(k * 4u + ${u}u, p.k - 1u) * row4 + pa], vec4<f32>(), k * 4u + ${u}u >= p.k);`)
    : `let ta = transpose(mat4x4<f32>(${unroll(4, (i) => `a[a4 + min(r0 + ${i}u, p.m - 1u) * row4 + k]`, ', ')}));
    ${unroll(4, (u) => `let x${u} = ta[${u}];`)}`;
  const loadB = transposeB
    ? `let tb = transpose(mat4x4<f32>(${unroll(4, (j) => `b[b4 + min(c0 + ${j}u, p.n - 1u) * k4 + k]`, ', ')}));
    ${unroll(4, (u) => `let y${u} = tb[${u}];`)}`
    : unroll(4, (u) => `let y${u} = b[min(k * 4u + ${u}u, p.k - 1u) * n4 + pb];`);
  return launch({
    ...productSpec(o, 'tile', 'vec4<f32>', 32),
    workgroupSize: [8, 8],
    workgroups: productGroups(o, 32, 32),
    body: `${PLACE}
  let k4 = (p.k + 3u) / 4u;
  let m4 = max(p.m / 4u, 1u);
  let n4 = max(p.n / 4u, 1u);
  let row4 = p.rowA / 4u;
  let r0 = gid.y * 4u;
  let c0 = (tile.x * 8u + lid.x) * 4u;
  let a4 = az / 4u;
  let b4 = bz / 4u;
  let pa = a4 + min(gid.y, m4 - 1u);
  let pb = b4 + min(c0 / 4u, n4 - 1u);
  ${unroll(4, (i) => `var s${i} = vec4<f32>();`, ' ')}
  for (var k = 0u; k < k4; k++) {
    ${loadA}
    ${loadB}
    ${unroll(4, (i) => `s${i} = fma(vec4<f32>(x0[${i}]), y0, fma(vec4<f32>(x1[${i}]), y1, fma(vec4<f32>(x2[${i}]), y2, fma(vec4<f32>(x3[${i}]), y3, s${i}))));`)}
  }
  ${storeQuads(o, 4, 'r0', 'c0')}`,
  });
}

/** Any size, any transposition: one element a thread. */
export function scalar(o: Product): Launch {
  const { transposeA, transposeB } = o;
  const columns = o.n >= 16 ? 4 : 1;
  const rows = o.m >= 16 ? 4 : 1;
  // What lies outside is computed from the last row or column and not stored.
  return launch({
    ...productSpec(o, `scalar.${rows}x${columns}`, 'f32', 8 * columns),
    workgroupSize: [8, 8],
    workgroups: productGroups(o, 8 * rows, 8 * columns),
    body: `${PLACE}
  ${unroll(rows, (i) => `let r${i} = tile.y * ${8 * rows}u + ${8 * i}u + lid.y; let a${i} = min(r${i}, p.m - 1u);`)}
  ${unroll(columns, (j) => `let c${j} = tile.x * ${8 * columns}u + ${8 * j}u + lid.x; let b${j} = min(c${j}, p.n - 1u);`)}
  ${unroll(rows, (i) => unroll(columns, (j) => `var s${i}_${j} = 0.0;`, ' '))}
  for (var k = 0u; k < p.k; k++) {
    ${unroll(columns, (j) => `let y${j} = b[bz + ${transposeB ? `b${j} * p.k + k` : `k * p.n + b${j}`}];`)}
    ${unroll(rows, (i) => `let x${i} = a[az + ${transposeA ? `k * p.rowA + a${i}` : `a${i} * p.rowA + k`}];
    ${unroll(columns, (j) => `s${i}_${j} = fma(x${i}, y${j}, s${i}_${j});`, ' ')}`)}
  }
  ${unroll(rows, (i) => unroll(columns, (j) => `if (r${i} < p.m && c${j} < p.n) { ${store(o, `r${i}`, `c${j}`, `s${i}_${j}`)} }`))}`,
  });
}
