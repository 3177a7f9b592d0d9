/** @file A contact sheet: images with their questions and answers, as one picture. */
import type { RgbImage } from '../core/image.ts';
import { Sketch, type Rgb } from '../gta/pictures/sketch.ts';

export interface SheetItem {
  readonly images: readonly RgbImage[];
  readonly title: string;
  readonly lines: readonly string[];
}

const TEXT = 8;
const LINE = 15;
const INK: Rgb = [34, 36, 42];
const SOFT: Rgb = [96, 100, 110];

/** Text broken at spaces (and inside words that are too long) to lines of at most `width` characters. */
export function wrapText(text: string, width: number): string[] {
  const out: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ').flatMap((w) => w.match(new RegExp(`.{1,${width}}`, 'gu')) ?? [''])) {
      if (line !== '' && line.length + 1 + word.length > width) {
        out.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    out.push(line);
  }
  return out;
}

/** Lays items out in columns; every cell is `cell` pixels wide (at least the widest image) and as high as its row needs. */
export function contactSheet(items: readonly SheetItem[], options: { readonly columns?: number; readonly cell?: number } = {}): RgbImage {
  const columns = Math.max(1, Math.min(options.columns ?? 4, Math.max(1, items.length)));
  const widest = Math.max(0, ...items.map((item) => Math.max(0, ...item.images.map((image) => image.width))));
  const cell = Math.max(options.cell ?? 240, widest) + 24;
  const characters = Math.floor(((cell - 24) * 6) / (TEXT * 5.4));
  const cells = items.map((item) => {
    const lines = item.lines.flatMap((line) => wrapText(line, characters));
    const height = item.images.reduce((sum, image) => sum + image.height + 8, 0) + 30 + lines.length * LINE + 14;
    return { item, lines, height };
  });
  const rows = Array.from({ length: Math.ceil(cells.length / columns) }, (_, r) => Math.max(...cells.slice(r * columns, (r + 1) * columns).map((c) => c.height)));
  const height = rows.reduce((sum, h) => sum + h, 12);
  const sketch = new Sketch(columns * cell + 12, Math.max(height, 16), [244, 245, 247]);
  const pictures: { image: RgbImage; x: number; y: number }[] = [];
  let top = 12;
  cells.forEach(({ item, lines }, i) => {
    const x = 12 + (i % columns) * cell;
    sketch.rectangle(x - 4, top - 4, x + cell - 18, top + (rows[Math.floor(i / columns)] ?? 0) - 10, [255, 255, 255]);
    let y = top + 4;
    for (const image of item.images) {
      pictures.push({ image, x, y });
      y += image.height + 8;
    }
    sketch.text(item.title, x + 2, y, TEXT + 1, INK, { silent: true });
    lines.forEach((line, k) => sketch.text(line, x + 2, y + 18 + k * LINE, TEXT, SOFT, { silent: true }));
    if (i % columns === columns - 1) top += rows[Math.floor(i / columns)] ?? 0;
  });
  const { image } = sketch.picture('table', '');
  const rgb = image.rgb.slice();
  for (const { image: part, x, y } of pictures) {
    for (let row = 0; row < part.height; row++) rgb.set(part.rgb.subarray(row * part.width * 3, (row + 1) * part.width * 3), ((y + row) * image.width + x) * 3);
  }
  return { width: image.width, height: image.height, rgb };
}
