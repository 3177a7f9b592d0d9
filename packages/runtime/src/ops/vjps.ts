import type { Vjp } from '../autograd.ts';
import { attentionVjp } from './attention.ts';
import { bmmVjp } from './bmm.ts';
import { dropoutVjp } from './dropout.ts';
import { activationVjp, addVjp, swigluVjp } from './elementwise.ts';
import { softmaxChunkVjp, softmaxFinishVjp } from './head.ts';
import { logSoftmaxVjp } from './loss.ts';
import { doraScaleVjp, loraUpVjp } from './lora.ts';
import { matmulVjp } from './matmul.ts';
import { headNormVjp, layerNormVjp, rmsNormVjp } from './norm.ts';
import { matmulQuantisedVjp } from './quantised.ts';
import { ropeVjp } from './rope.ts';
import { blendRowsVjp, embedVjp, gatherRowsVjp } from './rows.ts';
import type { OpName } from './types.ts';

/** Backward rules by operation; what is missing cannot be differentiated. */
export const VJPS: { readonly [K in OpName]?: Vjp<K> } = {
  matmul: matmulVjp,
  bmm: bmmVjp,
  matmulQuantised: matmulQuantisedVjp,
  softmaxChunk: softmaxChunkVjp,
  softmaxFinish: softmaxFinishVjp,
  loraUp: loraUpVjp,
  doraScale: doraScaleVjp,
  dropout: dropoutVjp,
  rmsNorm: rmsNormVjp,
  layerNorm: layerNormVjp,
  headNorm: headNormVjp,
  rope: ropeVjp,
  attention: attentionVjp,
  swiglu: swigluVjp,
  activation: activationVjp,
  add: addVjp,
  embed: embedVjp,
  gatherRows: gatherRowsVjp,
  blendRows: blendRowsVjp,
  logSoftmax: logSoftmaxVjp,
};
