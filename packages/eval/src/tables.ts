/** @file Tables of results once, as Markdown and as a page. */
import { accuracyBars, type Bar, escape, page } from './page.ts';

export interface TableSection {
  readonly heading: string;
  readonly paragraphs?: readonly string[];
  /** Drawn on the page only. */
  readonly bars?: { readonly bars: readonly Bar[]; readonly chance: number; readonly caption: string };
  readonly tables?: readonly { readonly caption?: string; readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] }[];
  /** Shown as JSON. */
  readonly data?: unknown;
}

export interface TablePage {
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly sections: readonly TableSection[];
}

export function renderTables({ title, paragraphs, sections }: TablePage): string {
  const text = (lines: readonly string[] = []) => lines.map((p) => `<p>${escape(p)}</p>`).join('\n');
  const row = (cells: readonly string[], tag: 'th' | 'td') => `<tr>${cells.map((c) => `<${tag}>${escape(c)}</${tag}>`).join('')}</tr>`;
  return page(title, `
<h1>${escape(title)}</h1>
${text(paragraphs)}
${sections.map((s) => `<h2>${escape(s.heading)}</h2>
${text(s.paragraphs)}
${s.bars === undefined ? '' : `<figure tabindex="0">${accuracyBars(s.bars.bars, s.bars.chance)}<figcaption>${escape(s.bars.caption)}</figcaption></figure>`}
${(s.tables ?? []).map((t) => `${t.caption === undefined ? '' : `<p>${escape(t.caption)}</p>`}<table tabindex="0"><thead>${row(t.head, 'th')}</thead><tbody>${t.rows.map((r) => row(r, 'td')).join('\n')}</tbody></table>`).join('\n')}
${s.data === undefined ? '' : `<pre tabindex="0">${escape(JSON.stringify(s.data, null, 2))}</pre>`}`).join('\n')}
`);
}

export function tablesMarkdown({ title, paragraphs, sections }: TablePage): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
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
