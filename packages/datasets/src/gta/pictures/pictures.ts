/** @file The kinds of picture, each drawn from data that the episode knows. */
import { cos, PI, sin } from '../../core/math.ts';
import type { Random } from '../../core/random.ts';
import type { RgbImage } from '../../core/image.ts';
import { renderScene } from '../../clevr/render/render.ts';
import { generateScene } from '../../clevr/scene/generate.ts';
import type { Color } from '../../clevr/attributes.ts';
import { OBJECT_TYPES } from '../../clevr/attributes.ts';
import { lazyImage } from '../../core/example.ts';
import type { Split } from '../../core/example.ts';
import { Sketch, type Picture, type Rgb } from './sketch.ts';
import type { NamedColour } from './words.ts';

const INK: Rgb = [30, 30, 36];
const PAPER: Rgb = [250, 249, 244];
const SOFT: Rgb = [170, 172, 178];

/** Money with two decimals, from cents. */
export function money(cents: number): string {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}

export interface Priced {
  readonly name: string;
  readonly cents: number;
}

/** A shop's receipt: name, lines of items and prices; no total, so that it has to be added up. */
export function receipt(store: string, items: readonly Priced[]): Picture {
  const s = new Sketch(280, 84 + items.length * 28, PAPER);
  s.text(store, 24, 18, 15, INK);
  s.line(20, 48, 260, 48, 1.5, SOFT);
  items.forEach((item, i) => {
    const y = 60 + i * 28;
    s.text(item.name, 24, y, 11, INK);
    const price = money(item.cents);
    s.text(price, 256 - Sketch.textWidth(price, 11), y, 11, INK);
    s.entity(item.name, { price }, 20, y - 4, 260, y + 16);
  });
  s.line(20, s.height - 20, 260, s.height - 20, 1.5, SOFT);
  return s.picture('receipt', `A receipt from ${store} with ${items.length} items.`);
}

/** A menu with prices. */
export function menu(place: string, items: readonly Priced[], tint: NamedColour): Picture {
  const s = new Sketch(336, 96 + items.length * 34, [252, 246, 232]);
  s.rectangle(0, 0, 336, 52, tint.rgb);
  s.text(place, 24, 18, 16, [255, 255, 255]);
  items.forEach((item, i) => {
    const y = 72 + i * 34;
    s.text(item.name, 24, y, 12, INK);
    const price = `$${money(item.cents)}`;
    s.text(price, 312 - Sketch.textWidth(price, 12), y, 12, INK);
    s.entity(item.name, { price }, 20, y - 4, 316, y + 18);
  });
  return s.picture('menu', `The menu of ${place} with ${items.length} dishes and their prices.`);
}

/** A table of names and numbers. */
export function table(title: string, columns: readonly [string, string], rows: readonly { readonly name: string; readonly value: number }[]): Picture {
  const s = new Sketch(308, 92 + rows.length * 30, [255, 255, 255]);
  s.text(title, 20, 14, 13, INK);
  s.rectangle(16, 40, 292, 66, [222, 229, 240]);
  s.text(columns[0], 26, 48, 11, INK);
  s.text(columns[1], 190, 48, 11, INK);
  rows.forEach((row, i) => {
    const y = 76 + i * 30;
    s.text(row.name, 26, y, 11, INK);
    s.text(String(row.value), 190, y, 11, INK);
    s.line(16, y + 20, 292, y + 20, 1, SOFT);
    s.entity(row.name, { value: String(row.value) }, 20, y - 4, 288, y + 16);
  });
  return s.picture('table', `A table titled ${title} with ${rows.length} rows.`);
}

export type ChartStyle = 'bar' | 'line' | 'pie';

