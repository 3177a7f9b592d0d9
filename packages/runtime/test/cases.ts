import {
  activate, adamw, adamw8bit, add, attention, backward, blendRows, bmm, bmmInto, columnSumInto, decodeAdvance, decodeInputs, dropout, dropoutRest, dynamicMap, embed, embedQuantised, gatherRows, headLogProbabilities, headNorm, idIndex,
  layerNorm, linear, logSoftmax, lora, markSeen, matmul, matmulInto, matmulShards, packHyper, packSgdHyper, penaliseSeen, PhiloxStream, rmsNorm, rope, ropeTable, sample, sampleSettings, scatterRowsInto, seenWords, SETTINGS_WIDTH, sgd, STATE_WIDTH, sumSquares, swiglu, type Activation, type QuantisedWeight, type SampleSettings, type Tensor,
} from '../src/index.ts';
import type { Case, CaseContext } from './harness.ts';

/** Records y = f(inputs), a random gradient of y, and the gradients of all inputs as outputs: forward and backward in one. */
function withGradients(ctx: CaseContext, y: Tensor, inputs: Record<string, Tensor>): void {
  ctx.graph.output('y', y);
  const seed = ctx.normal('dy', y.shape);
  const grads = backward(ctx.graph, [[y, seed]], Object.values(inputs));
  for (const [name, t] of Object.entries(inputs)) {
    const g = grads.get(t);
    if (g === undefined) throw new Error(`no gradient reached ${name}`);
    ctx.graph.output(`d${name}`, g);
  }
}

/** Causal packed segments of the given lengths: query and key ranges. */
export function causal(lengths: readonly number[]): { queries: number[]; keys: number[] } {
  const queries: number[] = [];
  const keys: number[] = [];
  let start = 0;
  for (const n of lengths) {
    for (let i = 0; i < n; i++) {
      queries.push(start, start + i + 1, 0, 0, 0, 0);
      keys.push(start + i, start + n);
    }
    start += n;
  }
  return { queries, keys };
}

const sizes: readonly (readonly [number, number, number])[] = [[1, 4, 4], [16, 32, 32], [17, 20, 36], [5, 7, 3], [64, 8, 64], [37, 160, 48], [2, 12, 4], [3, 100, 36], [130, 64, 68]];

const matmulCases: [string, Case][] = sizes.flatMap(([m, k, n]) =>
  ([[false, true], [false, false], [true, false], [true, true]] as const).map(([ta, tb]): [string, Case] => [
    `matmul ${ta ? 'T' : 'N'}${tb ? 'T' : 'N'} ${m}x${k}x${n}`,
    (ctx) => {
      const a = ctx.normal('a', ta ? [k, m] : [m, k]);
      const b = ctx.normal('b', tb ? [n, k] : [k, n]);
      const bias = ctx.normal('bias', [n]);
      const residual = ctx.normal('residual', [m, n]);
      const options = { transposeA: ta, transposeB: tb, alpha: 0.7 };
      ctx.graph.output('fused', matmul(a, b, { ...options, bias, residual, activation: 'silu' }));
      matmulInto(ctx.target('into', [m, n]), a, b, options);
      withGradients(ctx, matmul(a, b, { ...options, residual }), { a, b, residual });
    },
  ]),
);

/** A batch of one, of one matrix row, of primes, of whole tiles, and shapes drawn once from a seed. */
const drawn = new PhiloxStream(41);
const batchedSizes: readonly (readonly [number, number, number, number])[] = [[1, 1, 4, 4], [3, 16, 32, 32], [2, 17, 20, 36], [5, 5, 7, 3], [7, 2, 12, 4], [2, 130, 64, 68], ...Array.from({ length: 3 }, () => [1 + drawn.integer(4), 1 + drawn.integer(40), 1 + drawn.integer(40), 1 + drawn.integer(40)] as const)];

const batchedCases: [string, Case][] = batchedSizes.flatMap(([batch, m, k, n]) =>
  ([[false, true], [false, false], [true, false], [true, true]] as const).map(([ta, tb]): [string, Case] => [
    `bmm ${ta ? 'T' : 'N'}${tb ? 'T' : 'N'} ${batch}x${m}x${k}x${n}`,
    (ctx) => {
      const a = ctx.normal('a', ta ? [batch, k, m] : [batch, m, k]);
      const b = ctx.normal('b', tb ? [batch, n, k] : [batch, k, n]);
      const residual = ctx.normal('residual', [batch, m, n]);
      const options = { transposeA: ta, transposeB: tb, alpha: 0.7 };
      bmmInto(ctx.target('into', [batch, m, n]), a, b, options);
      const weight = { ...b, grad: ctx.target('gradient of b', b.shape, () => 0) };
      ctx.graph.output('parameter', bmm(a, weight, options));
      withGradients(ctx, bmm(a, b, { ...options, residual }), { a, b, residual });
    },
  ]),
);

