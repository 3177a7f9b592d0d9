/** @file The engine of commands that train. */
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { UsageError } from './errors.ts';
import { oneOf } from './options.ts';

/** In which numbers operands of large products are multiplied. */
export type Matmul = 'f32' | 'f16';

/** `.option(...MATMUL)`. */
export const MATMUL = ['--matmul <precision>', 'large products in f32, or in half floats (f16) on the matrix units of a GPU that has them; weights, sums and moments stay in f32', oneOf('f32', 'f16'), 'f32'] as const;

interface TrainingEngine {
  readonly engine: WebGpuEngine;
  /** Vendor and description of the adapter. */
  readonly name: string;
  /** What to say behind the adapter's name where results are not those of f32. */
  readonly note: string;
}

/** @throws UsageError where there are no matrix units, RuntimeError without a device. */
export async function openTrainingEngine(matmul: Matmul = 'f32'): Promise<TrainingEngine> {
  const half = matmul === 'f16';
  const device = await openDevice({ experimental: half });
  const { vendor, architecture, description, matrixUnits } = device.adapter;
  const name = [vendor, description || architecture].filter((s) => s !== '').join(' ');
  if (half && !matrixUnits) {
    device.dispose();
    throw new UsageError(`--matmul f16 needs a GPU with matrix units for half floats, which ${name} does not offer through WebGPU. Leave it out.`);
  }
  return { engine: new WebGpuEngine(device, { matmulPrecision: matmul }), name, note: half ? ', products in f16' : '' };
}
