/** @file What pages share: one file each, no script, no request; charts are SVG made by ECharts. */
import { init, use } from 'echarts/core';
import { BarChart, CustomChart, LineChart, ScatterChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';

use([BarChart, CustomChart, LineChart, ScatterChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

/** A whole page around its body. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${STYLE}</style></head><body><main>${body}</main></body></html>
`;
}

export function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`;
}

export interface Bar {
  readonly title: string;
  readonly accuracy: number;
  readonly low: number;
  readonly high: number;
  /** Drawn in grey: not of the series. */
  readonly aside?: boolean;
}

/** Accuracies with their intervals, and a dashed line at chance where it is known. */
export function accuracyBars(bars: readonly Bar[], chance: number | undefined): string {
  return svg(bars.length > 8 ? 420 : 320, {
    animation: false,
    grid: { left: 50, right: 20, top: 30, bottom: bars.length > 8 ? 160 : 60 },
    xAxis: { type: 'category', data: bars.map((b) => b.title), axisLabel: { interval: 0, fontSize: 11, rotate: bars.length > 8 ? 45 : 0 } },
    yAxis: { type: 'value', min: 0, max: 1, axisLabel: { formatter: (v: number) => `${Math.round(100 * v)} %` } },
    series: [
      {
        type: 'bar',
        data: bars.map((b) => ({ value: b.accuracy, itemStyle: { color: b.aside === true ? '#8c8c8c' : '#2f6fde' } })),
      },
      {
        type: 'custom',
        z: 3,
        data: bars.map((b, i) => [i, b.low, b.high, b.accuracy]),
        renderItem: (_: unknown, api: { value(i: number): number; coord(p: number[]): number[] }) => {
          const [x, low] = api.coord([api.value(0), api.value(1)]) as [number, number];
          const high = api.coord([api.value(0), api.value(2)])[1]!;
          const line = (x1: number, y1: number, x2: number, y2: number) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: '#111', lineWidth: 1.5 } });
          // Above the interval: a low bar has no room for it, and the line at chance would cross it.
          const text = { type: 'text', x, y: high - 5, style: { text: `${(100 * api.value(3)).toFixed(0)} %`, fill: '#111', fontSize: 12, align: 'center', verticalAlign: 'bottom' } };
          return { type: 'group', children: [line(x, low, x, high), line(x - 6, low, x + 6, low), line(x - 6, high, x + 6, high), text] };
        },
      },
      ...(chance === undefined ? [] : [{ type: 'line', data: bars.map(() => chance), symbol: 'none', lineStyle: { type: 'dashed', color: '#cf222e' } }]),
    ],
  });
}

export interface Series {
  readonly name: string;
  /** One for each label; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
}

/** Colours that people tell apart who see red and green alike (Okabe and Ito), and shapes for those who see none. */
const COLOURS = ['#000000', '#e69f00', '#56b4e9', '#009e73', '#d55e00', '#0072b2', '#cc79a7', '#7f7f7f'];
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'emptyCircle', 'emptyRect', 'emptyTriangle', 'emptyDiamond'];
const SHARES = { type: 'value', min: 0, max: 1, axisLabel: { formatter: (v: number) => `${Math.round(100 * v)} %` } };
/** Widths of text are guessed where there is no screen: with room for them. */
const LEGEND = { top: 4, itemGap: 26 };
/** Pixels that a legend of these names takes. */
const legendHeight = (series: readonly Series[]) => 40 * Math.ceil(series.reduce((n, s) => n + s.name.length + 10, 0) / 130);

/** Shares over labels that have an order, such as depths: a line for each series, with its points. */
export function seriesLines(labels: readonly string[], series: readonly Series[]): string {
  return svg(360, {
    animation: false,
    color: COLOURS,
    legend: LEGEND,
    grid: { left: 50, right: 20, top: legendHeight(series), bottom: 30 },
    xAxis: { type: 'category', data: [...labels] },
    yAxis: SHARES,
    series: series.map((s, i) => ({ type: 'line', name: s.name, data: s.values.map((v) => v ?? null), symbol: SYMBOLS[i % SYMBOLS.length], symbolSize: 9 })),
  });
}

/** Shares of labels that have none: a line of the chart for each label, and a point on it for each series. */
export function seriesDots(labels: readonly string[], series: readonly Series[]): string {
  const top = legendHeight(series);
  return svg(top + 30 + 24 * labels.length, {
    animation: false,
    color: COLOURS,
    legend: LEGEND,
    grid: { left: 20 + 6.6 * Math.max(0, ...labels.map((l) => l.length)), right: 30, top, bottom: 30 },
    xAxis: SHARES,
    yAxis: { type: 'category', data: [...labels], inverse: true, splitLine: { show: true } },
    series: series.map((s, i) => ({ type: 'scatter', name: s.name, data: s.values.map((v, row) => [v ?? null, row]), symbol: SYMBOLS[i % SYMBOLS.length], symbolSize: 10 })),
  });
}

/** A chart as text; `option` is ECharts'. */
export function svg(height: number, option: unknown): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 900, height });
  chart.setOption(option as Parameters<typeof chart.setOption>[0]);
  const text = chart.renderToSVGString();
  chart.dispose();
  return text;
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 66rem; margin: 0 auto; padding: 1rem; }
figure { margin: 1rem 0; overflow-x: auto; background: #fff; border-radius: 8px; }
figcaption { color: #444; padding: 0 1rem 0.75rem; font-size: 0.9rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.4rem 0.6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: min(14rem, 40vw); }
article { display: grid; grid-template-columns: auto 1fr; gap: 1rem; border-top: 1px solid var(--line); padding: 1rem 0; }
article img { width: 256px; max-width: 40vw; image-rendering: pixelated; border-radius: 4px; }
article p { margin: 0.2rem 0; overflow-wrap: anywhere; }
.right::before { content: "right"; color: var(--good); font-weight: 600; margin-right: 0.5rem; }
.wrong::before { content: "wrong"; color: var(--bad); font-weight: 600; margin-right: 0.5rem; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: 0.75rem; border-radius: 8px; }
`;