/** A chart of named values. */
export function chart(style: ChartStyle, title: string, rows: readonly { readonly name: string; readonly value: number }[], palette: readonly NamedColour[]): Picture {
  const s = new Sketch(336, 252, [255, 255, 255]);
  s.text(title, 20, 12, 12, INK);
  const most = Math.max(...rows.map((row) => row.value));
  const colour = (i: number): NamedColour => palette[i % palette.length] as NamedColour;
  if (style === 'pie') {
    const sum = rows.reduce((total, row) => total + row.value, 0);
    let angle = 0;
    rows.forEach((row, i) => {
      const end = angle + (2 * PI * row.value) / sum;
      const pieces = Math.max(2, Math.ceil((end - angle) / 0.2));
      for (let k = 0; k < pieces; k++) {
        const a = angle + ((end - angle) * k) / pieces;
        const b = angle + ((end - angle) * (k + 1)) / pieces + 0.004;
        s.polygon([110, 140, 110 + 80 * cos(a), 140 + 80 * sin(a), 110 + 80 * cos(b), 140 + 80 * sin(b)], colour(i).rgb);
      }
      angle = end;
      s.rectangle(212, 50 + i * 28, 226, 64 + i * 28, colour(i).rgb);
      s.text(`${row.name} ${row.value}`, 232, 52 + i * 28, 10, INK);
      s.entity(row.name, { color: colour(i).name, value: String(row.value) }, 208, 46 + i * 28, 334, 68 + i * 28);
    });
  } else {
    const step = 290 / rows.length;
    s.line(28, 212, 322, 212, 1.5, INK);
    s.line(28, 40, 28, 212, 1.5, INK);
    rows.forEach((row, i) => {
      const x = 34 + i * step;
      const top = 212 - (150 * row.value) / most;
      if (style === 'bar') s.rectangle(x + 4, top, x + step - 8, 212, colour(i).rgb);
      else {
        const before = rows[i - 1];
        if (before) s.line(x - step / 2, 212 - (150 * before.value) / most, x + step / 2, top, 2, colour(0).rgb);
        s.disc(x + step / 2, top, 4, colour(0).rgb);
      }
      s.text(String(row.value), x + step / 2 - 10, top - 16, 9, INK);
      s.text(row.name, x + 2, 222, 8, INK);
      s.entity(row.name, { color: colour(style === 'bar' ? i : 0).name, value: String(row.value) }, x, top, x + step - 6, 212);
    });
  }
  return s.picture('chart', `A ${style} chart titled ${title} with ${rows.length} values.`);
}

/** A street map with rated places. */
export function streetMap(places: readonly { readonly name: string; readonly rating: number }[], random: Random): Picture {
  const s = new Sketch(364, 280, [236, 238, 228]);
  for (const x of [84, 196, 300]) s.rectangle(x, 0, x + 14, 280, [255, 255, 255]);
  for (const y of [66, 140, 214]) s.rectangle(0, y, 364, y + 12, [255, 255, 255]);
  s.rectangle(214, 84, 292, 134, [196, 222, 186]);
  // One slot a row, so that labels never overlap.
  const slots = random.sample([[10, 14], [110, 46], [190, 78], [20, 110], [150, 142], [60, 174], [196, 206], [30, 238]] as const, places.length);
  places.forEach((place, i) => {
    const [x, y] = slots[i] as readonly [number, number];
    s.disc(x + 5, y + 6, 5, [200, 50, 50]);
    const box = s.text(`${place.name} ${place.rating.toFixed(1)}`, x + 14, y, 9, INK);
    s.entity(place.name, { rating: place.rating.toFixed(1) }, x, y - 2, box[2], y + 14);
  });
  return s.picture('map', `A street map with ${places.length} rated places.`);
}

/** A sign: a shape in a colour with words. */
export function sign(text: string, tint: NamedColour, shape: 'triangle' | 'disc' | 'board'): Picture {
  const s = new Sketch(252, 224, [190, 214, 235]);
  s.rectangle(121, 130, 131, 224, [110, 110, 115]);
  if (shape === 'triangle') s.polygon([126, 14, 220, 148, 32, 148], tint.rgb);
  else if (shape === 'disc') s.disc(126, 88, 74, tint.rgb);
  else s.rectangle(26, 30, 226, 146, tint.rgb);
  const size = Math.min(14, ((shape === 'triangle' ? 118 : 136) * 6) / (text.length * 5.4));
  s.text(text, 126 - Sketch.textWidth(text, size) / 2, shape === 'triangle' ? 122 : 82, size, [255, 255, 255]);
  s.entity('sign', { color: tint.name, shape: shape === 'board' ? 'rectangle' : shape === 'disc' ? 'circle' : 'triangle' }, 26, 14, 226, 162);
  return s.picture('sign', `A ${tint.name} sign that says ${text}.`);
}

/** A card with expressions, printed or by hand. `spoken` is what is drawn, `latex` what MathOCR reads. */
export function equationCard(expressions: readonly { readonly drawn: string; readonly latex: string }[], byHand: boolean): Picture {
  const s = new Sketch(308, 64 + expressions.length * 44, byHand ? [252, 250, 238] : [255, 255, 255]);
  expressions.forEach(({ drawn }, i) => {
    const y = 34 + i * 44;
    const box = s.text(drawn, 28, y, 18, byHand ? [30, 50, 130] : INK, { jitter: byHand ? 0.35 : 0 });
    s.entity('expression', { text: drawn }, box[0], box[1], box[2], box[3]);
  });
  return s.picture('equation', `A ${byHand ? 'handwritten' : 'printed'} card with ${expressions.length === 1 ? 'an expression' : `${expressions.length} expressions`}.`, expressions.map((e) => e.latex));
}

