/** @file docs/benchmarks.md, from the figures of a run. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const US = 'trimpi';
const PEERS = ['jax-js WebGPU', 'TensorFlow.js WebGPU'];
const CPU = ['ONNX Runtime CPU', 'jax-js WebAssembly'];

/** The document: what was measured, whether the bars are met, how. */
export function markdown(report) {
  const step = report.cases.find((c) => c.kind === 'step');
  const torch = JSON.parse(readFileSync(join(import.meta.dirname, 'pytorch.json'), 'utf8'));
  const load = (l) => l.map((x) => x.toFixed(1)).join(', ');
  return `# Benchmarks

Written by \`npm run bench\` on ${report.started.slice(0, 10)}: ${report.machine}, Node ${report.node}, adapter
${report.adapters[US]}. Medians of ${report.rounds} turns in milliseconds, quartiles in brackets; behind them, how many times our time that is
(above 1: this package is faster). All figures: [benchmark.json](results/benchmark.json).

The load average of the machine (${report.machine.split(' ')[0]} cores) was ${load(report.load.start)} at the start and ${load(report.load.end)} at the end.${busy(report) ? ' Other work ran beside it: the absolute times are too high, for everybody alike, since the contestants take turns. Ratios are what to read.' : ''}

## WebGPU

| Case | TriMPI | GFLOP/s | ${PEERS.join(' | ')} |
| --- | --- | --- | ${PEERS.map(() => '---').join(' | ')} |
${report.cases.map((c) => `| ${c.name} | ${cell(c.entries[US])} | ${rate(c)} | ${PEERS.map((p) => cell(c.entries[p], c.entries[US])).join(' | ')} |`).join('\n')}

## Without a GPU

What a user without any GPU driver could take: WebAssembly in JavaScript, and native code. The adapter above ${/llvmpipe|swiftshader/i.test(report.adapters[US]) ? 'is a CPU that plays a GPU, so this is the same hardware' : 'is a GPU: this is other hardware'}.

| Case | TriMPI WebGPU | ${CPU.join(' | ')} |
| --- | --- | ${CPU.map(() => '---').join(' | ')} |
${report.cases.map((c) => `| ${c.name} | ${cell(c.entries[US])} | ${CPU.map((p) => cell(c.entries[p], c.entries[US])).join(' | ')} |`).join('\n')}
| the same training step in PyTorch ${torch.torch}, CPU, ${torch.threads} threads | | ${torch.ms} (${torch.q1} to ${torch.q3}), load ${torch.load[0].toFixed(1)} | |

PyTorch was measured once, by \`python packages/runtime/bench/pytorch.py\`, not in turns with the others.

## The training step

A GPT of width 128, 4 layers, 4 heads, SwiGLU 512, RMSNorm, RoPE, vocabulary 512 (tied head), batch 8 x 128, AdamW, float32.

| | Tokens a second | Dispatches | First ${'three'} steps with compiling |
| --- | --- | --- | --- |
${Object.entries(step?.entries ?? {}).map(([who, e]) => `| ${who} | ${e.ms === undefined ? 'failed' : Math.round((step.tokens / e.ms) * 1000).toLocaleString('en')} | ${e.dispatches ?? ''} | ${e.firstMs === undefined ? '' : `${(e.firstMs / 1000).toFixed(1)} s`} |`).join('\n')}

## The bars

${bars(report).map(({ text, met }) => `- ${met === undefined ? 'Not measured' : met ? 'Met' : '**Missed**'}: ${text}`).join('\n')}

## How it is measured

One command, one adapter. Each contestant is a process of its own; all are given the same numbers, and a case counts only when
2,000 elements of the results agree with ours to 0.002 of the largest (for the training step: the loss after three steps). Then
they take turns: about 0.2 s of runs in a row, one wait for the queue, the next contestant. A jitted function in jax-js is one
whole case (the training step with AdamW is one); TensorFlow.js runs its operations as a user writes them. The training step
reads its loss back every step. jax-js and TensorFlow.js run in Node over the same Dawn (\`webgpu\`). ONNX Runtime runs its CPU
kernels, for matrix products only: the roofline of this processor. Peers are pinned in
[\`packages/runtime/bench/peers\`](../packages/runtime/bench/peers/package.json) and are fetched by the benchmark, never by an installation.

\`\`\`sh
npm run bench                          # two to eight minutes; writes this page
npm run bench -- --quick --json b.json # three turns, only the JSON
npm run bench -- --quick --only matmul
\`\`\`
`;
}

const busy = (report) => Math.max(report.load.start[0], report.load.end[0]) > Number(report.machine.split(' ')[0]) + 2;

function cell(e, ours) {
  if (e === undefined) return '';
  if (e.ms === undefined) return `failed: ${e.failed.split(' | ')[0].slice(0, 80)}`;
  const ratio = ours?.ms === undefined ? '' : `, **${(e.ms / ours.ms).toFixed(2)}**`;
  return `${digits(e.ms)} (${digits(e.q1)} to ${digits(e.q3)})${ratio}`;
}

const digits = (x) => (x < 10 ? x.toFixed(2) : x.toFixed(1));

function rate(c) {
  const ms = c.entries[US]?.ms;
  return c.flops === undefined || ms === undefined ? '' : (c.flops / ms / 1e6).toFixed(1);
}

/** The project's bars on a software adapter. */
function bars(report) {
  const ratio = (c, who) => (c?.entries[who]?.ms === undefined || c.entries[US].ms === undefined ? undefined : c.entries[who].ms / c.entries[US].ms);
  const step = report.cases.find((c) => c.kind === 'step');
  const least = (who, most) => {
    const r = ratio(step, who);
    return { text: `the training step at least ${most} times as fast as ${who}${r === undefined ? '' : ` (${r.toFixed(2)})`}`, met: r === undefined ? undefined : r >= most };
  };
  const ahead = report.cases.filter((c) => /matmul|attention/.test(c.kind)).map((c) => {
    const rs = PEERS.map((p) => ratio(c, p)).filter((r) => r !== undefined);
    return { text: `${c.name} ahead of both${rs.length === 0 ? '' : ` (${rs.map((r) => r.toFixed(2)).join(', ')})`}`, met: rs.length < PEERS.length ? undefined : rs.every((r) => r > 1) };
  });
  return [least('jax-js WebGPU', 1.6), least('TensorFlow.js WebGPU', 2), ...ahead];
}
