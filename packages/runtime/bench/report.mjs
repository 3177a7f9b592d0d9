/** @file The document of a run (docs/benchmarks.md), from its figures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const US = 'trimpi';
const PEERS = ['jax-js WebGPU', 'TensorFlow.js WebGPU'];
/** Measured beside them where it was asked for. */
const BESIDE = ['public-design WGSL', 'trimpi tuned'];
const CPU = ['ONNX Runtime CPU', 'jax-js WebAssembly'];

/**
 * The document: what was measured, whether the bars are met, how.
 * @param figures Where the figures lie, relative to the document; undefined when they were not written.
 */
export function markdown(report, figures) {
  const load = (l) => l.map((x) => x.toFixed(1)).join(', ');
  const others = [...PEERS, ...BESIDE].filter((name) => report.cases.some((c) => c.entries[name] !== undefined));
  const rated = !report.adapter.software;
  const steps = report.cases.filter((c) => c.kind === 'step');
  return `# Benchmarks

Written by \`npm run bench\` on ${report.started.slice(0, 10)}: ${report.machine}, Node ${report.node}, adapter
${report.adapters[US]}. Medians of ${report.rounds} turns in milliseconds, quartiles in brackets; behind them, how many times our time that is
(above 1: this package is faster).${figures === undefined ? '' : ` All figures: [${figures.split('/').at(-1)}](${figures}).`}

${adapterFacts(report.adapter)}

The load average of the machine (${report.machine.split(' ')[0]} cores) was ${load(report.load.start)} at the start and ${load(report.load.end)} at the end.${busy(report) ? ' Other work ran beside it: the absolute times are too high, for everybody alike, since the contestants take turns. Ratios are what to read.' : ''}

## WebGPU

| Case | TriMPI | GFLOP/s | ${others.join(' | ')} |
| --- | --- | --- | ${others.map(() => '---').join(' | ')} |
${report.cases.map((c) => `| ${c.name} | ${cell(c.entries[US])} | ${rate(c, US)} | ${others.map((p) => `${cell(c.entries[p], c.entries[US])}${rated && rate(c, p) !== '' ? `, ${rate(c, p)} GFLOP/s` : ''}`).join(' | ')} |`).join('\n')}

${withoutGpu(report)}${steps.map(stepSection).join('\n')}
## The bars

${bars(report).map(({ text, met }) => `- ${met === undefined ? 'Not measured' : met ? 'Met' : '**Missed**'}: ${text}`).join('\n')}

## How it is measured

One command, one adapter. Each contestant is a process of its own; all are given the same numbers, and a case counts only when
2,000 elements of the results agree with ours to 0.002 of the largest (for the training step: the loss after three steps). Then
they take turns: about 0.2 s of runs in a row, one wait for the queue, the next contestant. A jitted function in jax-js is one
whole case (the training step with AdamW is one); TensorFlow.js runs its operations as a user writes them. The training step
reads its loss back every step. jax-js and TensorFlow.js run in Node over the same Dawn (\`webgpu\`). The public-design WGSL is a
matrix product written from public descriptions of fast kernels, for sizes that its tiles divide. ONNX Runtime runs its CPU
kernels, for matrix products only: the roofline of this processor. Peers are pinned in
[\`packages/runtime/bench/peers\`](../packages/runtime/bench/peers/package.json) and are fetched by the benchmark, never by an installation.

\`\`\`sh
npm run bench                          # two to eight minutes; writes the page of this project's machine
npm run bench -- --quick --json b.json # three turns, only the JSON
npm run bench -- --quick --only matmul
\`\`\`
`;
}

/** What the adapter is and allows. */
function adapterFacts({ vendor, architecture, software, features, subgroupMinSize, subgroupMaxSize, maxStorageBufferBindingSize, maxBufferSize }) {
  const mib = (bytes) => `${(bytes / 2 ** 20).toLocaleString('en')} MiB`;
  const subgroups = subgroupMaxSize > 0 ? `, subgroups of ${subgroupMinSize === subgroupMaxSize ? '' : `${subgroupMinSize} to `}${subgroupMaxSize}` : '';
  return `The adapter: ${[vendor, architecture].filter(Boolean).join(' ')}, ${software ? 'a CPU that plays a GPU' : 'hardware'}${subgroups}, bindings of up to ${mib(maxStorageBufferBindingSize)}, buffers of up to ${mib(maxBufferSize)}, features ${features.join(', ')}.`;
}

