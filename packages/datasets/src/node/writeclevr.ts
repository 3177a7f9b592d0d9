import type { Split } from '../core/example.ts';
import { paperPreset, type ClevrPolicyConfig } from '../clevr/policy/config.ts';
import { clevrPolicy, type ClevrPolicyExample } from '../clevr/policy/dataset.ts';
import { sceneFile } from '../clevr/scene/schema.ts';
import { requireInteger } from '../core/error.ts';
import { contactSheet } from '../files/sheet.ts';
import { datasetManifest } from '../files/hash.ts';
import { encodePng } from '../files/png.ts';
import { treeSvg } from '../files/treesvg.ts';
import { writeFolder, type WriteProgress, type WriteReport } from './folder.ts';

export interface WriteClevrPolicyOptions extends Omit<ClevrPolicyConfig, 'train' | 'test'> {
  /** Training examples to write; 100 by default. */
  readonly count?: number;
  /** Test examples to write; none by default. */
  readonly testCount?: number;
  /** Draw the images; true by default. */
  readonly images?: boolean;
  /** Replace a folder that is not empty. */
  readonly overwrite?: boolean;
  readonly onProgress?: (progress: WriteProgress) => void;
}

const SHEET = 12;

function row(example: ClevrPolicyExample): Record<string, unknown> {
  const { id, split, index, policyId, policyName, query, answer, reasoning, leaf, leafId, path, scene } = example;
  return { id, split, index, policy_id: policyId, policy_name: policyName, images: [`images/${imageName(example)}`], query, answer, reasoning, leaf, leaf_id: leafId, path, scene: scene.image_filename };
}

/** Conditions on the way with their outcomes, and the leaf. */
const pathText = (e: ClevrPolicyExample): string => [...e.path.map((id, i) => `${id} ${(e.path[i + 1] ?? e.leafId).endsWith('.1') ? 'yes' : 'no'}`), e.answer].join(' > ');

const imageName = (example: ClevrPolicyExample): string => example.scene.image_filename;

/**
 * Writes a ClevrPolicy dataset: `policies.json` with the trees, `policies/*.md` and `*.svg`, `scenes.json` in CLEVR's schema,
 * `examples.jsonl`, `images/*.png`, `contact-sheet.png`, `manifest.json` with the hash of every file. Throws for a bad
 * config and for a folder that is not empty; nothing is left behind then.
 */
export async function writeClevrPolicy(dir: string, options: WriteClevrPolicyOptions = {}): Promise<WriteReport> {
  const { count, testCount, images, overwrite, onProgress, ...config } = options;
  const train = requireInteger('count', count ?? 100, 0, 1e8);
  const test = requireInteger('testCount', testCount ?? 0, 0, 1e8);
  const dataset = clevrPolicy({ ...paperPreset(6), seed: 0, width: 224, height: 168, ...config, train, test });
  const total = train + test;
  const draw = images ?? true;
  return writeFolder(dir, overwrite ?? false, async (writer) => {
    const policies = dataset.policies.map(({ id, name, tree, reachable, query, images: shown }) => ({
      id, name, depth: tree.depth, mode: tree.mode, semantics: tree.semantics, outcomes: tree.leaves.length, reachable, query, images: shown.map((_, i) => `policies/${id}-${i}.png`), tree: tree.root,
    }));
    writer.write('policies.json', `${JSON.stringify({ policies }, null, 1)}\n`);
    for (const policy of dataset.policies) {
      policy.images.forEach((image, i) => writer.write(`policies/${policy.id}-${i}.png`, encodePng(image)));
      let slot = 0;
      writer.write(`policies/${policy.id}.md`, `${policy.text.replace(/<image>/g, () => `![demonstration](${policy.id}-${slot++}.png)`)}\n`);
      writer.write(`policies/${policy.id}.svg`, treeSvg(policy.tree, policy.name, { reachable: policy.reachable }));
    }
    const each = function* (): Generator<ClevrPolicyExample> {
      for (const split of ['train', 'test'] as const satisfies readonly Split[]) for (let i = 0; i < dataset.size(split); i++) yield dataset.example(split, i);
    };
    let done = 0;
    const sheet: ClevrPolicyExample[] = [];
    const lines = function* (): Generator<string> {
      for (const example of each()) {
        if (draw) writer.write(`images/${imageName(example)}`, encodePng(example.images[0] as NonNullable<(typeof example.images)[0]>));
        if (sheet.length < SHEET) sheet.push(example);
        yield `${JSON.stringify(row(example))}\n`;
        onProgress?.({ done: ++done, total, file: imageName(example) });
      }
    };
    await writer.writePieces('examples.jsonl', lines());
    const scenes = function* (): Generator<string> {
      const { info } = sceneFile([], train > 0 ? 'train' : 'test');
      yield `{"info": ${JSON.stringify(info)}, "scenes": [`;
      let first = true;
      for (const example of each()) {
        yield `${first ? '' : ',\n'}${JSON.stringify(example.scene)}`;
        first = false;
      }
      yield ']}\n';
    };
    await writer.writePieces('scenes.json', scenes());
    if (draw && sheet.length > 0) {
      writer.write('contact-sheet.png', encodePng(contactSheet(sheet.map((e) => ({ images: e.images, title: `${e.policyName} -> ${e.answer}`, lines: [e.query, pathText(e)] })))));
    }
    const manifest = { ...datasetManifest('clevr-policy', dataset.config, dataset), files: { ...writer.hashes } };
    writer.write('manifest.json', `${JSON.stringify(manifest, null, 1)}\n`);
    return { dir, examples: total, files: Object.keys(writer.hashes).length, manifest };
  });
}
