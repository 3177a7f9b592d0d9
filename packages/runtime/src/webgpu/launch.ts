import { RuntimeError } from '../errors.ts';
import type { Tensor } from '../tensor.ts';

/** One dispatch: a shader, what it binds, its constants, and how many workgroups. */
export interface Launch {
  readonly label: string;
  readonly code: string;
  readonly bindings: readonly Tensor[];
  readonly uniforms: Uint8Array;
  readonly workgroups: readonly [number, number, number];
}

export type ElementType = 'f32' | 'vec4<f32>' | 'vec2<f32>' | 'i32' | 'u32' | 'vec2<u32>' | 'vec4<u32>';
type Scalar = 'u32' | 'f32' | 'i32';

export interface KernelSpec {
  readonly label: string;
  /** Read-only tensors by their name in the shader. */
  readonly inputs: Readonly<Record<string, readonly [Tensor, ElementType]>>;
  /** Written tensors. */
  readonly outputs: Readonly<Record<string, readonly [Tensor, ElementType]>>;
  /** Constants that differ between launches of one shader (sizes, factors), read as `p.name`. */
  readonly uniforms: Readonly<Record<string, readonly [Scalar, number]>>;
  readonly enable?: string;
  /** WGSL before `main` (constants, functions). */
  readonly header?: string;
  readonly workgroupSize: readonly [number, number?, number?];
  /** Body of `main`; has `gid`, `lid`, `wid` and `nwg`. */
  readonly body: string;
  readonly workgroups: readonly [number, number?, number?];
}

/**
 * Builds a launch: declares bindings and constants, and spreads a first or second axis that is longer than a device need take
 * over the third. Workgroups that this makes too many end at once.
 * @throws RuntimeError `limit` where more than one axis is too long, or the third is used.
 */
export function launch(spec: KernelSpec): Launch {
  const tensors: Tensor[] = [];
  const lines: string[] = [];
  for (const [access, group] of [['read', spec.inputs], ['read_write', spec.outputs]] as const) {
    for (const [name, [tensor, type]] of Object.entries(group)) {
      lines.push(`@group(0) @binding(${tensors.length}) var<storage, ${access}> ${name}: array<${type}>;`);
      tensors.push(tensor);
    }
  }
  const [x, y = 1, z = 1] = spec.workgroups;
  const long = x > MAX_WORKGROUPS ? 'x' : y > MAX_WORKGROUPS ? 'y' : undefined;
  if (z > MAX_WORKGROUPS || (long !== undefined && (z !== 1 || (long === 'x' && y > MAX_WORKGROUPS)))) {
    throw new RuntimeError('limit', spec.label, `needs ${x} x ${y} x ${z} workgroups, which cannot be spread over axes of ${MAX_WORKGROUPS}.`, 'Use a smaller batch, or cut it into several.');
  }
  const names = Object.entries(spec.uniforms);
  const [sx, sy = 1, sz = 1] = spec.workgroupSize;
  const code = `${spec.enable ?? ''}
struct Uniforms { ${[...names.map(([n, [t]]) => `${n}: ${t}`), 'groups: u32'].join(', ')} }
${lines.join('\n')}
@group(0) @binding(${tensors.length}) var<uniform> p: Uniforms;
${spec.header ?? ''}
@compute @workgroup_size(${sx}, ${sy}, ${sz})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let wid = ${long === undefined ? 'workgroup' : `vec3<u32>(workgroup.xy, 0u) + ${long === 'x' ? 'vec3<u32>(1u, 0u, 0u)' : 'vec3<u32>(0u, 1u, 0u)'} * workgroup.z * ${MAX_WORKGROUPS}u;
  if (wid.${long} >= p.groups) { return; }`};
  let gid = wid * vec3<u32>(${sx}u, ${sy}u, ${sz}u) + lid;
${spec.body}
}`;
  return {
    label: spec.label,
    code,
    bindings: tensors,
    uniforms: pack([...names.map(([, v]) => v), ['u32', long === 'y' ? y : x]]),
    workgroups: long === undefined ? [x, y, z] : long === 'x' ? [MAX_WORKGROUPS, y, Math.ceil(x / MAX_WORKGROUPS)] : [x, MAX_WORKGROUPS, Math.ceil(y / MAX_WORKGROUPS)],
  };
}

/** The workgroup limit of an axis that every device grants. */
const MAX_WORKGROUPS = 65535;

function pack(values: readonly (readonly [Scalar, number])[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((values.length * 4) / 16) * 16);
  const view = new DataView(bytes.buffer);
  values.forEach(([type, value], i) => {
    if (type === 'f32') view.setFloat32(i * 4, value, true);
    else if (type === 'i32') view.setInt32(i * 4, value, true);
    else view.setUint32(i * 4, value, true);
  });
  return bytes;
}

/** Joins what `f` makes of 0 .. n-1: unrolled WGSL. */
export function unroll(n: number, f: (i: number) => string, separator = '\n'): string {
  return Array.from({ length: n }, (_, i) => f(i)).join(separator);
}
