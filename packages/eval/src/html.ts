/** @file The report as one HTML page: no script, no request; charts are SVG made by ECharts. */
import { encode } from 'fast-png';
import { init, use } from 'echarts/core';
import { BarChart, CustomChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';
import type { Curve, ReportExample, RunReport, SampledCompletion } from './report.ts';

use([BarChart, CustomChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

export function renderReport(report: RunReport, curves: readonly Curve[], examples: readonly ReportExample[], samples: readonly { readonly stage: string; readonly lines: readonly SampledCompletion[] }[] = []): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(report.title)}</title>
<style>${STYLE}</style></head><body><main>
<h1>${escape(report.title)}</h1>
<p>Seed ${report.seed}, ${escape(report.adapter)}, ${report.seconds.toFixed(0)} seconds. Every figure on this page was measured in this run.</p>
<h2>Findings</h2><ul>${report.findings.map((f) => `<li>${escape(f)}</li>`).join('')}</ul>
<h2>Accuracy on unseen images</h2>
<figure tabindex="0">${stageBars(report)}<figcaption>Accuracy with 95 % Wilson intervals. All stages answer without the policy; the first bar has it in the prompt.</figcaption></figure>
${table(report)}
${reinforcement(report)}
<h2>Training</h2>
${groupBy(curves).map(([name, group]) => `<figure tabindex="0">${lines(name, group)}</figure>`).join('')}
<h2>Answers</h2>
${examples.map(example).join('')}
${samples.some((s) => s.lines.length > 0) ? `<h2>Sampled completions</h2>${samples.map(sampled).join('')}` : ''}
<h2>Settings</h2><pre tabindex="0">${escape(JSON.stringify(report.settings, null, 2))}</pre>
</main></body></html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
figure { margin: 1rem 0; overflow-x: auto; background: #fff; border-radius: 8px; }
figcaption { color: #444; padding: 0 1rem 0.75rem; font-size: 0.9rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.4rem 0.6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
article { display: grid; grid-template-columns: auto 1fr; gap: 1rem; border-top: 1px solid var(--line); padding: 1rem 0; }
article img { width: 256px; max-width: 40vw; image-rendering: pixelated; border-radius: 4px; }
article p { margin: 0.2rem 0; overflow-wrap: anywhere; }
.right::before { content: "right"; color: var(--good); font-weight: 600; margin-right: 0.5rem; }
.wrong::before { content: "wrong"; color: var(--bad); font-weight: 600; margin-right: 0.5rem; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: 0.75rem; border-radius: 8px; }
`;

function table(report: RunReport): string {
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  const row = (name: string, cells: readonly string[]) => `<tr><td>${escape(name)}</td>${cells.map((c) => `<td>${c}</td>`).join('')}</tr>`;
  const { inContext } = report;
  return `<table tabindex="0"><thead><tr><th>Stage</th><th>Accuracy</th><th>95 % interval</th><th>n</th><th>Prompt tokens</th><th>Prefill ms</th><th>Tokens/s</th><th>Seconds</th></tr></thead><tbody>
${row('Chance', [percent(report.chance), '', '', '', '', '', ''])}
${row('Majority answer', [percent(report.majority), '', '', '', '', '', ''])}
${row('Base, policy in the prompt', [percent(inContext.accuracy), `${percent(inContext.low)} to ${percent(inContext.high)}`, String(inContext.n), inContext.promptTokens.toFixed(1), inContext.prefillMs.toFixed(1), '', ''])}
${report.stages.map((s) => row(s.title, [percent(s.accuracy), `${percent(s.low)} to ${percent(s.high)}`, String(s.n), s.promptTokens.toFixed(1), s.prefillMs.toFixed(1), s.tokensPerSecond === 0 ? '' : s.tokensPerSecond.toFixed(0), s.seconds.toFixed(0)])).join('\n')}
</tbody></table>`;
}

/** What the RL stages learnt from, and where their time went. */
function reinforcement(report: RunReport): string {
  const stages = report.stages.flatMap((s) => (s.rl === undefined ? [] : [{ title: s.title, branching: s.branchingError, rl: s.rl }]));
  if (stages.length === 0) return '';
  const percent = (x: number | undefined) => (x === undefined ? '' : `${(100 * x).toFixed(1)} %`);
  const parts = [...new Set(stages.flatMap(({ rl }) => Object.keys(rl.time)))];
  const cells = (title: string, values: readonly string[]) => `<tr><td>${escape(title)}</td>${values.map((v) => `<td>${v}</td>`).join('')}</tr>`;
  return `<h2>Reinforcement learning</h2><table tabindex="0"><thead><tr><th>Stage</th><th>Rollouts</th><th>Groups with an advantage</th><th>Accuracy, policy-free</th><th>Accuracy, policy-aware</th>${parts.map((p) => `<th>${escape(p)}</th>`).join('')}</tr></thead><tbody>
${stages.map(({ title, rl }) => cells(title, [String(rl.rollouts), percent(rl.groupsWithAdvantage), percent(rl.accuracyFree), percent(rl.accuracyPolicy), ...parts.map((p) => percent(rl.time[p]))])).join('\n')}
</tbody></table><p>Accuracies of sampled rollouts, last quarter of the steps. The last columns are shares of a step's time.</p>`;
}

function sampled({ stage, lines }: { readonly stage: string; readonly lines: readonly SampledCompletion[] }): string {
  return `<details><summary>${escape(stage)}: ${lines.length} completions</summary><table tabindex="0"><thead><tr><th>Completion</th><th>Step</th><th>Question</th><th>Origin</th><th>Accuracy</th><th>Advantage</th></tr></thead><tbody>
${lines.map((l) => `<tr><td><code>${escape(l.text)}</code></td><td>${l.step}</td><td>${escape(l.id)}</td><td>${escape(l.origin)}</td><td>${l.accuracy}</td><td>${l.advantage.toFixed(2)}</td></tr>`).join('\n')}
</tbody></table></details>`;
}

function stageBars(report: RunReport): string {
  const bars = [{ title: 'Base, policy\nin the prompt', ...report.inContext }, ...report.stages.map((s) => ({ ...s, title: s.title.replace(', ', ',\n') }))];
  return svg(320, {
    animation: false,
    grid: { left: 50, right: 20, top: 30, bottom: 60 },
    xAxis: { type: 'category', data: bars.map((b) => b.title), axisLabel: { interval: 0, fontSize: 11 } },
    yAxis: { type: 'value', min: 0, max: 1, axisLabel: { formatter: (v: number) => `${Math.round(100 * v)} %` } },
    series: [
      {
        type: 'bar',
        data: bars.map((b, i) => ({ value: b.accuracy, itemStyle: { color: i === 0 ? '#8c8c8c' : '#2f6fde' } })),
        label: { show: true, position: 'insideBottom', color: '#fff', formatter: ({ value }: { value: number }) => `${(100 * value).toFixed(0)} %` },
      },
      {
        type: 'custom',
        z: 3,
        data: bars.map((b, i) => [i, b.low, b.high]),
        renderItem: (_: unknown, api: { value(i: number): number; coord(p: number[]): number[] }) => {
          const [x, low] = api.coord([api.value(0), api.value(1)]) as [number, number];
          const high = api.coord([api.value(0), api.value(2)])[1]!;
          const line = (x1: number, y1: number, x2: number, y2: number) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: '#111', lineWidth: 1.5 } });
          return { type: 'group', children: [line(x, low, x, high), line(x - 6, low, x + 6, low), line(x - 6, high, x + 6, high)] };
        },
      },
      { type: 'line', data: bars.map(() => report.chance), symbol: 'none', lineStyle: { type: 'dashed', color: '#cf222e' } },
    ],
  });
}

