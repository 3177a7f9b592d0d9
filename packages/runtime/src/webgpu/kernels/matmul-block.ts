/**
 * @file Matrix products in tiles that a workgroup keeps in its memory, for GPUs whose workgroup memory is faster than their
 * caches. 16 steps of the inner axis at a time: every thread fetches one 4 x 4 block of A or of B, turns it so that four rows
 * (columns) stand in a vec4, and stores it; then each thread multiplies out rowsPerThread x columnsPerThread elements from
 * there. A thread's vec4s lie `threads` apart, so that neighbours read neighbours. 8 or 16 KiB of workgroup memory, at most
 * 256 threads: what every device grants.
 *
 * Taken where the tuner (`tuner.ts`) has measured that they are faster.
 */
import { launch, type Launch, unroll } from '../launch.ts';
import { type Operand, operandsOf, PLACE, type Product, productGroups, productSpec, store, wholeVectors } from './product.ts';

export interface BlockShape {
  /** Rows and columns of a workgroup's tile. */
  readonly rows: number;
  readonly columns: number;
  readonly rowsPerThread: 4 | 8;
  readonly columnsPerThread: 4 | 8;
}

/** Steps of the inner axis that are kept at a time; with it, a tile has one 4 x 4 block for every thread. */
const DEPTH = 16;

/** Smaller tiles keep more workgroups busy, larger ones fetch less. */
export const BLOCKS = {
  block32: { rows: 32, columns: 32, rowsPerThread: 4, columnsPerThread: 4 },
  block64: { rows: 64, columns: 64, rowsPerThread: 8, columnsPerThread: 4 },
  block128: { rows: 128, columns: 128, rowsPerThread: 8, columnsPerThread: 8 },
} as const satisfies Record<string, BlockShape>;

export function block(o: Product, name: keyof typeof BLOCKS): Launch {
  const { rows, columns, rowsPerThread, columnsPerThread } = BLOCKS[name];
  const [tx, ty] = [columns / columnsPerThread, rows / rowsPerThread];
  const [r4, c4] = [rowsPerThread / 4, columnsPerThread / 4];
  const vectors = wholeVectors(o);
  const spec = productSpec(o, vectors ? name : `${name}.scalar`, vectors ? 'vec4<f32>' : 'f32', columns);
  const { a, b } = operandsOf(o);
  const fetch = (operand: Operand, first: string) => (vectors ? fetchQuads(operand, first) : fetchElements(o, operand, first));
  const fetchA = fetch(a, `tile.y * ${rows}u`);
  const fetchB = fetch(b, `tile.x * ${columns}u`);
  return launch({
    ...spec,
    // A uniform, so that no compiler unrolls the loop over it, which costs lavapipe seconds a shader.
    uniforms: { ...spec.uniforms, depth: ['u32', DEPTH] },
    header: `${spec.header}
var<workgroup> tileA: array<vec4<f32>, ${(DEPTH * rows) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(DEPTH * columns) / 4}>;`,
    workgroupSize: [tx, ty],
    workgroups: productGroups(o, rows, columns),
    body: `${PLACE}
  let thread = lid.y * ${tx}u + lid.x;
  ${unroll(rowsPerThread, (i) => unroll(c4, (j) => `var s${i}_${j} = vec4<f32>();`, ' '), ' ')}
  for (var k0 = 0u; k0 < p.k; k0 += ${DEPTH}u) {
    if (thread < ${rows}u) {
      // Blocks of A: four steps of the inner axis (\`step4\`), four rows (\`quad\`).
      let quad = thread % ${rows / 4}u;
      let step4 = thread / ${rows / 4}u;
      ${fetchA}
      ${unroll(4, (u) => `tileA[(step4 * 4u + ${u}u) * ${rows / 4}u + quad] = x${u};`, ' ')}
    } else {
      let quad = (thread - ${rows}u) % ${columns / 4}u;
      let step4 = (thread - ${rows}u) / ${columns / 4}u;
      ${fetchB}
      ${unroll(4, (u) => `tileB[(step4 * 4u + ${u}u) * ${columns / 4}u + quad] = x${u};`, ' ')}
    }
    workgroupBarrier();
    for (var k = 0u; k < p.depth; k++) {
      ${unroll(r4, (q) => `let a${q} = tileA[k * ${rows / 4}u + lid.y + ${q * ty}u];`, ' ')}
      ${unroll(c4, (j) => `let b${j} = tileB[k * ${columns / 4}u + lid.x + ${j * tx}u];`, ' ')}
      ${unroll(rowsPerThread, (i) => unroll(c4, (j) => `s${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, s${i}_${j});`, ' '))}
    }
    workgroupBarrier();
  }
  ${unroll(rowsPerThread, (i) => `{ let r = tile.y * ${rows}u + (lid.y + ${(i >> 2) * ty}u) * 4u + ${i & 3}u;
    if (r < p.m) { ${unroll(c4, (j) => `{ let c = tile.x * ${columns}u + (lid.x + ${j * tx}u) * 4u;
      ${unroll(4, (e) => `if (c + ${e}u < p.n) { ${store(o, 'r', `(c + ${e}u)`, `s${i}_${j}[${e}]`)} }`, ' ')} }`)} } }`)}`,
  });
}

/** WGSL of the outer index of element `i` of a block; beyond the end, the last. `first`: WGSL of the first outer index of the tile. */
function outerAt({ outer }: Operand, first: string, i: number): string {
  return `min(${first} + quad * 4u + ${i}u, ${outer} - 1u)`;
}

/** WGSL that makes x0 .. x3: at inner step k0 + step4 * 4 + u, the four outer elements of the block. Zero beyond k; beyond the outer axis whatever is last. */
function fetchQuads(operand: Operand, first: string): string {
  const begin = 'let ks = k0 + step4 * 4u;';
  if (!operand.alongInner) {
    return `${begin} let o4 = min(${first} / 4u + quad, ${operand.outer} / 4u - 1u);
      ${unroll(4, (u) => `let x${u} = select(vec4<f32>(), ${operand.quad(`min(ks + ${u}u, p.k - 1u)`, 'o4')}, ks + ${u}u < p.k);`)}`;
  }
  return `${begin} let inside = ks < p.k; let k4 = min(ks / 4u, p.k / 4u - 1u);
      let turned = transpose(mat4x4<f32>(${unroll(4, (i) => `select(vec4<f32>(), ${operand.quad(outerAt(operand, first, i), 'k4')}, inside)`, ', ')}));
      ${unroll(4, (u) => `let x${u} = turned[${u}];`, ' ')}`;
}

/** The same, number by number, for sizes that are no whole fours. */
function fetchElements(o: Product, operand: Operand, first: string): string {
  const [base, row] = operand.name === 'a' ? ['az', 'p.rowA'] : ['bz', o.transposeB ? 'p.k' : 'p.n'];
  const element = (i: number, u: number) => {
    const [at, k] = [outerAt(operand, first, i), `min(ks + ${u}u, p.k - 1u)`];
    return `${operand.name}[${base} + ${operand.alongInner ? `${at} * ${row} + ${k}` : `${k} * ${row} + ${at}`}]`;
  };
  return `let ks = k0 + step4 * 4u; ${unroll(4, (u) => `let x${u} = select(vec4<f32>(), vec4<f32>(${unroll(4, (i) => element(i, u), ', ')}), ks + ${u}u < p.k);`)}`;
}