const causalAttention = (heads: number, kvHeads: number, d: number, lengths: readonly number[]): [string, Case] => [
  `attention ${heads}/${kvHeads} heads of ${d}, segments ${lengths.join('+')}`,
  (ctx) => {
    const t = lengths.reduce((a: number, b) => a + b, 0);
    const { queries, keys } = causal(lengths);
    const qkv = ctx.normal('qkv', [t, (heads + 2 * kvHeads) * d]);
    const options = { heads, kvHeads, headDim: d, queryRanges: ctx.integers('qr', [t, 6], queries, 'u32'), keyRanges: ctx.integers('kr', [t, 2], keys, 'u32'), columns: [0, heads * d, (heads + kvHeads) * d] as const };
    withGradients(ctx, attention(qkv, qkv, qkv, options), { qkv });
  },
];

const attentionCases = [causalAttention(1, 1, 4, [5]), causalAttention(4, 2, 8, [9, 1, 23]), causalAttention(6, 2, 12, [41, 1, 59]), causalAttention(6, 3, 16, [70]), causalAttention(2, 2, 40, [3, 17]), causalAttention(2, 1, 128, [11, 37])];

/** Two packed rows of 14 and 5, of which a query sees itself and the five before it (sliding window, as Mistral's). */
const windowed: Case = (ctx) => {
  const queries: number[] = [];
  const keys: number[] = [];
  let start = 0;
  for (const n of [14, 5]) {
    for (let i = start; i < start + n; i++) {
      queries.push(Math.max(start, i - 5), i + 1, 0, 0, 0, 0);
      keys.push(i, Math.min(start + n, i + 6));
    }
    start += n;
  }
  const qkv = ctx.normal('qkv', [19, 4 * 8]);
  const options = { heads: 2, kvHeads: 1, headDim: 8, queryRanges: ctx.integers('qr', [19, 6], queries, 'u32'), keyRanges: ctx.integers('kr', [19, 2], keys, 'u32'), columns: [0, 16, 24] as const };
  withGradients(ctx, attention(qkv, qkv, qkv, options), { qkv });
};

/** A prefix of 6 rows shared by suffixes of 3, 4 and 1 rows, with a row of padding at the end. */
const sharedPrefix: Case = (ctx) => {
  const queries: number[] = [];
  const keys: number[] = [];
  for (let i = 0; i < 6; i++) {
    queries.push(0, i + 1, 0, 0, 0, 0);
    keys.push(i, 14);
  }
  let at = 6;
  for (const n of [3, 4, 1]) {
    for (let i = 0; i < n; i++) {
      queries.push(0, 6, at, at + i + 1, 0, 0);
      keys.push(at + i, at + n);
    }
    at += n;
  }
  queries.push(0, 0, 0, 0, 0, 0);
  keys.push(0, 0);
  const qkv = ctx.normal('qkv', [15, 4 * 8]);
  const options = { heads: 2, kvHeads: 1, headDim: 8, queryRanges: ctx.integers('qr', [15, 6], queries, 'u32'), keyRanges: ctx.integers('kr', [15, 2], keys, 'u32'), columns: [0, 16, 24] as const };
  withGradients(ctx, attention(qkv, qkv, qkv, options), { qkv });
};