/** The contestants on the CPU, where they took part. */
function withoutGpu(report) {
  const there = CPU.filter((name) => report.cases.some((c) => c.entries[name] !== undefined));
  if (there.length === 0) return '';
  const torch = JSON.parse(readFileSync(join(import.meta.dirname, 'pytorch.json'), 'utf8'));
  return `## Without a GPU

What a user without any GPU driver could take: WebAssembly in JavaScript, and native code. The adapter above ${report.adapter.software ? 'is a CPU that plays a GPU, so this is the same hardware' : 'is a GPU: this is other hardware'}.

| Case | TriMPI WebGPU | ${there.join(' | ')} |
| --- | --- | ${there.map(() => '---').join(' | ')} |
${report.cases.filter((c) => !c.gpu).map((c) => `| ${c.name} | ${cell(c.entries[US])} | ${there.map((p) => cell(c.entries[p], c.entries[US])).join(' | ')} |`).join('\n')}

The training step in PyTorch ${torch.torch} on the CPU of the project's machine (${torch.threads} threads, load ${torch.load[0].toFixed(1)}) takes ${torch.ms} ms (${torch.q1} to ${torch.q3}),
measured once, by \`python packages/runtime/bench/pytorch.py\`, not in turns with the others.

`;
}

/** A training step: tokens a second. */
function stepSection(c) {
  return `## The ${c.name}

Width ${c.width}, ${c.layers} layers, ${c.heads} heads, SwiGLU ${c.hidden}, RMSNorm, RoPE, vocabulary ${c.vocabulary} (tied head), batch ${c.batch} x ${c.length}, AdamW, float32.

| | Tokens a second | Dispatches | First three steps with compiling |
| --- | --- | --- | --- |
${Object.entries(c.entries).map(([who, e]) => `| ${who} | ${e.ms === undefined ? 'failed' : Math.round((c.tokens / e.ms) * 1000).toLocaleString('en')} | ${e.dispatches ?? ''} | ${e.firstMs === undefined ? '' : `${(e.firstMs / 1000).toFixed(1)} s`} |`).join('\n')}
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

function rate(c, who) {
  const ms = c.entries[who]?.ms;
  return c.flops === undefined || ms === undefined ? '' : (c.flops / ms / 1e6).toFixed(1);
}

/** The project's bars: on any adapter against the peers; on hardware against a matrix product of a public design, too. */
function bars(report) {
  const ratio = (c, who) => (c?.entries[who]?.ms === undefined || c.entries[US].ms === undefined ? undefined : c.entries[who].ms / c.entries[US].ms);
  const shown = (r) => (r === undefined ? '' : ` (${r.toFixed(2)})`);
  const least = (c, what, who, most) => {
    const r = ratio(c, who);
    return { text: `${what} at least ${most} times as fast as ${who}${shown(r)}`, met: r === undefined ? undefined : r >= most };
  };
  const steps = report.cases.filter((c) => c.kind === 'step').flatMap((c) => [least(c, `the ${c.name}`, 'jax-js WebGPU', 1.6), least(c, `the ${c.name}`, 'TensorFlow.js WebGPU', 2)]);
  const ahead = report.cases.filter((c) => /matmul|attention/.test(c.kind)).map((c) => {
    const rs = PEERS.map((p) => ratio(c, p)).filter((r) => r !== undefined);
    return { text: `${c.name} ahead of both${rs.length === 0 ? '' : ` (${rs.map((r) => r.toFixed(2)).join(', ')})`}`, met: rs.length < PEERS.length ? undefined : rs.every((r) => r > 1) };
  });
  const large = report.cases.filter((c) => c.kind === 'matmul' && c.gpu).map((c) => least(c, c.name, BESIDE[0], 0.6));
  return [...steps, ...ahead, ...large];
}