/** A cinema's schedule. Times are minutes after midnight. */
export function schedule(films: readonly { readonly name: string; readonly start: number }[]): Picture {
  const s = new Sketch(320, 80 + films.length * 34, [28, 30, 44]);
  s.text('TODAY', 24, 18, 16, [255, 255, 255]);
  films.forEach((film, i) => {
    const y = 62 + i * 34;
    const time = clock(film.start);
    const box = s.text(`${time} ${film.name}`, 24, y, 12, [240, 230, 160]);
    s.entity(film.name, { time }, 20, y - 4, box[2] + 4, y + 18);
  });
  return s.picture('schedule', `A cinema schedule with ${films.length} films.`);
}

/** hh:mm of minutes after midnight. */
export function clock(minutes: number): string {
  return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
}

/** A bottle with a label. */
export function label(maker: string, product: string, amount: string, tint: NamedColour): Picture {
  const s = new Sketch(224, 308, [238, 238, 240]);
  s.rectangle(88, 14, 136, 50, [80, 80, 84]);
  s.rectangle(52, 50, 172, 296, tint.rgb);
  s.rectangle(52, 116, 172, 236, [252, 252, 248]);
  const centred = (text: string, y: number, size: number): void => {
    const fit = Math.min(size, (112 * 6) / (text.length * 5.4));
    s.text(text, 112 - Sketch.textWidth(text, fit) / 2, y, fit, INK);
  };
  centred(maker, 134, 14);
  centred(product, 166, 11);
  centred(amount, 200, 11);
  s.entity('bottle', { color: tint.name, brand: maker }, 52, 14, 172, 296);
  s.entity('label', { color: 'white', brand: maker }, 52, 116, 172, 236);
  return s.picture('label', `A ${tint.name} bottle of ${product} by ${maker}.`);
}

function icon(s: Sketch, name: string, x: number, y: number, side: number, colour: Rgb): void {
  const at = (u: number): number => x + (u * side) / 10;
  const down = (v: number): number => y + (v * side) / 10;
  switch (name) {
    case 'cup':
      s.polygon([at(2), down(3), at(7), down(3), at(6.4), down(9), at(2.6), down(9)], colour);
      s.line(at(7), down(4.5), at(8.6), down(5), side / 12, colour);
      s.line(at(8.6), down(5), at(6.8), down(7), side / 12, colour);
      break;
    case 'ball':
      s.disc(at(5), down(6), side * 0.33, colour);
      break;
    case 'bottle':
      s.rectangle(at(4.2), down(0.5), at(5.8), down(3.5), colour);
      s.rectangle(at(3), down(3.3), at(7), down(9.2), colour);
      break;
    case 'star':
      s.polygon([at(5), down(1), at(8.5), down(8.5), at(1.5), down(8.5)], colour);
      s.polygon([at(1.2), down(3.6), at(8.8), down(3.6), at(5), down(9.6)], colour);
      break;
    case 'flag':
      s.rectangle(at(2), down(1), at(2.7), down(9.3), [90, 70, 50]);
      s.rectangle(at(2.7), down(1), at(8.4), down(5), colour);
      break;
    case 'tree':
      s.rectangle(at(4.4), down(7), at(5.6), down(9.4), [110, 80, 50]);
      s.polygon([at(5), down(0.8), at(8.4), down(7.2), at(1.6), down(7.2)], colour);
      break;
    case 'kite':
      s.polygon([at(5), down(0.8), at(8), down(4), at(5), down(9.2), at(2), down(4)], colour);
      break;
    default:
      s.rectangle(at(1.8), down(3), at(8.2), down(9), colour);
  }
}

export interface ShelfItem {
  readonly name: string;
  readonly color: NamedColour;
}