/** Three ranges for a query: a prefix of all, prompts behind it, and completions of each prompt that do not see one another. */
const groups: Case = (ctx) => {
  const prefix = 5;
  const prompts: readonly (readonly [number, ...number[]])[] = [[31, 11, 20, 40], [7, 3, 13]];
  const t = prefix + prompts.flat().reduce((a, b) => a + b, 0);
  const queries: number[] = [];
  const keys: number[] = [];
  for (let i = 0; i < prefix; i++) {
    queries.push(0, i + 1, 0, 0, 0, 0);
    keys.push(i, t);
  }
  let start = prefix;
  for (const [prompt, ...completions] of prompts) {
    const end = start + prompt + completions.reduce((a, b) => a + b, 0);
    for (let i = start; i < start + prompt; i++) {
      queries.push(0, prefix, start, i + 1, 0, 0);
      keys.push(i, end);
    }
    let at = start + prompt;
    for (const n of completions) {
      for (let i = at; i < at + n; i++) {
        queries.push(0, prefix, start, start + prompt, at, i + 1);
        keys.push(i, at + n);
      }
      at += n;
    }
    start = end;
  }
  const qkv = ctx.normal('qkv', [t, 6 * 8]);
  const options = { heads: 4, kvHeads: 1, headDim: 8, queryRanges: ctx.integers('qr', [t, 6], queries, 'u32'), keyRanges: ctx.integers('kr', [t, 2], keys, 'u32'), columns: [0, 32, 40] as const };
  withGradients(ctx, attention(qkv, qkv, qkv, options), { qkv });
};

/** Any ranges: disjoint and in any order, some empty, some rows without any key; large scores; q, k and v anywhere in tensors of different width. */
const anyRanges = (tq: number, tk: number, heads: number, kvHeads: number, d: number): [string, Case] => [
  `attention of ${tq} to any of ${tk}, ${heads}/${kvHeads} heads of ${d}`,
  (ctx) => {
    const ranges = Array.from({ length: tq }, (_, row) => {
      if (row % 7 === 5) return [0, 0, tk, tk, 0, 0];
      const cuts = Array.from({ length: 6 }, () => ctx.random.integer(tk + 1)).toSorted((a, b) => a - b);
      const turn = 2 * ctx.random.integer(3);
      return [...cuts.slice(turn), ...cuts.slice(0, turn)];
    }).flat();
    const [q, k, v] = [ctx.normal('q', [tq, heads * d + 12], 8), ctx.normal('k', [tk, kvHeads * d + 4]), ctx.normal('v', [tk, kvHeads * d + 8])];
    ctx.graph.output('o', attention(q, k, v, { heads, kvHeads, headDim: d, queryRanges: ctx.integers('ranges', [tq, 6], ranges, 'u32'), columns: [8, 4, 8] }));
  },
];

/** More heads for the kernels that share the work of a row. The others unroll theirs and take lavapipe minutes to compile. */
export const COOPERATIVE_CASES: [string, Case][] = [causalAttention(2, 2, 32, [2, 97]), causalAttention(2, 1, 64, [67]), causalAttention(3, 1, 80, [33, 31]), anyRanges(67, 53, 4, 2, 32), anyRanges(3, 300, 3, 1, 80)];

/** Twelve rows that see a shared prefix, prompts of two, and what each has sampled itself, far from the others. */
const decodingGroups: Case = (ctx) => {
  const rows = 12;
  const ranges = Array.from({ length: rows }, (_, r) => [0, 9, 10 + 6 * (r >> 1), 14 + 6 * (r >> 1), 60 + 10 * r, 60 + 10 * r + (r % 5)]).flat();
  const cache = ctx.normal('cache', [200, 2 * 16]);
  ctx.graph.output('o', attention(ctx.normal('q', [rows, 32]), cache, cache, { heads: 4, kvHeads: 2, headDim: 8, queryRanges: ctx.integers('ranges', [rows, 6], ranges, 'u32'), columns: [0, 0, 16] }));
};

const decoding: Case = (ctx) => {
  const rows = 3;
  const cache = ctx.normal('cache', [20, 2 * 8]);
  const q = ctx.normal('q', [rows, 16]);
  const ranges = ctx.integers('ranges', [rows, 6], [0, 4, 4, 7, 15, 16, 0, 4, 9, 9, 16, 18, 2, 3, 0, 0, 0, 0], 'u32');
  ctx.graph.output('o', attention(q, cache, cache, { heads: 2, kvHeads: 1, headDim: 8, queryRanges: ranges, columns: [0, 0, 8] }));
  const target = ctx.target('written', [5, 8]);
  scatterRowsInto(target, q, ctx.integers('to', [rows], [4, -1, 0]), 8, 8);
  // One goes on, one has finished, one becomes full.
  const rowStates = [[7, 2, 0, 0, 4, 4, 9, 11, 12, 5, 9, 123, 456], [3, 1, 1, 0, 2, 2, 5, 6, 15, 6, 9, 4, -1], [9, 3, 0, 1, 2, 3, 4, 5, 17, 7, 4, -2, 3]];
  const state = ctx.integers('state', [rows, STATE_WIDTH], rowStates.flat());
  const inputs = decodeInputs(ctx.graph, state);
  for (const [name, t] of Object.entries(inputs)) ctx.graph.output(name, t as Tensor);
  const sampled = sample(ctx.normal('logits', [rows, 11], 2), inputs.draws, settingsOf(ctx, rows, () => ({ temperature: 0.8, topK: 0, topP: 1, minP: 0 })));
  const stateStorage = ctx.engine.createStorage('s', rows * STATE_WIDTH, 'i32');
  stateStorage.write(Int32Array.from(rowStates.flat()));
  const history = ctx.graph.view(ctx.engine.createStorage('h', 24, 'i32'), 0, [24]);
  decodeAdvance(sampled, { state: ctx.graph.view(stateStorage, 0, [rows, STATE_WIDTH]), history, trace: ctx.target('trace', [24, 2]) }, { rows, stopIds: [2] });
  for (const [name, t] of Object.entries(sampled)) ctx.graph.output(name, t as Tensor);
};

