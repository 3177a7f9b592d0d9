/**
 * @file Between the two stages of the tiny base: the last linear layer of the merger is turned so that the feature of a
 * cell is, as nearly as a linear map can make it, the sum of the embeddings of its object's four words. The map is the
 * ridge regression from features to those sums, folded into the layer's weight and bias; no step of gradient descent.
 * The decoder can already match words by their embeddings (the binding warm-up), so from here it sees.
 */
import type { VisionLanguageModel } from '@trimpi/model';
import type { KnownScene } from './rows.ts';
import type { WordCodec } from './words.ts';

/** An empty cell becomes the embedding of this token, which no text holds. */
const EMPTY = '<|vision_pad|>';
/** Cells with an object are one in eight; they count this much more. */
const OBJECT_WEIGHT = 6;
const RIDGE = 1e-3;

/** Folds the alignment into the model, by scenes and their features. Returns the share of the variance of the word sums that the features explain. */
export async function alignMerger(model: VisionLanguageModel, codec: WordCodec, scenes: readonly KnownScene[], sceneFeatures: readonly Float32Array[]): Promise<number> {
  const d = model.config.vision.outHiddenSize;
  const table = Float64Array.from(await model.text.read('embed_tokens'));
  const row = (id: number) => table.subarray(id * d, (id + 1) * d);
  const empty = row(codec.encode(EMPTY)[codec.encode(EMPTY).length - 1]!);
  // Normal equations of [feature, 1] -> word sum.
  const n = d + 1;
  const gram = new Float64Array(n * n);
  const cross = new Float64Array(n * d);
  const target = new Float64Array(d);
  const x = new Float64Array(n);
  const each = (visit: (x: Float64Array, y: Float64Array, weight: number) => void) => {
    scenes.forEach(({ objects, cells }, s) => {
      const features = sceneFeatures[s]!;
      for (let cell = 0; cell < cells.length; cell++) {
        for (let i = 0; i < d; i++) x[i] = features[cell * d + i]!;
        x[d] = 1;
        target.fill(0);
        const o = objects[cells[cell]!];
        if (o === undefined) target.set(empty);
        else {
          for (const word of [o.shape, o.color, o.size, o.material]) row(codec.encode(word)[0]!).forEach((v, i) => (target[i]! += v));
        }
        visit(x, target, o === undefined ? 1 : OBJECT_WEIGHT);
      }
    });
  };
  each((features, words, weight) => {
    for (let i = 0; i < n; i++) {
      const f = weight * features[i]!;
      for (let j = 0; j <= i; j++) gram[i * n + j]! += f * features[j]!;
      for (let j = 0; j < d; j++) cross[i * d + j]! += f * words[j]!;
    }
  });
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram[i * n + i]!;
  for (let i = 0; i < n; i++) gram[i * n + i]! += (RIDGE * trace) / n;
  const map = solve(gram, cross, n, d);

  let error = 0;
  let total = 0;
  each((features, words, weight) => {
    for (let j = 0; j < d; j++) {
      let y = 0;
      for (let i = 0; i < n; i++) y += features[i]! * map[i * d + j]!;
      error += weight * (y - words[j]!) ** 2;
      total += weight * words[j]! ** 2;
    }
  });

  const weight = await model.vision.read('merger.2.weight');
  const bias = await model.vision.read('merger.2.bias');
  const inner = weight.length / d;
  const turned = new Float32Array(weight.length);
  const moved = new Float32Array(d);
  for (let j = 0; j < d; j++) {
    moved[j] = map[d * d + j]!;
    for (let i = 0; i < d; i++) {
      const m = map[i * d + j]!;
      moved[j]! += m * bias[i]!;
      for (let k = 0; k < inner; k++) turned[j * inner + k]! += m * weight[i * inner + k]!;
    }
  }
  model.vision.write('merger.2.weight', turned);
  model.vision.write('merger.2.bias', moved);
  return 1 - error / total;
}

/** Solves A X = B for a symmetric positive definite A (lower triangle given) by Cholesky; X [n, m]. */
function solve(a: Float64Array, b: Float64Array, n: number, m: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let s = a[i * n + j]!;
      for (let k = 0; k < j; k++) s -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = i === j ? Math.sqrt(s) : s / l[j * n + j]!;
    }
  }
  const x = b.slice();
  for (let c = 0; c < m; c++) {
    for (let i = 0; i < n; i++) {
      let s = x[i * m + c]!;
      for (let k = 0; k < i; k++) s -= l[i * n + k]! * x[k * m + c]!;
      x[i * m + c] = s / l[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      let s = x[i * m + c]!;
      for (let k = i + 1; k < n; k++) s -= l[k * n + i]! * x[k * m + c]!;
      x[i * m + c] = s / l[i * n + i]!;
    }
  }
  return x;
}
