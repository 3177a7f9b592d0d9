import type { Vjp } from '../autograd.ts';
import { attentionVjp } from './attention.ts';
import { activationVjp, addVjp, swigluVjp } from './elementwise.ts';
import { logSoftmaxVjp } from './loss.ts';
import { loraUpVjp } from './lora.ts';
import { matmulVjp } from './matmul.ts';
import { rmsNormVjp } from './norm.ts';
import { ropeVjp } from './rope.ts';
import { embedVjp, gatherRowsVjp } from './rows.ts';
import type { OpName } from './types.ts';

/** Backward rules by operation; what is missing cannot be differentiated. */
export const VJPS: { readonly [K in OpName]?: Vjp<K> } = {
  matmul: matmulVjp,
  loraUp: loraUpVjp,
  rmsNorm: rmsNormVjp,
  rope: ropeVjp,
  attention: attentionVjp,
  swiglu: swigluVjp,
  activation: activationVjp,
  add: addVjp,
  embed: embedVjp,
  gatherRows: gatherRowsVjp,
  logSoftmax: logSoftmaxVjp,
};
