/**
 * @file Matrix products in tiles that a workgroup keeps in its memory, for GPUs whose workgroup memory is faster than their
 * caches. 16 steps of the inner axis at a time: every thread fetches one 4 x 4 block of A or of B, turns it so that four rows
 * (columns) stand in a vec4, and stores it; then each thread multiplies out rowsPerThread x columnsPerThread elements from
 * there, while its next block is on the way. A thread's vec4s lie `threads` apart, so that neighbours read neighbours. 8 or
 * 16 KiB of workgroup memory, at most 256 threads: what every device grants.
 */
import { launch, type Launch, unroll } from '../launch.ts';
import type { KernelContext } from './context.ts';
import { type Operand, operandsOf, PLACE, type Product, productGroups, productSpec, store, wholeVectors } from './product.ts';

export interface BlockShape {
  /** Rows of a workgroup's tile, and columns. */
  readonly side: number;
  readonly rowsPerThread: 4 | 8;
  readonly columnsPerThread: 4 | 8;
}

/** Steps of the inner axis that are kept at a time; with it, a tile has one 4 x 4 block for every thread. */
const DEPTH = 16;

/** Smaller tiles keep more workgroups busy, larger ones fetch less. */
export const BLOCKS = {
  block32: { side: 32, rowsPerThread: 4, columnsPerThread: 4 },
  block64: { side: 64, rowsPerThread: 8, columnsPerThread: 4 },
  block128: { side: 128, rowsPerThread: 8, columnsPerThread: 8 },
} as const satisfies Record<string, BlockShape>;

export function block(o: Product, name: keyof typeof BLOCKS, { software }: KernelContext): Launch {
  const { side, rowsPerThread, columnsPerThread } = BLOCKS[name];
  const [tx, ty] = [side / columnsPerThread, side / rowsPerThread];
  const [r4, c4] = [rowsPerThread / 4, columnsPerThread / 4];
  const quads = side / 4;
  const vectors = wholeVectors(o);
  const spec = productSpec(o, vectors ? name : `${name}.scalar`, vectors ? 'vec4<f32>' : 'f32', side);
  const { a, b } = operandsOf(o);
  const fetch = (operand: Operand, first: string) => (vectors ? fetchQuads(operand, first) : fetchElements(o, operand, first));
  const keep = (operand: Operand, tile: string) => unroll(4, (u) => `${tile}[(step4 * 4u + ${u}u) * ${quads}u + ${turn(operand, 'quad', 'step4')}] = x${u};`, ' ');
  // Neighbouring threads read neighbouring numbers, along whatever axis these lie.
  const shareOf = (operand: Operand) => (operand.alongInner ? [`share / ${DEPTH / 4}u`, `share % ${DEPTH / 4}u`] : [`share % ${quads}u`, `share / ${quads}u`]);
  const [ofA, ofB] = [shareOf(a), shareOf(b)];
  return launch({
    ...spec,
    // A uniform where the compiler would unroll the loop over it for seconds.
    uniforms: { ...spec.uniforms, ...(software ? { depth: ['u32', DEPTH] } : {}) },
    header: `${spec.header}
var<workgroup> tileA: array<vec4<f32>, ${DEPTH * quads}>;
var<workgroup> tileB: array<vec4<f32>, ${DEPTH * quads}>;`,
    workgroupSize: [tx, ty],
    workgroups: productGroups(o, side, side),
    body: `${PLACE}
  // The block of a thread, of A or of B: four rows or columns (quad), four steps of the inner axis (step4).
  let thread = lid.y * ${tx}u + lid.x;
  let ofA = thread < ${side}u;
  let share = select(thread - ${side}u, thread, ofA);
  let quad = select(${ofB[0]}, ${ofA[0]}, ofA);
  let step4 = select(${ofB[1]}, ${ofA[1]}, ofA);
  ${unroll(rowsPerThread, (i) => unroll(c4, (j) => `var s${i}_${j} = vec4<f32>();`, ' '), ' ')}
  ${unroll(4, (u) => `var x${u} = vec4<f32>();`, ' ')}
  // Each round fetches a block, multiplies out those of the round before, and puts it in their place; the last only multiplies.
  for (var k0 = 0u; ; k0 += ${DEPTH}u) {
    let ks = k0 + step4 * 4u;
    if (k0 < p.k) { if (ofA) { ${fetch(a, `tile.y * ${side}u`)} } else { ${fetch(b, `tile.x * ${side}u`)} } }
    if (k0 > 0u) {
      for (var k = 0u; k < ${software ? 'p.depth' : `${DEPTH}u`}; k++) {
        ${unroll(r4, (q) => `let a${q} = tileA[k * ${quads}u + ${turn(a, `(lid.y + ${q * ty}u)`, 'k / 4u')}];`, ' ')}
        ${unroll(c4, (j) => `let b${j} = tileB[k * ${quads}u + ${turn(b, `(lid.x + ${j * tx}u)`, 'k / 4u')}];`, ' ')}
        ${unroll(rowsPerThread, (i) => unroll(c4, (j) => `s${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, s${i}_${j});`, ' '))}
      }
    }
    if (k0 >= p.k) { break; }
    workgroupBarrier();
    if (ofA) { ${keep(a, 'tileA')} } else { ${keep(b, 'tileB')} }
    workgroupBarrier();
  }
  ${unroll(rowsPerThread, (i) => `{ let r = tile.y * ${side}u + (lid.y + ${(i >> 2) * ty}u) * 4u + ${i & 3}u;
    if (r < p.m) { ${unroll(c4, (j) => `{ let c = tile.x * ${side}u + (lid.x + ${j * tx}u) * 4u;
      ${unroll(4, (e) => `if (c + ${e}u < p.n) { ${store(o, 'r', `(c + ${e}u)`, `s${i}_${j}[${e}]`)} }`, ' ')} }`)} } }`)}`,
  });
}

