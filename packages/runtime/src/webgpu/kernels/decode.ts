/** @file Sampling on the device, and the bookkeeping of decoding that keeps the host out of the loop. */
import { ALIKE, seenWords, STATE, STATE_WIDTH } from '../../ops/decode.ts';
import { rowsAndColumns, type Tensor } from '../../tensor.ts';
import { launch } from '../launch.ts';
import { PHILOX } from './philox.ts';
import type { Kernel } from './context.ts';
import { place, type Team, teamFor, teamGroups, teamHeader, together } from './team.ts';

export const sampleKernel: Kernel<'sample'> = (node, context) => {
  const [logits, draws, settings] = node.inputs as [Tensor, Tensor, Tensor];
  const [token, logp, entropy] = node.outputs as readonly [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  const team = teamFor(context, v);
  const each = (body: string) => `for (var i = lane; i < p.v; i += LANES) { ${body} }`;
  return [
    launch({
      label: 'sample',
      inputs: { logits: [logits, 'f32'], draws: [draws, 'vec4<u32>'], settings: [settings, 'vec4<f32>'] },
      outputs: { token: [token, 'i32'], logp: [logp, 'f32'], entropy: [entropy, 'f32'] },
      uniforms: { r: ['u32', r], v: ['u32', v] },
      header: `${PHILOX}\n${teamHeader(team, 'vec2<f32>')}${team.lanes === 1 ? '' : '\nvar<workgroup> bounded: u32;'}`,
      workgroupSize: [team.size],
      workgroups: [teamGroups(team, r)],
      body: `
  ${place(team, 'p.r')}
  let own = settings[row];
  let greedy = own.x == 0.0;
  let inverse = select(own.x, 1.0, greedy);
  let topK = u32(own.y);
  let at = row * p.v;
  // The largest logit, and the first place where it stands.
  var top = vec2<f32>(-3.4e38, 0.0);
  ${each('let z = logits[at + i]; if (z > top.x) { top = vec2<f32>(z, f32(i)); }')}${together(team, 'top', (a, b) => `select(${a}, ${b}, ${b}.x > ${a}.x || (${b}.x == ${a}.x && ${b}.y < ${a}.y))`)}
  let best = u32(top.y);
  let m = top.x * inverse;
  // The sum of the exponentials, and of their products with the shifted logits.
  var s = vec2<f32>();
  ${each('let z = logits[at + i] * inverse - m; let e = exp(z); s = vec2<f32>(s.x + e, fma(e, z, s.y));')}${together(team, 's')}
  // A threshold on p/pmax that keeps the wanted tokens, by bisection: rank and mass above it are monotone. What is as probable as the last token kept is kept.
  var cut = 0.0;
  ${narrowings(team, each)}
  let least = own.w * ${1 - ALIKE};
  // A lane has the mass of a range of tokens; the first lane finds the range that is drawn, and the token in it.
  let range = (p.v + LANES - 1u) / LANES;
  var mass = s.x;
  ${team.lanes === 1 ? 'if (cut > 0.0 || least > 0.0)' : ''} {
    mass = 0.0;
    for (var i = lane * range; i < min((lane + 1u) * range, p.v); i++) { let e = exp(logits[at + i] * inverse - m); if ((e > cut && e >= least) || i == best) { mass += e; } }
  }
  ${team.lanes === 1 ? '' : 'meeting[thread] = vec2<f32>(mass, 0.0);\n  workgroupBarrier();'}
  if (!inside || lane != 0u) { return; }
  var chosen = best;
  if (!greedy) {
    let d = draws[row];
    let bits = philox(d.x, d.y, d.z, d.w);
    let u = (f32(bits >> 8u) + 0.5) / 16777216.0;
    ${team.lanes === 1 ? 'let bound = u * mass;\n    var sum = 0.0;\n    let first = 0u;' : rangeOf}
    for (var i = first; i < min(first + range, p.v); i++) {
      let e = exp(logits[at + i] * inverse - m);
      if ((e > cut && e >= least) || i == best) { sum += e; chosen = i; }
      if (sum > bound) { break; }
    }
  }
  let ls = log(s.x);
  token[row] = i32(chosen);
  logp[row] = logits[at + chosen] * inverse - m - ls;
  entropy[row] = ls - s.y / s.x;`,
    }),
  ];
};

/** WGSL that raises `cut` for the rows that want it, by rank and then by mass. Those of a team go through it together, all of a workgroup or none. */
function narrowings(team: Team, each: (body: string) => string): string {
  const wantsRank = (row: string) => `${row}.x != 0.0 && ${row}.y > 0.0`;
  const wantsMass = (row: string) => `${row}.x != 0.0 && ${row}.z < 1.0`;
  const byRank = narrowing(team, each, 'u32(above.x) >= topK', wantsRank('own'));
  // Of the tokens that rank has left.
  const byMass = `var left = vec2<f32>();
    if (cut > 0.0) { ${each('let e = exp(logits[at + i] * inverse - m); if (e > cut) { left.y += e; }')} }${together(team, 'left')}
    let share = own.z * select(s.x, left.y, cut > 0.0);
    ${narrowing(team, each, 'above.y >= share', wantsMass('own'))}`;
  if (team.lanes === 1) return `if (${wantsRank('own')}) {\n    ${byRank}\n  }\n  if (${wantsMass('own')}) {\n    ${byMass}\n  }`;
  return `if (lid.x == 0u) {
    for (var i = wid.x * ${team.rows}u; i < min((wid.x + 1u) * ${team.rows}u, p.r); i++) {
      let other = settings[i];
      if (${wantsRank('other')}) { bounded |= 1u; }
      if (${wantsMass('other')}) { bounded |= 2u; }
    }
  }
  let asked = workgroupUniformLoad(&bounded);
  if ((asked & 1u) != 0u) {
    ${byRank}
  }
  if ((asked & 2u) != 0u) {
    ${byMass}
  }`;
}

/** WGSL: `cut` just below the largest threshold of which `enough` is true, if the row `wants` it. */
function narrowing(team: Team, each: (body: string) => string, enough: string, wants: string): string {
  return `var low = cut;
    var high = 1.0;
    for (var step = 0; step < 30; step++) {
      let mid = 0.5 * (low + high);
      // How many tokens lie above, and their mass.
      var above = vec2<f32>();
      ${each('let e = exp(logits[at + i] * inverse - m); if (e > mid) { above += vec2<f32>(1.0, e); }')}${together(team, 'above')}
      if (${enough}) { low = mid; } else { high = mid; }
    }
    if (${wants}) { cut = max(cut, low * ${1 - ALIKE}); }`;
}

/** WGSL of a team's first lane: the range in which the drawn token lies, and the mass before it. */
const rangeOf = `var total = 0.0;
    for (var j = 0u; j < LANES; j++) { total += meeting[thread + j].x; }
    let bound = u * total;
    var sum = 0.0;
    var first = 0u;
    var next = 0.0;
    for (var j = 0u; j < LANES; j++) {
      let its = meeting[thread + j].x;
      if (its <= 0.0) { continue; }
      first = j * range;
      sum = next;
      next += its;
      if (next > bound) { break; }
    }`;

export const penaliseSeenKernel: Kernel<'penaliseSeen'> = (node) => {
  const [logits, seen, penalties] = node.inputs as [Tensor, Tensor, Tensor];
  const [r, v] = rowsAndColumns(logits);
  return [
    launch({
      label: 'penaliseSeen',
      inputs: { logits: [logits, 'f32'], seen: [seen, 'u32'], penalties: [penalties, 'f32'] },
      outputs: { penalised: [node.outputs[0]!, 'f32'] },
      uniforms: { v: ['u32', v], words: ['u32', seenWords(v)] },
      workgroupSize: [256],
      workgroups: [Math.ceil(v / 256), r],
      body: `
  if (gid.x >= p.v) { return; }
  let at = gid.y * p.v + gid.x;
  let z = logits[at];
  let penalty = penalties[gid.y];
  let bit = (seen[gid.y * p.words + (gid.x >> 5u)] >> (gid.x & 31u)) & 1u;
  // A quotient by 1 need not be exact in WGSL; a row without a penalty keeps its bits.
  if (bit == 0u || penalty == 1.0) { penalised[at] = z; } else { penalised[at] = select(z / penalty, z * penalty, z < 0.0); }`,
    }),
  ];
};

export const markSeenKernel: Kernel<'markSeen'> = (node) => {
  const token = node.inputs[0]!;
  const seen = node.outputs[0]!;
  const [rows, words] = rowsAndColumns(seen);
  return [
    launch({
      label: 'markSeen',
      inputs: { token: [token, 'i32'] },
      outputs: { seen: [seen, 'u32'] },
      uniforms: { rows: ['u32', rows], words: ['u32', words] },
      workgroupSize: [64],
      workgroups: [Math.ceil(rows / 64)],
      body: `
  if (gid.x >= p.rows) { return; }
  let t = u32(token[gid.x]);
  let at = gid.x * p.words + (t >> 5u);
  seen[at] = seen[at] | (1u << (t & 31u));`,
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
