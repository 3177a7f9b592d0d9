/** @file Sampling on the device, and the bookkeeping of decoding that keeps the host out of the loop. */
import { STATE, STATE_WIDTH } from '../../ops/decode.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import { PHILOX } from './philox.ts';
import type { Kernel } from './context.ts';

export const sampleKernel: Kernel<'sample'> = (node) => {
  const [logits, counters, key] = node.inputs as [Tensor, Tensor, Tensor];
  const [token, logp, entropy] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  const { temperature, topK, topP, minP } = node.attributes;
  const greedy = temperature === 0;
  const filtered = topK > 0 || topP < 1 || minP > 0;
  // A threshold on p/pmax that keeps the wanted tokens, by bisection: rank and mass above it are monotone.
  const threshold = `
  var low = 0.0;
  var high = 1.0;
  for (var step = 0; step < 30; step++) {
    let mid = 0.5 * (low + high);
    var count = 0u;
    var mass = 0.0;
    for (var i = 0u; i < p.v; i++) { let e = exp(logits[at + i] * p.inverse - m); if (e > mid) { count++; mass += e; } }
    if (${topK > 0 ? 'count >= p.topK' : 'true'} && ${topP < 1 ? 'mass >= p.topP * s' : 'true'}) { low = mid; } else { high = mid; }
  }
  let cut = max(${topK > 0 || topP < 1 ? 'low' : '0.0'}, p.minP);`;
  return [
    launch({
      label: greedy ? 'sample.greedy' : filtered ? 'sample.filtered' : 'sample',
      inputs: { logits: [logits, 'f32'], counters: [counters, 'vec2<u32>'], key: [key, 'vec2<u32>'] },
      outputs: { token: [token, 'i32'], logp: [logp, 'f32'], entropy: [entropy, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v], inverse: ['f32', greedy ? 1 : 1 / temperature], topK: ['u32', topK], topP: ['f32', topP], minP: ['f32', minP] },
      header: PHILOX,
      workgroupSize: [8],
      workgroups: [Math.ceil(r / 8)],
      body: `
  if (gid.x >= p.r) { return; }
  ${greedy ? '_ = counters[0]; _ = key[0];' : ''}
  let at = gid.x * p.v;
  var m = -3.4e38;
  var best = 0u;
  for (var i = 0u; i < p.v; i++) { let z = logits[at + i]; if (z > m) { m = z; best = i; } }
  m = m * p.inverse;
  var s = 0.0;
  var w = 0.0;
  for (var i = 0u; i < p.v; i++) { let z = logits[at + i] * p.inverse - m; let e = exp(z); s += e; w = fma(e, z, w); }
  var chosen = best;
  ${
    greedy
      ? ''
      : `
  ${filtered ? threshold : ''}
  var total = s;
  ${filtered ? 'total = 0.0;\n  for (var i = 0u; i < p.v; i++) { let e = exp(logits[at + i] * p.inverse - m); if (e > cut || i == best) { total += e; } }' : ''}
  let bits = philox(counters[gid.x].x, counters[gid.x].y, key[0].x, key[0].y);
  let u = (f32(bits >> 8u) + 0.5) / 16777216.0 * total;
  var sum = 0.0;
  for (var i = 0u; i < p.v; i++) {
    let e = exp(logits[at + i] * p.inverse - m);
    ${filtered ? 'if (e > cut || i == best)' : 'if (e > 0.0)'} { sum += e; chosen = i; }
    if (sum > u) { break; }
  }`
  }
  let ls = log(s);
  token[gid.x] = i32(chosen);
  logp[gid.x] = logits[at + chosen] * p.inverse - m - ls;
  entropy[gid.x] = ls - w / s;`,
    }),
  ];
};

export const decodeAdvanceKernel: Kernel<'decodeAdvance'> = (node) => {
  const [token, logp, entropy] = node.inputs as [Tensor, Tensor, Tensor];
  const [state, history, trace] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const { rows, maxNewTokens, stopIds } = node.attributes;
  return [
    launch({
      label: 'decodeAdvance',
      inputs: { token: [token, 'i32'], logp: [logp, 'f32'], entropy: [entropy, 'f32'] },
      outputs: { state: [state, 'i32'], history: [history, 'i32'], trace: [trace, 'vec2<f32>'] },
      uniforms: { rows: ['u32', rows], most: ['i32', maxNewTokens] },
      workgroupSize: [64],
      workgroups: [Math.ceil(rows / 64)],
      body: `
  if (gid.x >= p.rows) { return; }
  let at = gid.x * ${STATE_WIDTH}u;
  if (state[at + ${STATE.finished}u] != 0) { return; }
  let t = token[gid.x];
  let n = state[at + ${STATE.count}u];
  let to = gid.x * u32(p.most) + u32(n);
  history[to] = t;
  trace[to] = vec2<f32>(logp[gid.x], entropy[gid.x]);
  state[at + ${STATE.token}u] = t;
  state[at + ${STATE.count}u] = n + 1;
  if (n + 1 >= p.most${stopIds.map((id) => ` || t == ${id}`).join('')}) { state[at + ${STATE.finished}u] = 1; }`,
    }),
  ];
};

export const decodeInputsKernel: Kernel<'decodeInputs'> = (node) => {
  const state = node.inputs[0]!;
  const [ids, positions, ranges, cacheRows, counters] = node.outputs as readonly [Tensor, Tensor, Tensor, Tensor, Tensor];
  return [
    launch({
      label: 'decodeInputs',
      inputs: { state: [state, 'i32'] },
      outputs: { ids: [ids, 'i32'], positions: [positions, 'i32'], ranges: [ranges, 'u32'], cacheRows: [cacheRows, 'i32'], counters: [counters, 'vec2<u32>'] },
      uniforms: { rows: ['u32', node.attributes.rows] },
      workgroupSize: [64],
      workgroups: [Math.ceil(node.attributes.rows / 64)],
      body: `
  if (gid.x >= p.rows) { return; }
  let at = gid.x * ${STATE_WIDTH}u;
  let n = state[at + ${STATE.count}u];
  let base = state[at + ${STATE.base}u];
  ids[gid.x] = state[at + ${STATE.token}u];
  for (var axis = 0u; axis < 3u; axis++) { positions[axis * p.rows + gid.x] = state[at + ${STATE.nextPosition}u] + n - 1; }
  let r = gid.x * 6u;
  ranges[r] = u32(state[at + ${STATE.sharedLow}u]);
  ranges[r + 1u] = u32(state[at + ${STATE.sharedHigh}u]);
  ranges[r + 2u] = u32(state[at + ${STATE.promptLow}u]);
  ranges[r + 3u] = u32(state[at + ${STATE.promptHigh}u]);
  ranges[r + 4u] = u32(base);
  ranges[r + 5u] = u32(base + n + 1);
  cacheRows[gid.x] = select(base + n, -1, state[at + ${STATE.finished}u] != 0);
  counters[gid.x] = vec2<u32>(u32(state[at + ${STATE.stream}u]), u32(n));`,
    }),
  ];
};
