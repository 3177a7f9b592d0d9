/** @file Finds the first operation of a plan that makes a number which is not finite, by running it operation by operation. */
import { checkFinite, floats } from '../finite.ts';
import type { Node } from '../graph.ts';
import { sizeOf, type Tensor } from '../tensor.ts';
import { fromBytes } from './bytes.ts';
import type { Place, PlanHost, Step } from './plan.ts';

/** Runs the steps, and reads what each operation is given from outside and what it makes. Stops at the first number that is not finite (`not-finite`). */
export async function assertFiniteSteps(engine: PlanHost, steps: readonly Step[], locate: (t: Tensor) => Place): Promise<void> {
  const check = async (node: Node, t: Tensor, written: boolean) => {
    const { buffer, offset } = locate(t);
    checkFinite(node, t, written, fromBytes(await engine.readBuffer(buffer, offset, sizeOf(t.shape) * 4), t.dtype));
  };
  const seen = new Set<number>();
  for (let i = 0; i < steps.length; ) {
    const { origin } = steps[i]!;
    for (const node of origin) {
      for (const t of floats(node.inputs)) {
        if (t.kind === 'intermediate' || seen.has(t.id)) continue;
        seen.add(t.id);
        await check(node, t, false);
      }
    }
    const encoder = engine.device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (; i < steps.length && steps[i]!.origin === origin; i++) {
      pass.setPipeline(steps[i]!.pipeline);
      pass.setBindGroup(0, steps[i]!.bindGroup);
      pass.dispatchWorkgroups(...steps[i]!.workgroups);
      engine.counters.dispatches++;
    }
    pass.end();
    engine.counters.passes++;
    engine.submit(encoder.finish());
    for (const node of origin) for (const t of floats(node.outputs)) await check(node, t, true);
  }
}
