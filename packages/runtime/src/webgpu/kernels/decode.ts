/** @file Sampling on the device, and the bookkeeping of decoding that keeps the host out of the loop. */
import { STATE, STATE_WIDTH } from '../../ops/decode.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import { PHILOX } from './philox.ts';
import type { Kernel } from './context.ts';

export const sampleKernel: Kernel<'sample'> = (node) => {
  const [logits, draws, settings] = node.inputs as [Tensor, Tensor, Tensor];
  const [token, logp, entropy] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  return [
    launch({
      label: 'sample',
      inputs: { logits: [logits, 'f32'], draws: [draws, 'vec4<u32>'], settings: [settings, 'vec4<f32>'] },
      outputs: { token: [token, 'i32'], logp: [logp, 'f32'], entropy: [entropy, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v] },
      header: PHILOX,
      workgroupSize: [8],
      workgroups: [Math.ceil(r / 8)],
      body: `
  if (gid.x >= p.r) { return; }
  let own = settings[gid.x];
  let greedy = own.x == 0.0;
  let inverse = select(own.x, 1.0, greedy);
  let topK = u32(own.y);
  let at = gid.x * p.v;
  var m = -3.4e38;
  var best = 0u;
  for (var i = 0u; i < p.v; i++) { let z = logits[at + i]; if (z > m) { m = z; best = i; } }
  m = m * inverse;
  var s = 0.0;
  var w = 0.0;
  for (var i = 0u; i < p.v; i++) { let z = logits[at + i] * inverse - m; let e = exp(z); s += e; w = fma(e, z, w); }
  var chosen = best;
  if (!greedy) {
    // A threshold on p/pmax that keeps the wanted tokens, by bisection: rank and mass above it are monotone.
    var low = 0.0;
    if (topK > 0u || own.z < 1.0) {
      var high = 1.0;
      for (var step = 0; step < 30; step++) {
        let mid = 0.5 * (low + high);
        var count = 0u;
        var mass = 0.0;
        for (var i = 0u; i < p.v; i++) { let e = exp(logits[at + i] * inverse - m); if (e > mid) { count++; mass += e; } }
        if ((topK == 0u || count >= topK) && (own.z >= 1.0 || mass >= own.z * s)) { low = mid; } else { high = mid; }
      }
    }
    let cut = max(low, own.w);
    var total = s;
    if (cut > 0.0) {
      total = 0.0;
      for (var i = 0u; i < p.v; i++) { let e = exp(logits[at + i] * inverse - m); if (e > cut || i == best) { total += e; } }
    }
    let d = draws[gid.x];
    let bits = philox(d.x, d.y, d.z, d.w);
    let u = (f32(bits >> 8u) + 0.5) / 16777216.0 * total;
    var sum = 0.0;
    for (var i = 0u; i < p.v; i++) {
      let e = exp(logits[at + i] * inverse - m);
      if (e > cut || i == best) { sum += e; chosen = i; }
      if (sum > u) { break; }
    }
  }
  let ls = log(s);
  token[gid.x] = i32(chosen);
  logp[gid.x] = logits[at + chosen] * inverse - m - ls;
  entropy[gid.x] = ls - w / s;`,
    }),
  ];
};

export const decodeAdvanceKernel: Kernel<'decodeAdvance'> = (node) => {
  const [token, logp, entropy] = node.inputs as [Tensor, Tensor, Tensor];
  const [state, history, trace] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const { rows, stopIds } = node.attributes;
  return [
    launch({
      label: 'decodeAdvance',
      inputs: { token: [token, 'i32'], logp: [logp, 'f32'], entropy: [entropy, 'f32'] },
      outputs: { state: [state, 'i32'], history: [history, 'i32'], trace: [trace, 'vec2<f32>'] },
      uniforms: { rows: ['u32', rows] },
      workgroupSize: [64],
      workgroups: [Math.ceil(rows / 64)],
      body: `
  if (gid.x >= p.rows) { return; }
  let at = gid.x * ${STATE_WIDTH}u;
  if (state[at + ${STATE.finished}u] != 0) { return; }
  let t = token[gid.x];
  let n = state[at + ${STATE.count}u];
  let to = state[at + ${STATE.base}u] + n;
  history[to] = t;
  trace[to] = vec2<f32>(logp[gid.x], entropy[gid.x]);
  state[at + ${STATE.token}u] = t;
  state[at + ${STATE.count}u] = n + 1;
  if (n + 1 >= state[at + ${STATE.limit}u]${stopIds.map((id) => ` || t == ${id}`).join('')}) { state[at + ${STATE.finished}u] = 1; }`,
    }),
  ];
};

export const decodeInputsKernel: Kernel<'decodeInputs'> = (node) => {
  const state = node.inputs[0]!;
  const [ids, positions, ranges, cacheRows, draws] = node.outputs as readonly [Tensor, Tensor, Tensor, Tensor, Tensor];
  return [
    launch({
      label: 'decodeInputs',
      inputs: { state: [state, 'i32'] },
      outputs: { ids: [ids, 'i32'], positions: [positions, 'i32'], ranges: [ranges, 'u32'], cacheRows: [cacheRows, 'i32'], draws: [draws, 'vec4<u32>'] },
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
  draws[gid.x] = vec4<u32>(u32(state[at + ${STATE.stream}u]), u32(n), u32(state[at + ${STATE.keyLow}u]), u32(state[at + ${STATE.keyHigh}u]));`,
    }),
  ];
};
