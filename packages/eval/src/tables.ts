/** @file Tables of results once, as Markdown and as a page. */
import { accuracyBars, type Bar, escape, page, type Series, seriesDots, seriesLines } from './page.ts';

/** Shares (0 to 1): bars with their intervals and a dashed line at chance; lines over `labels` that have an order; points beside labels that have none. */
export type Chart =
  | { readonly bars: readonly Bar[]; readonly chance?: number; readonly caption: string }
  | { readonly lines: readonly Series[]; readonly labels: readonly string[]; readonly caption: string }
  | { readonly dots: readonly Series[]; readonly labels: readonly string[]; readonly caption: string };

export interface TableSection {
  readonly heading: string;
  readonly paragraphs?: readonly string[];
  /** Drawn on the page only. */
  readonly charts?: readonly Chart[];
  readonly tables?: readonly { readonly caption?: string; readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] }[];
  /** Shown as JSON. */
  readonly data?: unknown;
}

export interface TablePage {
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly sections: readonly TableSection[];
}

function drawn(chart: Chart): string {
  if ('bars' in chart) return accuracyBars(chart.bars, chart.chance);
  return 'lines' in chart ? seriesLines(chart.labels, chart.lines) : seriesDots(chart.labels, chart.dots);
}

export function renderTables({ title, paragraphs, sections }: TablePage): string {
  const text = (lines: readonly string[] = []) => lines.map((p) => `<p>${escape(p)}</p>`).join('\n');
  const row = (cells: readonly string[], tag: 'th' | 'td') => `<tr>${cells.map((c) => `<${tag}>${escape(c)}</${tag}>`).join('')}</tr>`;
  return page(title, `
<h1>${escape(title)}</h1>
${text(paragraphs)}
${sections.map((s) => `<h2>${escape(s.heading)}</h2>
${text(s.paragraphs)}
${(s.charts ?? []).map((c) => `<figure tabindex="0">${drawn(c)}<figcaption>${escape(c.caption)}</figcaption></figure>`).join('\n')}
${(s.tables ?? []).map((t) => `${t.caption === undefined ? '' : `<p>${escape(t.caption)}</p>`}<table tabindex="0"><thead>${row(t.head, 'th')}</thead><tbody>${t.rows.map((r) => row(r, 'td')).join('\n')}</tbody></table>`).join('\n')}
${s.data === undefined ? '' : `<pre tabindex="0">${escape(JSON.stringify(s.data, null, 2))}</pre>`}`).join('\n')}
`);
}

export function tablesMarkdown({ title, paragraphs, sections }: TablePage): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll(/\r\n?|\n/g, '<br>');
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  const blocks: string[] = [`# ${title}`, ...paragraphs];
  for (const s of sections) {
    blocks.push(`## ${s.heading}`, ...(s.paragraphs ?? []));
    for (const t of s.tables ?? []) {
      if (t.caption !== undefined) blocks.push(t.caption);
      blocks.push([line(t.head), line(t.head.map((_, i) => (i === 0 ? '---' : '---:'))), ...t.rows.map(line)].join('\n'));
    }
    if (s.data !== undefined) blocks.push(`\`\`\`json\n${JSON.stringify(s.data, null, 2)}\n\`\`\``);
  }
  return `${blocks.join('\n\n')}\n`;
}
