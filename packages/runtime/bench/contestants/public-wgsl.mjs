/**
 * @file A float32 matrix product as public descriptions of fast WGSL kernels have it, to compare ours with on a GPU: tiles of
 * both operands in workgroup memory, a square of outputs in the registers of each thread, loads of four numbers at a time,
 * the next tile fetched while the present one is multiplied, all loops over constants unrolled. Of two tile sizes the one
 * that is faster on the device and shape is taken. Takes part in products whose sizes are multiples of its tiles.
 */
import { uniform } from '../cases.mjs';
import { installWebGpu } from './dawn.mjs';

/** Side of a tile of outputs, its depth, and the side of the square that a thread computes; always 16 x 16 threads. */
const DESIGNS = [{ tile: 128, depth: 16, own: 8 }, { tile: 64, depth: 16, own: 4 }];
const THREADS = 256;
/** Runs of a design before it is chosen. */
const TRIALS = 3;

const range = (n) => Array.from({ length: n }, (_, i) => i);

/** out [m, n] = a [m, k] b [k, n]; every size a multiple of the design's. */
function shader({ k, n }, { tile, depth, own }) {
  const quads = own / 4;
  const loads = (tile * depth) / 4 / THREADS;
  // Of the rows and columns of a thread four lie together, and the next four half a tile further: no bank conflicts.
  const rowOf = (r) => `${Math.floor(r / 4) * 64}u + ty * 4u + ${r % 4}`;
  const fetch = (at) => range(loads).map((l) => `
    nextA${l} = a[((row0 + (local + ${l * THREADS}u) / ${depth / 4}u) * ${k}u + ${at}) / 4u + (local + ${l * THREADS}u) % ${depth / 4}u];
    nextB${l} = b[((${at} + (local + ${l * THREADS}u) / ${tile / 4}u) * ${n}u + column0) / 4u + (local + ${l * THREADS}u) % ${tile / 4}u];`).join('');
  const store = range(loads).map((l) => `tileA[local + ${l * THREADS}u] = nextA${l}; tileB[local + ${l * THREADS}u] = nextB${l};`).join(' ');
  // Four steps along the depth at a time.
  const multiply = range(depth / 4).map((d) => `{
    ${range(4).flatMap((i) => range(quads).map((q) => `let b${i}_${q} = tileB[${((4 * d + i) * tile) / 4 + q * 16}u + tx];`)).join(' ')}
    ${range(own).map((r) => `let a${r} = tileA[(${rowOf(r)}u) * ${depth / 4}u + ${d}u]; ${range(4).flatMap((i) => range(quads).map((q) => `sum${r}_${q} = fma(vec4f(a${r}[${i}]), b${i}_${q}, sum${r}_${q});`)).join(' ')}`).join('\n    ')}
  }`).join('\n    ');
  return `
@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
var<workgroup> tileA: array<vec4f, ${(tile * depth) / 4}>;
var<workgroup> tileB: array<vec4f, ${(tile * depth) / 4}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let tx = local % 16u;
  let ty = local / 16u;
  let row0 = group.y * ${tile}u;
  let column0 = group.x * ${tile}u;
  ${range(own).flatMap((r) => range(quads).map((q) => `var sum${r}_${q} = vec4f();`)).join(' ')}
  ${range(loads).map((l) => `var nextA${l}: vec4f; var nextB${l}: vec4f;`).join(' ')}
  ${fetch('0u')}
  for (var at = 0u; at < ${k}u; at += ${depth}u) {
    ${store}
    workgroupBarrier();
    if (at + ${depth}u < ${k}u) {
      let following = at + ${depth}u;
      ${fetch('following')}
    }
    ${multiply}
    workgroupBarrier();
  }
  ${range(own).flatMap((r) => range(quads).map((q) => `out[((row0 + ${rowOf(r)}u) * ${n}u + column0) / 4u + ${q * 16}u + tx] = sum${r}_${q};`)).join('\n')}
}`;
}

export async function open() {
  const held = await installWebGpu();
  const adapter = await navigator.gpu.requestAdapter();
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
  const sync = () => device.queue.onSubmittedWorkDone();

  const buffer = (size, usage) => device.createBuffer({ size, usage: usage | GPUBufferUsage.STORAGE });
  const upload = (values) => {
    const made = buffer(values.byteLength, GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(made, 0, values);
    return made;
  };

  /** A function that runs a design once. */
  async function compile(c, design, buffers) {
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module: device.createShaderModule({ code: shader(c, design) }) } });
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((b, binding) => ({ binding, resource: { buffer: b } })) });
    return () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(c.n / design.tile, c.m / design.tile);
      pass.end();
      device.queue.submit([encoder.finish()]);
    };
  }

  async function fastest(runs) {
    const times = [];
    for (const run of runs) {
      run();
      await sync();
      const start = performance.now();
      for (let i = 0; i < TRIALS; i++) run();
      await sync();
      times.push(performance.now() - start);
    }
    return runs[times.indexOf(Math.min(...times))];
  }

  async function read(source, size) {
    const target = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    const values = new Float32Array(target.getMappedRange().slice(0));
    target.destroy();
    return values;
  }

  return {
    adapter: held.adapter,
    held,
    async prepare(c) {
      const designs = c.kind === 'matmul' ? DESIGNS.filter(({ tile, depth }) => c.m % tile === 0 && c.n % tile === 0 && c.k % depth === 0) : [];
      if (designs.length === 0) return undefined;
      const size = c.m * c.n * 4;
      const buffers = [upload(uniform(c.m * c.k, 1)), upload(uniform(c.k * c.n, 2)), buffer(size, GPUBufferUsage.COPY_SRC)];
      const run = await fastest(await Promise.all(designs.map((design) => compile(c, design, buffers))));
      return { run, sync, result: () => read(buffers[2], size), dispose: () => buffers.forEach((b) => b.destroy()) };
    },
    dispose: () => device.destroy(),
  };
}