/** Icons on shelves, at most 24. */
export function shelf(items: readonly ShelfItem[]): Picture {
  const columns = 6;
  const rows = Math.ceil(items.length / columns);
  const s = new Sketch(336, 20 + rows * 66, [246, 240, 230]);
  for (let r = 0; r < rows; r++) s.rectangle(8, 68 + r * 66, 328, 74 + r * 66, [160, 120, 80]);
  items.forEach((item, i) => {
    const x = 14 + (i % columns) * 53;
    const y = 22 + Math.floor(i / columns) * 66;
    icon(s, item.name, x, y, 46, item.color.rgb);
    s.entity(item.name, { color: item.color.name }, x + 4, y, x + 42, y + 46);
  });
  const names = [...new Set(items.map((item) => `${item.name}s`))];
  return s.picture('shelf', `A shelf with ${names.join(' and ')}.`);
}

/** A tray with named ingredients. */
export function tray(ingredients: readonly string[], palette: readonly NamedColour[]): Picture {
  const s = new Sketch(336, 196, [214, 196, 170]);
  ingredients.forEach((name, i) => {
    const x = 12 + (i % 3) * 108;
    const y = 14 + Math.floor(i / 3) * 90;
    const colour = palette[i % palette.length] as NamedColour;
    s.rectangle(x, y, x + 100, y + 80, [250, 250, 246]);
    for (let k = 0; k < 5; k++) s.disc(x + 20 + k * 15, y + 30 + (k % 2) * 14, 11, colour.rgb);
    s.text(name, x + 8, y + 64, Math.min(9, (86 * 6) / (name.length * 5.4)), INK, { silent: true });
    s.entity(name, { color: colour.name }, x, y, x + 100, y + 80);
  });
  return s.picture('tray', `A tray with ${ingredients.join(', ')}.`);
}

/** A figure in a coloured coat before a skyline; names of both are written in the picture. */
export function portrait(person: string, city: string, coat: NamedColour): Picture {
  const s = new Sketch(308, 224, [176, 208, 240]);
  s.rectangle(0, 150, 308, 224, [120, 160, 100]);
  for (const [x, h] of [[20, 60], [70, 90], [220, 76], [262, 48]] as const) s.rectangle(x, 150 - h, x + 36, 150, [150, 140, 150]);
  s.disc(154, 88, 20, [226, 188, 160]);
  s.polygon([154, 104, 190, 190, 118, 190], coat.rgb);
  s.text(city, 10, 10, 12, [40, 60, 110]);
  s.text(person, 154 - Sketch.textWidth(person, 9) / 2, 202, 9, [255, 255, 255]);
  s.entity('person', { color: coat.name, clothing: `${coat.name} coat` }, 118, 68, 190, 190);
  s.entity('coat', { color: coat.name }, 118, 104, 190, 190);
  return s.picture('portrait', `${person} in a ${coat.name} coat in front of the skyline of ${city}.`);
}

const TRAIN_COLORS: readonly Color[] = ['gray', 'red', 'blue', 'green', 'brown', 'purple'];
const TEST_COLORS: readonly Color[] = ['cyan', 'yellow'];

/** A CLEVR scene; train and test use different colours of objects. */
export function clevrPicture(split: Split, seed: string, index: number): Picture {
  const colors = split === 'train' ? TRAIN_COLORS : TEST_COLORS;
  const size = { width: 336, height: 224 };
  const scene = generateScene({ ...size, minObjects: 4, maxObjects: 8, types: OBJECT_TYPES.filter((type) => colors.includes(type.color)), split: `gta-${split}` }, seed, index);
  let ids: Uint8Array | undefined;
  const render = (): RgbImage => {
    const drawn = renderScene(scene, size);
    ids = drawn.ids;
    return drawn;
  };
  const image = lazyImage(size.width, size.height, () => render().rgb);
  const entities = scene.objects.map((o, i) => ({
    name: `${o.color} ${o.shape}`,
    attributes: { color: o.color, shape: o.shape, size: o.size, material: o.material },
    get box() {
      if (ids === undefined) render();
      return idBox(ids as Uint8Array, size.width, i + 1);
    },
  }));
  return { kind: 'scene', image, description: `${scene.objects.length} geometric objects on a gray ground.`, entities, lines: [], latex: [] };
}

function idBox(ids: Uint8Array, width: number, id: number): readonly [number, number, number, number] {
  let x1 = Infinity;
  let y1 = Infinity;
  let x2 = 0;
  let y2 = 0;
  ids.forEach((value, i) => {
    if (value !== id) return;
    const x = i % width;
    const y = Math.floor(i / width);
    x1 = Math.min(x1, x);
    y1 = Math.min(y1, y);
    x2 = Math.max(x2, x + 1);
    y2 = Math.max(y2, y + 1);
  });
  return [x1, y1, x2, y2];
}
