/**
 * @file Times advantages, clipped loss, k3, gradient and metrics of 1,024 rollouts of 1,024 tokens against one plain
 * loop that only computes one exp and one sum a token. They run in turns, 60 rounds after 10 to warm up; printed are the
 * median of the rounds' ratios, which fails when it is above `--max`, its quartiles, the ratio of the best times, and the
 * median against a plain loop with the two exponentials (of both log-ratios) that the loss cannot do without.
 *
 *   node --import tsx bench/loss.mjs [--max 3]
 */
import { grpo } from '../src/index.ts';

const ROWS = 1024;
const COLUMNS = 1024;
const WARM_UP = 10;
const ROUNDS = 60;
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

/** Milliseconds of one call. */
function time(run) {
  const start = performance.now();
  if (!Number.isFinite(run())) throw new Error('not a number');
  return performance.now() - start;
}

/** The value below which a share p of them lies. */
function quantile(values, p) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = p * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return below + (at % 1) * (sorted[Math.ceil(at)] - below);
}

// The loops take turns, so that a machine that slows down or speeds up does so for each, and a round has its own ratio;
// every other round goes backwards, so that none of them always follows the same one.
const runs = Object.entries({ full, plain: plainOne, plainTwoExponentials: plainTwo });
const times = { full: [], plain: [], plainTwoExponentials: [] };
for (let round = -WARM_UP; round < ROUNDS; round++) {
  for (const [name, run] of round % 2 === 0 ? runs : runs.toReversed()) {
    const taken = time(run);
    if (round >= 0) times[name].push(taken);
  }
}

const ratios = times.full.map((taken, round) => taken / times.plain[round]);
const ratiosToTwo = times.full.map((taken, round) => taken / times.plainTwoExponentials[round]);
const milliseconds = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.min(...list)]));
const ratio = quantile(ratios, 0.5);
const report = {
  rows: ROWS,
  columns: COLUMNS,
  rounds: ROUNDS,
  milliseconds,
  ratio,
  ratioQuartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
  ratioOfBest: milliseconds.full / milliseconds.plain,
  ratioToTwoExponentials: quantile(ratiosToTwo, 0.5),
};
console.log(JSON.stringify(report, null, 2));
if (ratio > limit) {
  console.error(`ratio ${ratio.toFixed(2)} is above ${limit}`);
  process.exitCode = 1;
}
