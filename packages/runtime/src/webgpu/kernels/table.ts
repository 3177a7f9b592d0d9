import type { OpName } from '../../ops/types.ts';
import { attentionBackwardKernel, attentionKernel } from './attention.ts';
import type { Kernel } from './context.ts';
import { decodeAdvanceKernel, decodeInputsKernel, markSeenKernel, penaliseSeenKernel, sampleKernel } from './decode.ts';
import { activationBackwardKernel, activationKernel, addKernel, dropoutKernel, swigluBackwardKernel, swigluKernel } from './elementwise.ts';
import { doraMagnitudeGradKernel, doraNormKernel, doraScaleKernel, loraUpGradBKernel, loraUpGradDownKernel, loraUpKernel } from './lora.ts';
import { logSoftmaxBackwardKernel, logSoftmaxKernel, softmaxChunkBackwardKernel, softmaxChunkKernel, softmaxFinishKernel } from './loss.ts';
import { bmmKernel, matmulKernel } from './matmul.ts';
import { headNormBackwardKernel, headNormKernel, layerNormBackwardKernel, layerNormKernel, rmsNormBackwardKernel, rmsNormKernel } from './norm.ts';
import { adamw8bitKernel, adamwKernel, sgdKernel } from './optimizer.ts';
import { embedQuantisedKernel, matmulQuantisedKernel } from './quantised.ts';
import { columnSumKernel, headNormWeightGradKernel, layerNormWeightGradKernel, rmsNormWeightGradKernel, sumSquaresKernel } from './reduce.ts';
import { ropeKernel } from './rope.ts';
import { blendRowsBackwardKernel, blendRowsKernel, embedKernel, embedTableGradKernel, gatherRowsKernel, scatterRowsIntoKernel } from './rows.ts';

/** The WebGPU kernel of every operation. */
export const KERNELS: { readonly [K in OpName]: Kernel<K> } = {
  matmul: matmulKernel,
  bmm: bmmKernel,
  matmulQuantised: matmulQuantisedKernel,
  embedQuantised: embedQuantisedKernel,
  softmaxChunk: softmaxChunkKernel,
  softmaxFinish: softmaxFinishKernel,
  softmaxChunkBackward: softmaxChunkBackwardKernel,
  columnSum: columnSumKernel,
  rmsNorm: rmsNormKernel,
  rmsNormBackward: rmsNormBackwardKernel,
  rmsNormWeightGrad: rmsNormWeightGradKernel,
  layerNorm: layerNormKernel,
  layerNormBackward: layerNormBackwardKernel,
  layerNormWeightGrad: layerNormWeightGradKernel,
  headNorm: headNormKernel,
  headNormBackward: headNormBackwardKernel,
  headNormWeightGrad: headNormWeightGradKernel,
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
  doraNorm: doraNormKernel,
  doraScale: doraScaleKernel,
  doraMagnitudeGrad: doraMagnitudeGradKernel,
  dropout: dropoutKernel,
  blendRows: blendRowsKernel,
  blendRowsBackward: blendRowsBackwardKernel,
  embed: embedKernel,
  embedTableGrad: embedTableGradKernel,
  gatherRows: gatherRowsKernel,
  scatterRowsInto: scatterRowsIntoKernel,
  logSoftmax: logSoftmaxKernel,
  logSoftmaxBackward: logSoftmaxBackwardKernel,
  sumSquares: sumSquaresKernel,
  adamw: adamwKernel,
  adamw8bit: adamw8bitKernel,
  sgd: sgdKernel,
  sample: sampleKernel,
  penaliseSeen: penaliseSeenKernel,
  markSeen: markSeenKernel,
  decodeAdvance: decodeAdvanceKernel,
  decodeInputs: decodeInputsKernel,
};
