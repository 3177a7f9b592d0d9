import type { Vjp } from '../autograd.ts';
import { checkShape } from '../errors.ts';
import { describe, rowsAndColumns, type Tensor } from '../tensor.ts';

export interface LogProbabilities {
  /** log p(target) [R]; 0 where the target is negative. */
  readonly logp: Tensor;
  /** Entropy of the distribution in nats [R]. */
  readonly entropy: Tensor;
}

/** Log-probability of each row's target and the entropy of its distribution; logits are divided by `temperature` first. */
export function logSoftmax(logits: Tensor, targets: Tensor, temperature = 1): LogProbabilities {
  const [r] = rowsAndColumns(logits);
  checkShape(targets.shape[0] === r, 'logSoftmax', `${describe(targets)} does not fit ${describe(logits)}.`, `It must be i32[${r}].`);
  const [logp, entropy] = logits.graph.emit('logSoftmax', [logits, targets], { temperature }, [
    { shape: [r], name: 'logp' },
    { shape: [r], name: 'entropy' },
    { shape: [r], name: 'lse' },
  ]);
  return { logp: logp!, entropy: entropy! };
}

/** dz_j = (dLogp (1[j = target] - p_j) - dEntropy p_j (log p_j + H)) / temperature. */
export const logSoftmaxVjp: Vjp<'logSoftmax'> = (ctx, node, [dLogp, dEntropy]) => {
  const [logits, targets] = node.inputs as [Tensor, Tensor];
  const [, entropy, lse] = node.outputs as readonly [Tensor, Tensor, Tensor];
  if (!ctx.needs(logits)) return;
  const first = dLogp ?? dEntropy;
  if (first === undefined) return;
  checkShape(dLogp !== undefined, 'logSoftmax', 'a gradient of the entropy alone is not supported.', 'Seed the log-probabilities too (with zeros).');
  const inputs = [logits, targets, lse, entropy, dLogp, ...(dEntropy === undefined ? [] : [dEntropy])];
  ctx.give(logits, ctx.graph.emit('logSoftmaxBackward', inputs, node.attributes, [{ shape: logits.shape }])[0]!);
};
