import { clevrPolicy, datasetManifest, gtaPolicy, TINY_SCENES } from '../src/index.ts';

/** Hashes of first and last items of one dataset of each sort; the same list is checked in Node and in a browser. */
export function manifestItems(): Record<string, Readonly<Record<string, string>>> {
  const sizes = { train: 40, test: 20, seed: 1 } as const;
  return {
    canonical: datasetManifest('clevr-policy', {}, clevrPolicy({ n: 6, ...sizes })).items,
    crops: datasetManifest('clevr-policy', {}, clevrPolicy({ n: 4, variant: 'm', policies: 2, ...sizes })).items,
    rich: datasetManifest('clevr-policy', {}, clevrPolicy({ n: 2, tree: 'rich', policies: 2, ...sizes })).items,
    compact: datasetManifest('clevr-policy', {}, clevrPolicy({ ...TINY_SCENES, n: 4, style: 'compact', ...sizes })).items,
    gta: datasetManifest('gta-policy', {}, gtaPolicy(sizes)).items,
    gtaLarge: datasetManifest('gta-policy', {}, gtaPolicy({ policy: { seed: 2, size: 'large' }, ...sizes })).items,
  };
}
