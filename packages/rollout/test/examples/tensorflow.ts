import type * as tfjs from '@tensorflow/tfjs-core';
import type { LossInput, Objective } from '../../src/index.ts';

/**
 * An objective as a TensorFlow.js operation: its value forward, dLogp backward. Any model before it is differentiated
 * by TensorFlow.js itself.
 */
export function asOperation(tf: typeof tfjs, objective: Objective, input: Omit<LossInput, 'logps'>): (logps: tfjs.Tensor) => tfjs.Scalar {
  const operation = tf.customGrad((...args) => {
    const logps = args[0] as tfjs.Tensor;
    const { loss, dLogp } = objective.loss({ ...input, logps: logps.dataSync() });
    // Made when it is used: what the forward pass makes is gone by then.
    return { value: tf.scalar(loss), gradFunc: (dy: tfjs.Tensor) => tf.mul(tf.tensor(Float32Array.from(dLogp), logps.shape), dy) };
  });
  return (logps) => operation(logps) as tfjs.Scalar;
}