/** WGSL of where a quad stands in its row of a tile: turned by the step, where threads side by side store steps and not quads, so that they meet no bank twice. */
function turn({ alongInner }: Operand, quad: string, step4: string): string {
  return alongInner ? `(${quad} ^ (${step4} * 2u))` : quad;
}

/** WGSL of the outer index of element `i` of a block; beyond the end, the last. `first`: WGSL of the first outer index of the tile. */
function outerAt({ outer }: Operand, first: string, i: number): string {
  return `min(${first} + quad * 4u + ${i}u, ${outer} - 1u)`;
}

/** WGSL that makes x0 .. x3: at inner step ks + u, the four outer elements of the block. Zero beyond k; beyond the outer axis whatever is last. */
function fetchQuads(operand: Operand, first: string): string {
  if (!operand.alongInner) {
    return `let o4 = min(${first} / 4u + quad, ${operand.outer} / 4u - 1u);
      ${unroll(4, (u) => `x${u} = select(vec4<f32>(), ${operand.quad(`min(ks + ${u}u, p.k - 1u)`, 'o4')}, ks + ${u}u < p.k);`)}`;
  }
  return `let inside = ks < p.k; let k4 = min(ks / 4u, p.k / 4u - 1u);
      let turned = transpose(mat4x4<f32>(${unroll(4, (i) => `select(vec4<f32>(), ${operand.quad(outerAt(operand, first, i), 'k4')}, inside)`, ', ')}));
      ${unroll(4, (u) => `x${u} = turned[${u}];`, ' ')}`;
}

/** The same, number by number, for sizes that are no whole fours. */
function fetchElements(o: Product, operand: Operand, first: string): string {
  const [base, row] = operand.name === 'a' ? ['az', 'p.rowA'] : ['bz', o.transposeB ? 'p.k' : 'p.n'];
  const element = (i: number, u: number) => {
    const [at, k] = [outerAt(operand, first, i), `min(ks + ${u}u, p.k - 1u)`];
    return `${operand.name}[${base} + ${operand.alongInner ? `${at} * ${row} + ${k}` : `${k} * ${row} + ${at}`}]`;
  };
  return unroll(4, (u) => `x${u} = select(vec4<f32>(), vec4<f32>(${unroll(4, (i) => element(i, u), ', ')}), ks + ${u}u < p.k);`);
}
