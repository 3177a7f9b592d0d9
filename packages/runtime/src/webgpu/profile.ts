/** @file Where the time of a run goes: a typed report from timestamp queries, and the same as a trace for Chrome's viewer. */
import { RuntimeError } from '../errors.ts';
import type { OpName } from '../ops/types.ts';
import { describe } from '../tensor.ts';
import type { EngineCounters } from './counters.ts';
import type { PlanHost, Step } from './plan.ts';

export interface ProfileEvent {
  /** The operations of the dispatch; several when they are fused. */
  readonly ops: readonly OpName[];
  /** The kernel with its variant, as `matmul.block64.NT`. */
  readonly kernel: string;
  /** What it reads and writes: `a f32[8, 4], b f32[4, 2] -> y f32[8, 2]`. */
  readonly shapes: string;
  /** Since the first dispatch of the run began. */
  readonly startMicroseconds: number;
  readonly microseconds: number;
}

export interface KernelTime {
  readonly kernel: string;
  readonly count: number;
  readonly microseconds: number;
  /** Of the time of all dispatches. */
  readonly share: number;
}

export interface ProfileReport {
  readonly adapter: string;
  /** One for every dispatch, in order. */
  readonly events: readonly ProfileEvent[];
  /** The same by kernel, the most expensive first. */
  readonly kernels: readonly KernelTime[];
  /** Time of all dispatches. */
  readonly microseconds: number;
  /** From the begin of the first dispatch to the end of the last. */
  readonly spanMicroseconds: number;
  /** The engine's counters after the run. */
  readonly counters: Readonly<EngineCounters>;
}

/** A query set holds at most 4096 timestamps; two for a dispatch. */
const CHUNK = 2048;

/** Runs the steps, each in a pass of its own between two timestamps. */
export async function profileSteps(engine: PlanHost, steps: readonly Step[]): Promise<ProfileReport> {
  if (!engine.device.adapter.features.includes('timestamp-query')) {
    throw new RuntimeError('limit', 'profile', 'this device has no timestamp queries.', 'Measure whole runs instead.');
  }
  const stamps: bigint[] = [];
  for (let first = 0; first < steps.length; first += CHUNK) stamps.push(...(await stampedRun(engine, steps.slice(first, first + CHUNK))));
  const zero = stamps[0] ?? 0n;
  const events = steps.map((step, i): ProfileEvent => {
    const [begin, end] = [stamps[2 * i]!, stamps[2 * i + 1]!];
    return {
      ops: step.origin.map((n) => n.op),
      kernel: step.label,
      shapes: step.origin.map((n) => `${n.inputs.map(describe).join(', ')} -> ${n.outputs.map(describe).join(', ')}`).join('; '),
      startMicroseconds: Number(begin - zero) / 1000,
      // A GPU may set its clock back between two timestamps.
      microseconds: Math.max(0, Number(end - begin) / 1000),
    };
  });
  const microseconds = events.reduce((sum, e) => sum + e.microseconds, 0);
  const byKernel = new Map<string, { count: number; microseconds: number }>();
  for (const e of events) {
    const entry = byKernel.get(e.kernel) ?? { count: 0, microseconds: 0 };
    byKernel.set(e.kernel, { count: entry.count + 1, microseconds: entry.microseconds + e.microseconds });
  }
  return {
    adapter: engine.device.adapter.description || engine.device.adapter.vendor,
    events,
    kernels: [...byKernel].map(([kernel, t]) => ({ kernel, ...t, share: microseconds === 0 ? 0 : t.microseconds / microseconds })).sort((a, b) => b.microseconds - a.microseconds),
    microseconds,
    spanMicroseconds: Math.max(0, ...events.map((e) => e.startMicroseconds + e.microseconds)),
    counters: { ...engine.counters },
  };
}

/** Nanoseconds at begin and end of each step. */
async function stampedRun(engine: PlanHost, steps: readonly Step[]): Promise<BigUint64Array> {
  const { gpu } = engine.device;
  const querySet = gpu.createQuerySet({ type: 'timestamp', count: steps.length * 2 });
  const resolved = engine.buffer('timestamps', steps.length * 16, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
  try {
    const encoder = gpu.createCommandEncoder();
    steps.forEach((step, i) => {
      const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
      pass.setPipeline(step.pipeline);
      pass.setBindGroup(0, step.bindGroup);
      pass.dispatchWorkgroups(...step.workgroups);
      pass.end();
    });
    engine.counters.passes += steps.length;
    engine.counters.dispatches += steps.length;
    encoder.resolveQuerySet(querySet, 0, steps.length * 2, resolved, 0);
    engine.submit(encoder.finish());
    return new BigUint64Array(await engine.readBuffer(resolved, 0, steps.length * 16));
  } finally {
    engine.release(resolved);
    querySet.destroy();
  }
}

/** A report as Chrome trace events (JSON), for chrome://tracing and ui.perfetto.dev. */
export function chromeTrace(report: ProfileReport): string {
  const traceEvents = [
    { ph: 'M', pid: 1, tid: 1, name: 'process_name', args: { name: report.adapter } },
    { ph: 'M', pid: 1, tid: 1, name: 'thread_name', args: { name: 'GPU queue' } },
    ...report.events.map((e) => ({ ph: 'X', pid: 1, tid: 1, cat: e.ops.join('+'), name: e.kernel, ts: e.startMicroseconds, dur: e.microseconds, args: { shapes: e.shapes } })),
  ];
  return JSON.stringify({ traceEvents, displayTimeUnit: 'ns', otherData: report.counters });
}