function lines(name: string, curves: readonly Curve[]): string {
  return svg(240, {
    animation: false,
    title: { text: name, left: 12, top: 6, textStyle: { fontSize: 14 } },
    legend: { right: 12, top: 6 },
    grid: { left: 60, right: 20, top: 40, bottom: 40 },
    xAxis: { type: 'value', name: 'step', nameLocation: 'middle', nameGap: 24 },
    yAxis: { type: 'value', scale: true },
    series: curves.map((c) => ({ type: 'line', name: c.stage, data: c.points.map((p) => [...p]), symbol: 'none', lineStyle: { width: 1.5 } })),
  });
}

function svg(height: number, option: unknown): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 900, height });
  chart.setOption(option as Parameters<typeof chart.setOption>[0]);
  const text = chart.renderToSVGString();
  chart.dispose();
  return text;
}

function groupBy(curves: readonly Curve[]): [string, Curve[]][] {
  const out = new Map<string, Curve[]>();
  for (const c of curves) out.set(c.name, [...(out.get(c.name) ?? []), c]);
  return [...out];
}

function example(e: ReportExample): string {
  return `<article><img alt="Scene of the question ${escape(e.query)}" src="${pngDataUrl(e.image)}"><div>
<p><strong>${escape(e.query)}</strong> Right answer: <strong>${escape(e.answer)}</strong></p>
${e.completions.map((c) => `<p class="${c.correct ? 'right' : 'wrong'}"><em>${escape(c.stage)}:</em> <code>${escape(c.text)}</code></p>`).join('')}</div></article>`;
}

function pngDataUrl({ width, height, rgb }: ReportExample['image']): string {
  const bytes = encode({ width, height, data: rgb, channels: 3, depth: 8 });
  let binary = '';
  for (const b of bytes) binary += String.fromCharCode(b);
  return `data:image/png;base64,${btoa(binary)}`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
