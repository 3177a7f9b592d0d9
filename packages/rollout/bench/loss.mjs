/**
 * @file Times advantages, clipped loss, k3, gradient and metrics of 1,024 rollouts of 1,024 tokens against one plain
 * loop that only computes one exp and one sum a token, and prints the ratio; fails when it is above `--max`. Also
 * printed: the ratio to a plain loop with the two exponentials (of both log-ratios) that the loss cannot do without.
 *
 *   node --import tsx bench/loss.mjs [--max 3]
 */
import { grpo } from '../src/index.ts';

const ROWS = 1024;
const COLUMNS = 1024;
const tokens = ROWS * COLUMNS;
const maxFlag = process.argv.indexOf('--max');
const limit = maxFlag < 0 ? Infinity : Number(process.argv[maxFlag + 1]);

let seed = 42;
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
};
const logps = Float64Array.from({ length: tokens }, () => -3 * random());
const oldLogps = logps.map((x) => x + 0.4 * (random() - 0.5));
const refLogps = logps.map((x) => x + 0.6 * (random() - 0.5));
const mask = new Uint8Array(tokens).fill(1);
const rewards = Float64Array.from({ length: ROWS }, () => Math.round(random()));
const groupIds = Int32Array.from({ length: ROWS }, (_, i) => i >> 3);
const out = new Float64Array(tokens);
const objective = grpo({ epsilon: 0.2, epsilonHigh: 0.28, beta: 0.04 });

function full() {
  const advantages = objective.advantages({ rewards, groupIds });
  return objective.loss({ logps, oldLogps, refLogps, advantages, mask, shape: [ROWS, COLUMNS], out }).loss;
}

/** The two exponentials of the loss, and a sum. */
function plainTwo() {
  let sum = 0;
  for (let k = 0; k < tokens; k++) sum += Math.exp(logps[k] - oldLogps[k]) + Math.exp(refLogps[k] - logps[k]);
  return sum;
}

/** One exponential and one addition a token. */
function plainOne() {
  let sum = 0;
  for (let k = 0; k < tokens; k++) sum += Math.exp(logps[k] - oldLogps[k]);
  return sum;
}

function best(run) {
  let least = Infinity;
  for (let i = 0; i < 25; i++) {
    const start = performance.now();
    if (!Number.isFinite(run())) throw new Error('not a number');
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

for (const run of [full, plainOne, plainTwo]) run();
const times = { full: best(full), plain: best(plainOne), plainTwoExponentials: best(plainTwo) };
const ratio = times.full / times.plain;
const ratioToTwoExponentials = times.full / times.plainTwoExponentials;
console.log(JSON.stringify({ rows: ROWS, columns: COLUMNS, milliseconds: times, ratio, ratioToTwoExponentials }, null, 2));
if (ratio > limit) {
  console.error(`ratio ${ratio.toFixed(2)} is above ${limit}`);
  process.exitCode = 1;
}
