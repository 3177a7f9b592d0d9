import type { RgbImage } from './image.ts';

/** `train` and `test` share no scene, episode, entity or paraphrase. */
export type Split = 'train' | 'test';

/** An interleaved document: text, and images where they stand. */
export type Part = { readonly type: 'text'; readonly text: string } | { readonly type: 'image'; readonly image: RgbImage };

/** What every dataset of this package yields. Images are drawn when `rgb` is first read. */
export interface Example {
  readonly id: string;
  readonly split: Split;
  readonly policyId: string;
  readonly policyName: string;
  readonly images: readonly RgbImage[];
  /** The question; names the policy but holds nothing of it. */
  readonly query: string;
  /** The query with pictures of its own in place; absent when it has none. */
  readonly queryParts?: readonly Part[];
  /** What belongs in the box. */
  readonly answer: string;
  /** Reasoning that leads to the answer, without think tags. */
  readonly reasoning: string;
  /** Reasoning and answer in the required form. */
  readonly response: string;
  /** The policy as text; `<image>` stands for each policy image. */
  readonly policyText: string;
  /** The policy with its images in place. */
  readonly policyParts: readonly Part[];
}

/** An image whose pixels are drawn when first asked for. */
export function lazyImage(width: number, height: number, draw: () => Uint8Array): RgbImage {
  let rgb: Uint8Array | undefined;
  return {
    width,
    height,
    get rgb() {
      rgb ??= draw();
      return rgb;
    },
  };
}

/** Text with `<image>` slots and its images, interleaved. */
export function interleave(text: string, images: readonly RgbImage[]): Part[] {
  if (images.length === 0) return [{ type: 'text', text }];
  const pieces = text.split('<image>');
  return pieces.flatMap((piece, i): Part[] => {
    const image = images[i - 1];
    const own: Part[] = piece === '' ? [] : [{ type: 'text', text: piece }];
    return image === undefined ? own : [{ type: 'image', image }, ...own];
  });
}

/** Which parts of an example a document shows, and in which order: policy, images, query, reasoning and answer. */
export function exampleParts(example: Example, options: { readonly policy: boolean; readonly response: boolean }): Part[] {
  return [
    ...(options.policy ? [...example.policyParts, { type: 'text', text: '\n\n' } as const] : []),
    ...example.images.map((image): Part => ({ type: 'image', image })),
    ...(example.queryParts ?? [{ type: 'text', text: example.query } as const]),
    ...(options.response ? [{ type: 'text', text: example.response } as const] : []),
  ];
}
