/**
 * @file Flat pictures: filled rectangles, polygons, discs, lines and stroke text, drawn with anti-aliased edges.
 * A sketch records what it shows (entities with boxes, lines of text with boxes), so that tool results are derived from
 * it. Pixels are made only when asked for, with + - * / and sqrt alone.
 */
import { lazyImage } from '../../core/example.ts';
import { blankImage, type RgbImage } from '../../core/image.ts';
import { hashKeys } from '../../core/random.ts';
import { glyph } from './font.ts';

export type Rgb = readonly [number, number, number];
export type Box = readonly [number, number, number, number];

/** A thing in the picture: what it is called, what it is like, where it is. */
export interface Entity {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly box: Box;
}

export interface TextLine {
  readonly text: string;
  readonly box: Box;
}

export type PictureKind =
  | 'receipt' | 'menu' | 'table' | 'chart' | 'map' | 'sign' | 'equation' | 'schedule' | 'label' | 'shelf' | 'scene' | 'tray' | 'portrait';

/** A picture with everything that is known about it. */
export interface Picture {
  readonly kind: PictureKind;
  readonly image: RgbImage;
  readonly description: string;
  readonly entities: readonly Entity[];
  readonly lines: readonly TextLine[];
  /** LaTeX of each expression; not empty exactly when the picture contains mathematics. */
  readonly latex: readonly string[];
}

/** Edge function of a shape: signed distance in pixels, negative inside. */
type Shape = (x: number, y: number) => number;

interface Operation {
  readonly shape: Shape;
  readonly bounds: Box;
  readonly colour: Rgb;
}

export class Sketch {
  readonly width: number;
  readonly height: number;
  readonly #background: Rgb;
  readonly #operations: Operation[] = [];
  readonly entities: Entity[] = [];
  readonly lines: TextLine[] = [];

  constructor(width: number, height: number, background: Rgb) {
    this.width = width;
    this.height = height;
    this.#background = background;
  }

  #add(shape: Shape, bounds: Box, colour: Rgb): void {
    this.#operations.push({ shape, bounds, colour });
  }

  rectangle(x1: number, y1: number, x2: number, y2: number, colour: Rgb): void {
    this.#add((x, y) => Math.max(x1 - x, x - x2, y1 - y, y - y2), [x1, y1, x2, y2], colour);
  }

  disc(cx: number, cy: number, r: number, colour: Rgb): void {
    this.#add((x, y) => Math.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) - r, [cx - r, cy - r, cx + r, cy + r], colour);
  }

  /** A convex polygon with corners x, y, x, y ... in either direction. */
  polygon(points: readonly number[], colour: Rgb): void {
    const xs = points.filter((_, i) => i % 2 === 0);
    const ys = points.filter((_, i) => i % 2 === 1);
    const n = xs.length;
    let area = 0;
    for (let i = 0; i < n; i++) area += (xs[i] as number) * (ys[(i + 1) % n] as number) - (xs[(i + 1) % n] as number) * (ys[i] as number);
    const turn = area > 0 ? 1 : -1;
    this.#add(
      (x, y) => {
        let most = -Infinity;
        for (let i = 0; i < n; i++) {
          const ax = xs[i] as number;
          const ay = ys[i] as number;
          const ex = (xs[(i + 1) % n] as number) - ax;
          const ey = (ys[(i + 1) % n] as number) - ay;
          const d = (turn * (ey * (x - ax) - ex * (y - ay))) / Math.sqrt(ex * ex + ey * ey);
          if (d > most) most = d;
        }
        return most;
      },
      [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)],
      colour,
    );
  }

  line(x1: number, y1: number, x2: number, y2: number, width: number, colour: Rgb): void {
    const ex = x2 - x1;
    const ey = y2 - y1;
    const square = ex * ex + ey * ey;
    const r = width / 2;
    this.#add(
      (x, y) => {
        let t = square === 0 ? 0 : ((x - x1) * ex + (y - y1) * ey) / square;
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        const dx = x - x1 - t * ex;
        const dy = y - y1 - t * ey;
        return Math.sqrt(dx * dx + dy * dy) - r;
      },
      [Math.min(x1, x2) - r, Math.min(y1, y2) - r, Math.max(x1, x2) + r, Math.max(y1, y2) + r],
      colour,
    );
  }

  /** Width of a text in pixels at a cap height. */
  static textWidth(text: string, size: number): number {
    return text.length === 0 ? 0 : (text.length * 5.4 - 1.4) * (size / 6);
  }

  /**
   * Writes a line with its top left corner at (x, y) and capitals `size` pixels high; it is recorded as text that OCR reads
   * unless `silent`. `jitter` moves the corners of its strokes (handwriting), by the text itself.
   */
  text(text: string, x: number, y: number, size: number, colour: Rgb, options: { readonly silent?: boolean; readonly jitter?: number } = {}): Box {
    const unit = size / 6;
    const width = Math.max(1, size / 7);
    const jitter = (options.jitter ?? 0) * unit;
    [...text].forEach((character, i) => {
      const left = x + i * 5.4 * unit;
      const wobble = (k: number): number => (jitter === 0 ? 0 : jitter * ((hashKeys([text, i, k]) / 2147483648) - 1));
      for (const stroke of glyph(character)) {
        const px = (k: number): number => left + (stroke[k] as number) * unit + wobble(k);
        const py = (k: number): number => y + (stroke[k + 1] as number) * unit + wobble(k + 1);
        for (let k = 0; k + 3 < stroke.length; k += 2) this.line(px(k), py(k), px(k + 2), py(k + 2), width, colour);
      }
    });
    const box: Box = [Math.floor(x), Math.floor(y), Math.ceil(x + Sketch.textWidth(text, size)), Math.ceil(y + size + 2 * unit)];
    if (options.silent !== true) this.lines.push({ text, box });
    return box;
  }

  entity(name: string, attributes: Readonly<Record<string, string>>, x1: number, y1: number, x2: number, y2: number): void {
    this.entities.push({ name, attributes, box: [Math.floor(x1), Math.floor(y1), Math.ceil(x2), Math.ceil(y2)] });
  }

  #draw(): Uint8Array {
    const { rgb } = blankImage(this.width, this.height, this.#background);
    for (const { shape, bounds, colour } of this.#operations) {
      const x1 = Math.max(0, Math.floor(bounds[0] - 1));
      const y1 = Math.max(0, Math.floor(bounds[1] - 1));
      const x2 = Math.min(this.width - 1, Math.ceil(bounds[2] + 1));
      const y2 = Math.min(this.height - 1, Math.ceil(bounds[3] + 1));
      for (let row = y1; row <= y2; row++) {
        for (let column = x1; column <= x2; column++) {
          const cover = 0.5 - shape(column + 0.5, row + 0.5);
          if (cover <= 0) continue;
          const at = (row * this.width + column) * 3;
          const a = cover > 1 ? 1 : cover;
          for (let k = 0; k < 3; k++) rgb[at + k] = Math.floor((rgb[at + k] as number) * (1 - a) + (colour[k] as number) * a + 0.5);
        }
      }
    }
    return rgb;
  }

  /** The finished picture. */
  picture(kind: PictureKind, description: string, latex: readonly string[] = []): Picture {
    return { kind, image: lazyImage(this.width, this.height, () => this.#draw()), description, entities: this.entities, lines: this.lines, latex };
  }
}
