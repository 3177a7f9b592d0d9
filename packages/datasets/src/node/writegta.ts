import { requireInteger } from '../core/error.ts';
import { gtaPolicy, type GtaPolicyConfig, type GtaPolicyExample } from '../gta/dataset.ts';
import { contactSheet } from '../files/sheet.ts';
import { datasetManifest } from '../files/hash.ts';
import { encodePng } from '../files/png.ts';
import { writeFolder, type WriteProgress, type WriteReport } from './folder.ts';

export interface WriteGtaPolicyOptions extends Omit<GtaPolicyConfig, 'train' | 'test'> {
  /** Training instances to write; 100 by default. */
  readonly count?: number;
  /** Test instances to write; none by default. */
  readonly testCount?: number;
  readonly images?: boolean;
  readonly overwrite?: boolean;
  readonly onProgress?: (progress: WriteProgress) => void;
}

const SHEET = 9;

function files(example: GtaPolicyExample): string[] {
  return example.images.map((_, i) => `images/${example.episodeId}-${i}.png`);
}

function row(example: GtaPolicyExample): Record<string, unknown> {
  const { id, split, index, episodeId, family, step, slice, profile, userQuery, history, query, answer, golds, reasoning, rulesUsed, imageNames, policyId } = example;
  return { id, split, index, policy_id: policyId, episode: episodeId, family, step, slice, images: files(example), image_names: imageNames, profile, user_query: userQuery, history, query, answer, golds, reasoning, rules_used: rulesUsed };
}

/**
 * Writes a GTAPolicy dataset: `policies.json` with rules, proof and held-out cases, `policies/*.md`, `examples.jsonl`,
 * `images/*.png`, `contact-sheet.png`, `manifest.json`. Throws for a bad config and for a folder that is not empty.
 */
export async function writeGtaPolicy(dir: string, options: WriteGtaPolicyOptions = {}): Promise<WriteReport> {
  const { count, testCount, images, overwrite, onProgress, ...config } = options;
  const train = requireInteger('count', count ?? 100, 0, 1e8);
  const test = requireInteger('testCount', testCount ?? 0, 0, 1e8);
  const dataset = gtaPolicy({ ...config, train, test });
  const draw = images ?? true;
  const total = train + test;
  return writeFolder(dir, overwrite ?? false, async (writer) => {
    writer.write('policies.json', `${JSON.stringify({ policies: [{ ...dataset.rules, proof: dataset.proof, held_out: [...dataset.heldOut] }] }, null, 1)}\n`);
    writer.write(`policies/${dataset.rules.id.replace(/[^\w.-]/g, '_')}.md`, `${dataset.policyText}\n`);
    let done = 0;
    const sheet: GtaPolicyExample[] = [];
    const lines = function* (): Generator<string> {
      for (const split of ['train', 'test'] as const) {
        for (const example of dataset.stream(split)) {
          if (draw) files(example).forEach((name, i) => writer.write(name, encodePng(example.images[i] as NonNullable<(typeof example.images)[0]>)));
          if (sheet.length < SHEET) sheet.push(example);
          yield `${JSON.stringify(row(example))}\n`;
          onProgress?.({ done: ++done, total, file: example.id });
        }
      }
    };
    await writer.writePieces('examples.jsonl', lines());
    if (draw && sheet.length > 0) {
      const cells = sheet.map((e) => ({
        images: e.images.slice(0, 3),
        title: `${e.family}, step ${e.step + 1}`,
        lines: [e.userQuery, `user: ${Object.values(e.profile).join(', ')}`, `done: ${e.history.filter((turn) => turn.role === 'tool').map((turn) => (turn.role === 'tool' ? turn.name : '')).join(', ') || 'nothing'}`, e.answer],
      }));
      writer.write('contact-sheet.png', encodePng(contactSheet(cells, { columns: 3, cell: 340 })));
    }
    const manifest = { ...datasetManifest('gta-policy', { ...dataset.config, policy: config.policy ?? 'paper' }, dataset), files: { ...writer.hashes } };
    writer.write('manifest.json', `${JSON.stringify(manifest, null, 1)}\n`);
    return { dir, examples: total, files: Object.keys(writer.hashes).length, manifest };
  });
}
