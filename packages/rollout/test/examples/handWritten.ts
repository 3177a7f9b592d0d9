import { fromTrl } from '../../src/index.ts';

/** A policy of one state: logits over answers, trained by hand with the coefficients that `loss` returns. */
export function trainByHand(steps: number): number {
  const objective = fromTrl({ loss_type: 'dapo', epsilon: 0.2, epsilon_high: 0.28, scale_rewards: 'none' });
  const logits = new Float64Array(3);
  const rewardOf = [0, 1, 0];
  for (let step = 0; step < steps; step++) {
    const answers = [0, 1, 2, 1];
    const rewards = answers.map((a) => rewardOf[a] as number);
    const advantages = objective.advantages({ rewards, groupIds: answers.map(() => 'q') });
    const oldLogps = answers.map((a) => logSoftmax(logits)[a] as number);
    for (let epoch = 0; epoch < 2; epoch++) {
      const p = logSoftmax(logits);
      const { dLogp } = objective.loss({ logps: answers.map((a) => p[a] as number), oldLogps, advantages, mask: answers.map(() => 1), shape: [answers.length, 1] });
      // The chain rule: d logp(a) / d logit_j = 1[a = j] − π_j.
      answers.forEach((a, i) => logits.forEach((_, j) => (logits[j] = (logits[j] as number) - 0.5 * (dLogp[i] as number) * ((a === j ? 1 : 0) - Math.exp(p[j] as number)))));
    }
  }
  return Math.exp(logSoftmax(logits)[1] as number);
}

export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const all = Float64Array.from(logits);
  const top = Math.max(...all);
  const total = top + Math.log(all.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return all.map((x) => x - total);
}
