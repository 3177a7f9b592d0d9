import type { RunReport } from '@trimpi/eval';

/** The report's figures as a table for the terminal. */
export function reportTable(report: RunReport): string {
  const { inContext } = report;
  const calls = report.stages.some((s) => s.calls !== undefined);
  const parts = (of: RunReport['inContext']['calls']) => (calls ? [of?.tool, of?.arguments, of?.overall].map((x) => (x === undefined ? '' : percent(x))) : []);
  const rows = [
    ['', 'accuracy', '95 % interval', ...(calls ? ['tool', 'arguments', 'overall'] : []), 'prompt tokens', 'prefill', 'tokens/s', 'time'],
    ...(report.chance === undefined ? [] : [['Chance', percent(report.chance), '', ...parts(undefined), '', '', '', '']]),
    ['Majority answer', percent(report.majority), '', ...parts(undefined), '', '', '', ''],
    ...(report.shortcuts === undefined ? [] : ([['Shortcut: number of objects', report.shortcuts.objectCount], ['Shortcut: histogram of attributes', report.shortcuts.histogram]] as const).map(([name, x]) => [name, percent(x), '', ...parts(undefined), '', '', '', ''])),
    ['Base, policy in the prompt', percent(inContext.accuracy), `${percent(inContext.low)} - ${percent(inContext.high)}`, ...parts(inContext.calls), inContext.promptTokens.toFixed(1), `${inContext.prefillMs.toFixed(1)} ms`, '', ''],
    ...report.stages.map((s) => [
      s.title,
      percent(s.accuracy),
      `${percent(s.low)} - ${percent(s.high)}`,
      ...parts(s.calls),
      s.promptTokens.toFixed(1),
      `${s.prefillMs.toFixed(1)} ms`,
      s.tokensPerSecond === 0 ? '' : s.tokensPerSecond.toFixed(0),
      s.seconds === 0 ? '' : `${s.seconds.toFixed(0)} s`,
    ]),
  ];
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  const line = (r: readonly string[]) => r.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ');
  return [line(rows[0]!), widths.map((w) => '-'.repeat(w)).join('  '), ...rows.slice(1).map(line)].join('\n');
}

function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`;
}