/** Sampling settings of each row as an input. */
function settingsOf(ctx: CaseContext, rows: number, of: (row: number) => SampleSettings): Tensor {
  return ctx.graph.reshape(ctx.constant('settings', Float32Array.from(Array.from({ length: rows }, (_, i) => sampleSettings(of(i))).flat())), [rows, SETTINGS_WIDTH]);
}

/** A random quantised weight as inputs of the graph: words of random bits, scales, zero points. */
function quantised(ctx: CaseContext, name: string, rows: number, columns: number, options: { format?: 'nbits' | 'nf4' | 'f16'; bits?: 4 | 8 | 16; blockSize?: number; zeros?: boolean } = {}): QuantisedWeight {
  const { format = 'nbits', bits = format === 'f16' ? 16 : 4, blockSize = format === 'f16' ? 2 : 32, zeros = false } = options;
  const blocks = Math.ceil(columns / blockSize);
  const words = (blocks * blockSize * bits) / 32;
  return {
    format, bits, blockSize, rows, columns,
    data: ctx.integers(`${name}.data`, [rows, words], Array.from({ length: rows * words }, () => (format === 'f16' ? halves(ctx) : ctx.random.word())), 'u32'),
    ...(format === 'f16' ? {} : { scales: ctx.normal(`${name}.scales`, [rows, blocks], bits === 8 ? 0.01 : 0.1) }),
    ...(zeros ? { zeros: ctx.normal(`${name}.zeros`, [rows, blocks], 3) } : {}),
  };
}

/** Two half floats between -2 and 2. */
function halves(ctx: CaseContext): number {
  const half = () => (ctx.random.integer(2) << 15) | (ctx.random.integer(16) << 10) | ctx.random.integer(1024);
  return ((half() << 16) | half()) >>> 0;
}

const quantisedCases: [string, Case][] = ([
  [1, 48, 64, {}], [8, 33, 100, { zeros: true }], [9, 20, 32, {}], [21, 36, 72, { bits: 8 }], [19, 17, 64, { format: 'nf4', blockSize: 64 }], [3, 17, 40, { bits: 8, zeros: true, blockSize: 16 }], [13, 18, 33, { format: 'f16' }], [2, 65, 24, { format: 'f16' }],
  [12, 20, 40, { bits: 8, zeros: true, blockSize: 16 }], [11, 24, 36, { format: 'f16' }], [40, 68, 128, { format: 'nf4', blockSize: 64 }],
  // More rows than the lanes of a team that reads a short row.
  [8, 21, 32, {}], [5, 17, 64, { bits: 8 }], [7, 20, 16, { format: 'f16' }],
] as const).map(([m, n, k, options]): [string, Case] => [
  `matmulQuantised ${m}x${k}x${n} ${JSON.stringify(options)}`,
  (ctx) => {
    const x = ctx.normal('x', [m, k]);
    const bias = { ...ctx.normal('bias', [n]), grad: ctx.target('dbias', [n], () => 0) };
    const residual = ctx.normal('residual', [m, n]);
    withGradients(ctx, linear(x, quantised(ctx, 'w', n, k, options), { bias, residual }), { x, residual });
  },
]);

