import type { OpName } from '../../ops/types.ts';
import { attentionBackwardKernel, attentionKernel } from './attention.ts';
import type { Kernel } from './context.ts';
import { decodeAdvanceKernel, decodeInputsKernel, sampleKernel } from './decode.ts';
import { activationBackwardKernel, activationKernel, addKernel, swigluBackwardKernel, swigluKernel } from './elementwise.ts';
import { loraUpGradBKernel, loraUpGradDownKernel, loraUpKernel } from './lora.ts';
import { logSoftmaxBackwardKernel, logSoftmaxKernel } from './loss.ts';
import { matmulKernel } from './matmul.ts';
import { rmsNormBackwardKernel, rmsNormKernel } from './norm.ts';
import { adamwKernel } from './optimizer.ts';
import { columnSumKernel, rmsNormWeightGradKernel, sumSquaresKernel } from './reduce.ts';
import { ropeKernel } from './rope.ts';
import { embedKernel, embedTableGradKernel, gatherRowsKernel, scatterRowsIntoKernel } from './rows.ts';

/** The WebGPU kernel of every operation. */
export const KERNELS: { readonly [K in OpName]: Kernel<K> } = {
  matmul: matmulKernel,
  columnSum: columnSumKernel,
  rmsNorm: rmsNormKernel,
  rmsNormBackward: rmsNormBackwardKernel,
  rmsNormWeightGrad: rmsNormWeightGradKernel,
  rope: ropeKernel,
  attention: attentionKernel,
  attentionBackward: attentionBackwardKernel,
  swiglu: swigluKernel,
  swigluBackward: swigluBackwardKernel,
  activation: activationKernel,
  activationBackward: activationBackwardKernel,
  add: addKernel,
  loraUp: loraUpKernel,
  loraUpGradDown: loraUpGradDownKernel,
  loraUpGradB: loraUpGradBKernel,
  embed: embedKernel,
  embedTableGrad: embedTableGradKernel,
  gatherRows: gatherRowsKernel,
  scatterRowsInto: scatterRowsIntoKernel,
  logSoftmax: logSoftmaxKernel,
  logSoftmaxBackward: logSoftmaxBackwardKernel,
  sumSquares: sumSquaresKernel,
  adamw: adamwKernel,
  sample: sampleKernel,
  decodeAdvance: decodeAdvanceKernel,
  decodeInputs: decodeInputsKernel,
};
