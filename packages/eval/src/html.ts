/** @file The report as one HTML page: no script, no request; charts are SVG made by ECharts. */
import { encode } from 'fast-png';
import { accuracyBars, escape, page, percent, svg } from './page.ts';
import type { Curve, ReportExample, ReportImage, RunReport, SampledCompletion } from './report.ts';

export function renderReport(report: RunReport, curves: readonly Curve[], examples: readonly ReportExample[], samples: readonly { readonly stage: string; readonly lines: readonly SampledCompletion[] }[] = []): string {
  return page(report.title, `
<h1>${escape(report.title)}</h1>
<p>Seed ${report.seed}, ${escape(report.adapter)}, ${report.seconds.toFixed(0)} seconds. Every figure on this page was measured in this run.</p>
<h2>Findings</h2><ul>${report.findings.map((f) => `<li>${escape(f)}</li>`).join('')}</ul>
<h2>Accuracy on unseen images</h2>
<figure tabindex="0">${accuracyBars([{ title: 'Base, policy\nin the prompt', aside: true, ...report.inContext }, ...report.stages.map((x) => ({ ...x, title: x.title.replace(', ', ',\n') }))], report.chance)}<figcaption>Accuracy with 95 % Wilson intervals. All stages answer without the policy; the first bar has it in the prompt.</figcaption></figure>
${table(report)}
${reinforcement(report)}
<h2>Training</h2>
${groupBy(curves).map(([name, group]) => `<figure tabindex="0">${lines(name, group)}</figure>`).join('')}
<h2>Answers</h2>
${examples.map(example).join('')}
${samples.some((s) => s.lines.length > 0) ? `<h2>Sampled completions</h2>${samples.map(sampled).join('')}` : ''}
<h2>Settings</h2><pre tabindex="0">${escape(JSON.stringify(report.settings, null, 2))}</pre>
`);
}

function table(report: RunReport): string {
  const row = (name: string, cells: readonly string[]) => `<tr><td>${escape(name)}</td>${cells.map((c) => `<td>${c}</td>`).join('')}</tr>`;
  const { inContext } = report;
  // Trees have branches, tools have calls.
  const own: readonly (readonly [name: string, cell: (s: Partial<RunReport['stages'][number]>) => string])[] = report.stages.some((s) => s.calls !== undefined)
    ? [['Tool', (s) => maybe(s.calls?.tool)], ['Arguments', (s) => maybe(s.calls?.arguments)], ['Overall', (s) => maybe(s.calls?.overall)]]
    : [['Branching error', (s) => s.branchingError?.toFixed(1) ?? '']];
  const empty = own.map(() => '');
  return `<table tabindex="0"><thead><tr><th>Stage</th><th>Accuracy</th><th>95 % interval</th><th>n</th><th>Prompt tokens</th><th>Prefill ms</th>${own.map(([name]) => `<th>${name}</th>`).join('')}<th>Tokens/s</th><th>Seconds</th></tr></thead><tbody>
${report.chance === undefined ? '' : row('Chance', [percent(report.chance), '', '', '', '', ...empty, '', ''])}
${row('Majority answer', [percent(report.majority), '', '', '', '', ...empty, '', ''])}
${report.shortcuts === undefined ? '' : row('Shortcut: number of objects', [percent(report.shortcuts.objectCount), '', '', '', '', ...empty, '', '']) + row('Shortcut: histogram of attributes', [percent(report.shortcuts.histogram), '', '', '', '', ...empty, '', ''])}
${row('Base, policy in the prompt', [percent(inContext.accuracy), `${percent(inContext.low)} to ${percent(inContext.high)}`, String(inContext.n), inContext.promptTokens.toFixed(1), inContext.prefillMs.toFixed(1), ...own.map(([, cell]) => cell(inContext)), '', ''])}
${report.stages.map((s) => row(s.title, [percent(s.accuracy), `${percent(s.low)} to ${percent(s.high)}`, String(s.n), s.promptTokens.toFixed(1), s.prefillMs.toFixed(1), ...own.map(([, cell]) => cell(s)), s.tokensPerSecond === 0 ? '' : s.tokensPerSecond.toFixed(0), s.seconds.toFixed(0)])).join('\n')}
</tbody></table>`;
}

function maybe(x: number | undefined): string {
  return x === undefined ? '' : percent(x);
}

/** What the RL stages learnt from, and where their time went. */
function reinforcement(report: RunReport): string {
  const stages = report.stages.flatMap((s) => (s.rl === undefined ? [] : [{ title: s.title, rl: s.rl }]));
  if (stages.length === 0) return '';
  const parts = [...new Set(stages.flatMap(({ rl }) => Object.keys(rl.time)))];
  const cells = (title: string, values: readonly string[]) => `<tr><td>${escape(title)}</td>${values.map((v) => `<td>${v}</td>`).join('')}</tr>`;
  return `<h2>Reinforcement learning</h2><table tabindex="0"><thead><tr><th>Stage</th><th>Rollouts</th><th>Groups with an advantage</th><th>Accuracy, policy-free</th><th>Accuracy, policy-aware</th>${parts.map((p) => `<th>${escape(p)}</th>`).join('')}</tr></thead><tbody>
${stages.map(({ title, rl }) => cells(title, [String(rl.rollouts), percent(rl.groupsWithAdvantage), percent(rl.accuracyFree), maybe(rl.accuracyPolicy), ...parts.map((p) => maybe(rl.time[p]))])).join('\n')}
</tbody></table><p>Accuracies of sampled rollouts, last quarter of the steps. The last columns are shares of a step's time.</p>`;
}

function sampled({ stage, lines: own }: { readonly stage: string; readonly lines: readonly SampledCompletion[] }): string {
  return `<details><summary>${escape(stage)}: ${own.length} completions</summary><table tabindex="0"><thead><tr><th>Completion</th><th>Step</th><th>Question</th><th>Origin</th><th>Accuracy</th><th>Advantage</th></tr></thead><tbody>
${own.map((l) => `<tr><td><code>${escape(l.text)}</code></td><td>${l.step}</td><td>${escape(l.id)}</td><td>${escape(l.origin)}</td><td>${l.accuracy}</td><td>${l.advantage.toFixed(2)}</td></tr>`).join('\n')}
</tbody></table></details>`;
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

function groupBy(curves: readonly Curve[]): [string, Curve[]][] {
  const out = new Map<string, Curve[]>();
  for (const c of curves) out.set(c.name, [...(out.get(c.name) ?? []), c]);
  return [...out];
}

function example(e: ReportExample): string {
  const pictures = e.image === undefined ? [] : [e.image, ...(e.further ?? [])];
  const shown = pictures.map((image, i) => `<img alt="Picture ${pictures.length === 1 ? '' : `${i + 1} `}of the question ${escape(e.query)}" src="${pngDataUrl(image)}">`);
  return `<article>${shown.length === 1 ? shown[0]! : `<span>${shown.join('<br>')}</span>`}<div>
<p><strong>${escape(e.query)}</strong> Right answer: <strong>${escape(e.answer)}</strong></p>
${e.completions.map((c) => `<p class="${c.correct ? 'right' : 'wrong'}"><em>${escape(c.stage)}:</em> <code>${escape(c.text)}</code></p>`).join('')}</div></article>`;
}

function pngDataUrl({ width, height, rgb }: ReportImage): string {
  const bytes = encode({ width, height, data: rgb, channels: 3, depth: 8 });
  let binary = '';
  for (const b of bytes) binary += String.fromCharCode(b);
  return `data:image/png;base64,${btoa(binary)}`;
}

export { type Chart, renderTables, type TablePage, type TableSection } from './tables.ts';