/** The head over chunks of a table in storage, plain and quantised, against nothing but its own formula. */
const headCases: [string, Case][] = ([[7, 12, 150, 64, 1], [3, 8, 33, 64, 0.7], [5, 32, 257, 128, 1.3]] as const).map(([r, k, v, chunk, temperature]): [string, Case] => [
  `head of ${v} in chunks of ${chunk} at ${temperature}`,
  (ctx) => {
    const x = ctx.normal('x', [r, k]);
    const table = { ...ctx.target('table', [v, k]), grad: ctx.target('dtable', [v, k], () => 0) };
    const targets = ctx.integers('targets', [r], Array.from({ length: r }, (_, i) => (i === 2 ? -1 : (i * 13) % v)));
    const { logp, entropy } = headLogProbabilities(x, table, targets, { temperature, chunk });
    ctx.graph.output('logp', logp);
    ctx.graph.output('entropy', entropy);
    ctx.graph.output('dx', backward(ctx.graph, [[logp, ctx.normal('g', [r])], [entropy, ctx.normal('h', [r])]], [x]).get(x)!);
  },
]);

/** Every operation, forward and backward, over shapes that are one, prime, multiples and not multiples of the tiles. */
export const CASES: [string, Case][] = [
  ...matmulCases,
  ...batchedCases,
  ['bmm over two leading axes, and with one matrix for all', (ctx) => {
    const a = ctx.normal('a', [2, 3, 5, 8]);
    const b = ctx.normal('b', [2, 3, 8, 4]);
    const w = ctx.normal('w', [7, 4]);
    withGradients(ctx, bmm(bmm(a, b), w, { transposeB: true }), { a, b, w });
  }],
  ...attentionCases,
  ...quantisedCases,
  ...headCases,
  ...([3, 20] as const).map((m): [string, Case] => [`matmulQuantised in two shards, ${m} rows`, (ctx) => ctx.graph.output('out', matmulShards(ctx.normal('x', [m, 40]), [quantised(ctx, 'low', 37, 40), quantised(ctx, 'high', 12, 40)]))]),
  ['embedQuantised in two shards', (ctx) => {
    const shards = [{ first: 0, table: quantised(ctx, 'low', 5, 40) }, { first: 5, table: quantised(ctx, 'high', 6, 40, { bits: 4 }) }];
    ctx.graph.output('out', embedQuantised(ctx.integers('ids', [6], [10, 0, -1, 4, 5, 3]), shards));
  }],
  ['attention with a shared prefix and padding', sharedPrefix],
  ['attention windowed', windowed],
  ['attention with prefix, prompts and completions', groups],
  anyRanges(1, 1, 2, 1, 4),
  anyRanges(131, 11, 3, 3, 12),
  anyRanges(9, 211, 7, 1, 12),
  anyRanges(5, 97, 10, 2, 8),
  anyRanges(5, 97, 2, 1, 128),
  anyRanges(2, 40, 1, 1, 4),
  ['decoding: cache, state, sampling', decoding],
  ['decoding: a prefix, prompts and rows of their own', decodingGroups],
  ...([[1, 4], [33, 160], [7, 5]] as const).map(([m, n]): [string, Case] => [
    `rmsNorm ${m}x${n}`,
    (ctx) => {
      const x = ctx.normal('x', [m, n]);
      const w = ctx.normal('w', [n]);
      const weight = { ...w, grad: ctx.target('dw', [n], () => 0) };
      const y = rmsNorm(x, weight, 1e-6);
      withGradients(ctx, add(matmul(y, ctx.normal('u', [n, n]), { transposeB: true }), x), { x });
    },
  ]),
  ...([[1, 4], [33, 160], [7, 5]] as const).map(([m, n]): [string, Case] => [
    `layerNorm ${m}x${n}`,
    (ctx) => {
      const x = ctx.normal('x', [m, n]);
      const w = { ...ctx.normal('w', [n]), grad: ctx.target('dw', [n], () => 0) };
      const b = { ...ctx.normal('b', [n]), grad: ctx.target('db', [n], () => 0) };
      const y = layerNorm(x, w, b, 1e-6);
      withGradients(ctx, add(matmul(y, ctx.normal('u', [n, n]), { transposeB: true }), x), { x });
    },
  ]),
  ['gradients through a reshape', (ctx) => {
    const x = ctx.normal('x', [12, 6]);
    const w = { ...ctx.normal('w', [6]), grad: ctx.target('dw', [6], () => 0) };
    const b = { ...ctx.normal('b', [6]), grad: ctx.target('db', [6], () => 0) };
    const rows = layerNorm(x, w, b, 1e-6);
    const cells = matmul(ctx.graph.reshape(rows, [3, 24]), ctx.normal('u', [24, 24]), { residual: ctx.graph.reshape(rows, [3, 24]) });
    withGradients(ctx, add(ctx.graph.reshape(cells, [12, 6]), x), { x });
  }],
  ...([[5, 2, 1, 4, 20], [19, 3, 3, 8, 48], [1, 6, 1, 16, 128]] as const).map(([t, queryHeads, keyHeads, headDim, c]): [string, Case] => [
    `headNorm ${t}x${c}, ${queryHeads}+${keyHeads} heads of ${headDim}`,
    (ctx) => {
      const x = ctx.normal('x', [t, c]);
      const w = { ...ctx.normal('w', [2 * headDim]), grad: ctx.target('dw', [2 * headDim], () => 0) };
      withGradients(ctx, headNorm(x, w, { heads: queryHeads + keyHeads, queryHeads, headDim, eps: 1e-6 }), { x });
    },
  ]),
  ...([[3, 8, 24], [13, 12, 40]] as const).map(([t, d, c]): [string, Case] => [
    `rope ${t}x${c}, head ${d}`,
    (ctx) => {
      const x = ctx.normal('x', [t, c]);
      const positions = ctx.integers('positions', [3, t], Array.from({ length: 3 * t }, () => ctx.random.integer(32)));
      const table = { ...ctx.constant('table', ropeTable(32, Array.from({ length: d / 2 }, (_, i) => 10 ** -i))), shape: [32, d / 2, 2] };
      withGradients(ctx, rope(x, positions, table, { heads: 2, headDim: d, axes: Array.from({ length: d / 2 }, (_, i) => i % 3) }), { x });
    },
  ]),
  ...(['silu', 'gelu', 'geluTanh', 'quickGelu'] as Activation[]).map((kind): [string, Case] => [`activation ${kind}`, (ctx) => {
    const x = ctx.normal('x', [9, 31], 4);
    withGradients(ctx, activate(x, kind), { x });
  }]),
  ['swiglu', (ctx) => {
    const x = ctx.normal('x', [13, 22], 2);
    withGradients(ctx, swiglu(x), { x });
  }],
  ['columnSum', (ctx) => columnSumInto(ctx.target('s', [37]), ctx.normal('x', [301, 37]))],
  ...([[4, [20], [0.5]], [8, [24, 32, 40], [2, 1, 0.25]]] as const).map(([rank, ends, scales]): [string, Case] => [
    `lora rank ${rank}, ${ends.length} parts`,
    (ctx) => {
      const n = ends[ends.length - 1]!;
      const x = ctx.normal('x', [19, 12]);
      const base = ctx.normal('base', [19, n]);
      const a = { ...ctx.normal('a', [rank * ends.length, 12]), grad: ctx.target('da', [rank * ends.length, 12], () => 0) };
      const b = { ...ctx.normal('b', [n, rank]), grad: ctx.target('db', [n, rank], () => 0) };
      withGradients(ctx, lora(x, base, { a, b, rank, ends, scales }), { x, base });
    },
  ]),
  // The row lengths stand still in the backward pass, so finite differences in a and b do not apply.
  ...([['', false, undefined], [', dropout', true, undefined], [', 4 bits', false, { bits: 4, zeros: true }], [', 8 bits', false, { bits: 8 }], [', nf4', false, { format: 'nf4' }], [', half floats, dropout', true, { format: 'f16' }]] as const).map(([what, drops, options]): [string, Case] => [`dora, three parts of which one is not adapted${what}`, (ctx) => {
    const [rank, ends, scales, k] = [3, [8, 20, 31], [2, 0, 0.25], 12] as const;
    const n = 31;
    const x = ctx.normal('x', [19, k]);
    const residual = ctx.normal('residual', [19, n]);
    const a = { ...ctx.normal('a', [rank * 3, k]), grad: ctx.target('gradient a', [rank * 3, k], () => 0) };
    const b = { ...ctx.normal('b', [n, rank]), grad: ctx.target('gradient b', [n, rank], () => 0) };
    const magnitude = { ...ctx.normal('magnitude', [n]), grad: ctx.target('dmagnitude', [n], () => 0) };
    const bias = { ...ctx.normal('bias', [n]), grad: ctx.target('dbias', [n], () => 0) };
    const w = options === undefined ? ctx.normal('w', [n, k]) : quantised(ctx, 'w', n, k, options);
    const dropped = drops ? { dropout: { p: 0.3, site: 2, key: ctx.integers('key', [2], [9, 3000000000], 'u32') } } : {};
    withGradients(ctx, linear(x, w, { bias, residual, factors: { a, b, magnitude, rank, ends, scales, ...dropped } }), { x, residual });
  }]),
  ...([[1, undefined], [7, undefined], [16, undefined], [3, { bits: 4 }], [8, { bits: 8, zeros: true }], [13, { bits: 4 }]] as const).map(([m, options]): [string, Case] => [`an adapter on ${m} rows of ${options === undefined ? 'f32' : JSON.stringify(options)}`, (ctx) => {
    const [rank, ends, scales, k, n] = [3, [8, 20, 32], [2, 0.5, 0.25], 68, 32] as const;
    const x = ctx.normal('x', [m, k]);
    const residual = ctx.normal('residual', [m, n]);
    const w = options === undefined ? ctx.normal('w', [n, k]) : quantised(ctx, 'w', n, k, options);
    const factors = { a: ctx.normal('a', [rank * 3, k]), b: ctx.normal('b', [n, rank]), rank, ends, scales };
    withGradients(ctx, linear(x, w, { bias: ctx.normal('bias', [n]), residual, factors }), { x, residual });
    // Without a bias, so that fewer buffers are bound.
    ctx.graph.output('plain', linear(x, w, { factors }));
  }]),
  ['dropout', (ctx) => {
    const x = ctx.normal('x', [23, 11]);
    withGradients(ctx, dropout(x, { p: 0.3, site: 5, key: ctx.integers('key', [2], [77, 4000000000], 'u32') }), { x });
  }],
  ['dropoutRest', (ctx) => {
    const x = ctx.normal('x', [23, 11]);
    withGradients(ctx, dropoutRest(x, { p: 0.3, site: 5, key: ctx.integers('key', [2], [77, 4000000000], 'u32') }), { x });
  }],
  ['blendRows', (ctx) => {
    const x = ctx.normal('x', [28, 9]);
    withGradients(ctx, blendRows(x, ctx.normal('weights', [7, 4])), { x });
  }],
  ['embed with features, and both gradients', (ctx) => {
    const ids = [3, 3, 0, 9, 1, 3, 9];
    const source = [-1, 0, -1, -1, 1, -1, -1];
    const index = idIndex(ids, (t) => source[t]! >= 0);
    const features = ctx.normal('features', [3, 6]);
    const table = { ...ctx.normal('table', [10, 6]), grad: ctx.target('dtable', [10, 6], () => 0) };
    const y = embed(ctx.integers('ids', [7], ids), table, {
      features,
      source: ctx.integers('source', [7], source),
      featureTokens: ctx.integers('featureTokens', [3], [1, 4, -1]),
      ids: { order: ctx.integers('order', [7], [...index.order]), starts: ctx.integers('starts', [8], [...index.starts]), rows: ctx.integers('rows', [7], [...index.rows]) },
    });
    withGradients(ctx, y, { features });
  }],
  ['gatherRows', (ctx) => {
    const x = ctx.normal('x', [6, 5]);
    withGradients(ctx, gatherRows(x, ctx.integers('index', [4], [5, -1, 0, 2]), ctx.integers('inverse', [6], [2, -1, 3, -1, -1, 0])), { x });
  }],
  ...([[1, 3, 1], [21, 257, 0.7]] as const).map(([r, v, temperature]): [string, Case] => [
    `logSoftmax ${r}x${v} at ${temperature}`,
    (ctx) => {
      const logits = ctx.normal('logits', [r, v], 3);
      const { logp, entropy } = logSoftmax(logits, ctx.integers('targets', [r], Array.from({ length: r }, (_, i) => (i === 2 ? -1 : (i * 7) % v))), temperature);
      ctx.graph.output('logp', logp);
      ctx.graph.output('entropy', entropy);
      const grads = backward(ctx.graph, [[logp, ctx.normal('g', [r])], [entropy, ctx.normal('h', [r])]], [logits]);
      ctx.graph.output('dLogits', grads.get(logits)!);
    },
  ]),
  ['sumSquares', (ctx) => ctx.graph.output('s', sumSquares(ctx.normal('x', [9001])))],
  ...([0, 0.5] as const).map((maxNorm): [string, Case] => [`adamw, clipped at ${maxNorm}`, (ctx) => {
    const hyper = ctx.constant('hyper', packHyper({ learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-6, weightDecay: 0.1, maxNorm, step: 3, gradScale: 0.5 }));
    const [p, g, m] = ['p', 'g', 'm'].map((name) => ctx.target(name, [130])) as [Tensor, Tensor, Tensor];
    const v = ctx.target('v', [130], (x) => x * x);
    adamw(ctx.graph, p, g, m, v, hyper, sumSquares(g), 64);
  }]),
  // The state is not given, so the second run goes on from codes that the first one has written.
  ...([0, 0.5] as const).map((maxNorm): [string, Case] => [`adamw8bit, clipped at ${maxNorm}`, (ctx) => {
    const n = 1100;
    const hyper = ctx.constant('hyper', packHyper({ learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-6, weightDecay: 0.1, maxNorm, step: 3, gradScale: 0.5 }));
    const qmap = ctx.constant('qmap', Float32Array.of(...dynamicMap(true), ...dynamicMap(false)));
    const [p, g] = ['p', 'g'].map((name) => ctx.target(name, [n])) as [Tensor, Tensor];
    const codes = (name: string) => ctx.graph.view(ctx.engine.createStorage(name, n / 4, 'u32'), 0, [n / 4]);
    const absmax = ctx.graph.view(ctx.engine.createStorage('absmax', 10), 0, [5, 2]);
    adamw8bit(ctx.graph, p, g, { state1: codes('state1'), state2: codes('state2'), absmax, qmap }, hyper, sumSquares(g), 700);
    ctx.graph.output('absmax', absmax);
  }]),
  ...([{}, { nesterov: true }, { decoupledWeightDecay: true }, { nesterov: true, decoupledWeightDecay: true }] as const).map((options): [string, Case] => [`sgd ${JSON.stringify(options)}`, (ctx) => {
    const hyper = ctx.constant('hyper', packSgdHyper({ learningRate: 0.1, momentum: 0.9, weightDecay: 0.2, maxNorm: 3, gradScale: 0.5 }));
    const [p, g, b] = ['p', 'g', 'b'].map((name) => ctx.target(name, [130])) as [Tensor, Tensor, Tensor];
    sgd(ctx.graph, p, g, b, hyper, sumSquares(g), 64, options);
  }]),
  ...([[3, 33], [1, 64], [70, 600]] as const).map(([rows, v]): [string, Case] => [`penaliseSeen and markSeen ${rows}x${v}`, (ctx) => {
    const words = seenWords(v);
    const bits = Array.from({ length: rows * words }, () => ctx.random.word());
    const penalties = ctx.graph.reshape(ctx.constant('penalties', Float32Array.from({ length: rows }, (_, i) => [1.3, 1, 0.8][i % 3]!)), [rows]);
    ctx.graph.output('penalised', penaliseSeen(ctx.normal('logits', [rows, v], 3), ctx.integers('seen', [rows, words], bits, 'u32'), penalties));
    const storage = ctx.engine.createStorage('marked', rows * words, 'u32');
    storage.write(Uint32Array.from(bits));
    const marked = ctx.graph.view(storage, 0, [rows, words]);
    markSeen(ctx.integers('token', [rows], Array.from({ length: rows }, (_, i) => (i * 37 + 31) % v)), marked);
    ctx.graph.output('marked', marked);
  }]),
  ...([['greedy', [0, 0, 1, 0]], ['plain', [1, 0, 1, 0]], ['top-k 3', [1.3, 3, 1, 0]], ['top-p 0.7', [1, 0, 0.7, 0]], ['min-p', [1, 0, 1, 0.2]], ['top-p of top-k', [1, 6, 0.8, 0]], ['by rows', undefined]] as const).map(([name, all]): [string, Case] => [
    `sample ${name}`,
    (ctx) => {
      const rows = 40;
      const draws = ctx.integers('draws', [rows, 4], Array.from({ length: rows }, (_, i) => [1954 * i, 1954 * i + 977, 1, 4294967295]).flat(), 'u32');
      const mixed = [[0, 0, 1, 0], [1, 0, 1, 0], [1.3, 3, 1, 0], [1, 0, 0.7, 0], [0.5, 5, 0.9, 0.1]] as const;
      const settings = settingsOf(ctx, rows, (i) => {
        const [temperature, topK, topP, minP] = all ?? mixed[i % mixed.length]!;
        return { temperature, topK, topP, minP };
      });
      const s = sample(ctx.normal('logits', [rows, 33], 2), draws, settings);
      for (const [key, t] of Object.entries(s)) ctx.graph.output(key, t as Tensor);
    },
  ]),
];
