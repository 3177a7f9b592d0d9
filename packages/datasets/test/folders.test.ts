import { existsSync, mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clevrPolicy, contactSheet, DatasetError, datasetManifest, decodePng, encodePng, gtaPolicy, hashExample, parseScenes, treeSvg } from '../src/index.ts';
import { checkDataset, exportDataset, loadScorer, readDatasetFile, readExamples, readPolicyFolder, showExamples, writeClevrPolicy, writeGtaPolicy } from '../src/node/index.ts';
import { manifestItems } from './manifests.ts';
import manifests from './fixtures/manifestGolden.json';

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'trimpi-datasets-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const small = { n: 2, policies: 3, width: 112, height: 84, seed: 1 } as const;

describe('writeClevrPolicy', () => {
  it('writes a folder that checks out, twice the same', async () => {
    const seen: number[] = [];
    const options = { ...small, count: 12, testCount: 4, variant: 't' } as const;
    const report = await writeClevrPolicy(join(root, 'a'), { ...options, onProgress: ({ done, total }) => seen.push(done / total) });
    expect(seen.at(-1)).toBe(1);
    for (const name of ['policies.json', 'scenes.json', 'examples.jsonl', 'manifest.json', 'contact-sheet.png', 'policies/n2-0.md', 'policies/n2-0.svg', 'images/CLEVR_train_000000.png']) {
      expect(existsSync(join(root, 'a', name)), name).toBe(true);
    }
    expect(await checkDataset(join(root, 'a'))).toEqual({ kind: 'clevr-policy', examples: { train: 12, test: 4 }, findings: [], ok: true });
    const again = await writeClevrPolicy(join(root, 'b'), options);
    expect(again.manifest).toEqual(report.manifest);
    const image = decodePng(readFileSync(join(root, 'a', 'images/CLEVR_train_000000.png')));
    expect(image.rgb).toEqual(clevrPolicy({ ...small, variant: 't', train: 12, test: 4 }).example('train', 0).images[0]?.rgb);
    expect(parseScenes(JSON.parse(readFileSync(join(root, 'a', 'scenes.json'), 'utf8'))).length).toBe(16);
    expect((await showExamples(join(root, 'a'), 2)).map((e) => e.id)).toEqual(['clevr-train-0', 'clevr-train-1']);
  });

  it('finds a changed label, a changed file and a shared scene', async () => {
    const dir = join(root, 'c');
    await writeClevrPolicy(dir, { ...small, count: 6, testCount: 3, images: false });
    const lines = readFileSync(join(dir, 'examples.jsonl'), 'utf8').split('\n');
    const first = JSON.parse(lines[0] ?? '') as { answer: string; scene: string };
    const test = JSON.parse(lines[6] ?? '') as { scene: string; policy_id: string };
    lines[0] = JSON.stringify({ ...first, answer: first.answer === 'Case 1' ? 'Case 2' : 'Case 1' });
    lines[7] = JSON.stringify({ ...(JSON.parse(lines[7] ?? '') as object), scene: first.scene, policy_id: 'n2-0', answer: first.answer });
    writeFileSync(join(dir, 'examples.jsonl'), lines.join('\n'));
    const { ok, findings } = await checkDataset(dir);
    expect(ok).toBe(false);
    expect(findings.map((f) => [f.file, f.line])).toEqual([['examples.jsonl', 0], ['examples.jsonl', 1], ['examples.jsonl', 8]]);
    expect(findings[2]?.message).toContain('share');
    expect(test.scene).toContain('test');
  });

  it('leaves nothing behind on a bad config, and keeps folders that are not empty', async () => {
    await expect(writeClevrPolicy(join(root, 'd'), { n: 99 })).rejects.toThrow('n is 99');
    await expect(writeClevrPolicy(join(root, 'd'), { ...small, count: 3, onProgress: () => { throw new Error('stop'); } })).rejects.toThrow('stop');
    expect(readdirSync(root).filter((name) => name.includes('d') && name.includes('partial'))).toEqual([]);
    expect(existsSync(join(root, 'd'))).toBe(false);
    await expect(writeClevrPolicy(join(root, 'a'), small)).rejects.toThrow('not empty');
    await writeClevrPolicy(join(root, 'b'), { ...small, count: 2, overwrite: true });
    expect((await checkDataset(join(root, 'b'))).examples).toEqual({ train: 2 });
  });

  it('names the line of a broken file', async () => {
    const dir = join(root, 'e');
    mkdirSync(dir);
    await expect(checkDataset(dir)).rejects.toThrow('manifest.json');
    for (const manifest of ['{"kind": ', 'null']) {
      writeFileSync(join(dir, 'manifest.json'), manifest);
      await expect(checkDataset(dir)).rejects.toThrow('manifest.json is no JSON object');
    }
    writeFileSync(join(dir, 'examples.jsonl'), '{"query":"q","answer":"a"}\nnot json\n');
    const read = async (): Promise<number> => {
      let n = 0;
      for await (const _ of readExamples(dir)) n++;
      return n;
    };
    await expect(read()).rejects.toThrow('examples.jsonl:2');
  });
});

describe('writeGtaPolicy', () => {
  it('writes a folder that checks out', async () => {
    const dir = join(root, 'gta');
    const { manifest } = await writeGtaPolicy(dir, { count: 20, testCount: 5, seed: 3 });
    expect(await checkDataset(dir)).toEqual({ kind: 'gta-policy', examples: { train: 20, test: 5 }, findings: [], ok: true });
    expect(manifest.items['train/19']).toBe(hashExample(gtaPolicy({ train: 20, test: 5, seed: 3 }).example('train', 19)));
    expect(existsSync(join(dir, 'policies/paper.md'))).toBe(true);
  });
});

describe('your own folder', () => {
  it('is read with its module scorer', async () => {
    const dir = join(root, 'own');
    mkdirSync(dir);
    writeFileSync(join(dir, 'policy.md'), '# Mine\nSay yes.\n');
    writeFileSync(join(dir, 'examples.jsonl'), `${JSON.stringify({ query: 'Well?', answer: 'yes' })}\n${JSON.stringify({ query: 'Well?', answer: 'yes', split: 'test' })}\n`);
    writeFileSync(join(dir, 'scorer.json'), JSON.stringify({ type: 'module', module: 'score.mjs', function: 'score' }));
    writeFileSync(join(dir, 'score.mjs'), 'export const score = (predicted, answer) => (predicted === answer ? 0.75 : 0);\n');
    const policy = readPolicyFolder(dir);
    expect(policy.findings.map((f) => [f.severity, f.line])).toEqual([['warning', 2]]);
    const scorer = await loadScorer(dir, policy);
    expect(scorer('<think>a</think>\\boxed{yes}', 'yes')).toEqual({ accuracy: 0.75, format: 1 });
    await expect(loadScorer(dir, { scorer: { type: 'module', module: '../x.mjs', function: 'f' } })).rejects.toThrow(DatasetError);
    expect(() => readPolicyFolder(join(root, 'missing'))).toThrow('not a folder');
  });
  it('names file and line of a picture that cannot be decoded, and leaves its rows out', () => {
    const dir = join(root, 'broken');
    mkdirSync(dir);
    const png = encodePng({ width: 8, height: 8, rgb: new Uint8Array(192) });
    writeFileSync(join(dir, 'good.png'), png);
    writeFileSync(join(dir, 'cut.png'), png.subarray(0, 50));
    writeFileSync(join(dir, 'policy.md'), '# Mine\n\nLike ![this](cut.png).\n');
    writeFileSync(join(dir, 'examples.jsonl'), ['good', 'cut'].map((name) => `${JSON.stringify({ images: [`${name}.png`], query: name, answer: 'yes' })}\n`).join(''));
    const policy = readPolicyFolder(dir);
    expect(policy.findings.map((f) => [f.file, f.line, f.severity, f.message])).toEqual([
      ['policy.md', 3, 'error', expect.stringContaining('"cut.png" cannot be decoded')],
      ['examples.jsonl', 2, 'error', expect.stringContaining('"cut.png" cannot be decoded')],
    ]);
    expect(policy.rows.map((r) => r.line)).toEqual([1]);
  });
  it('exports every picture under a name of its own, whatever the ids are', async () => {
    const data = clevrPolicy({ ...small, train: 6, test: 0 });
    const ids = ['\u4f8b\u4e00', '\u4f8b\u4e8c', 'a/b', 'a_b', 'A_b', 'x'.repeat(300)];
    const all = [...data.stream('train')].map((example, i) => ({ ...example, id: ids[i]!, split: i % 2 === 0 ? ('train' as const) : ('test' as const) }));
    const dir = join(root, 'export-ids');
    await exportDataset(dir, all, { format: 'plain', file: 'jsonl' });
    const rows = (await Promise.all(['train', 'test'].map((split) => readDatasetFile(join(dir, `${split}.jsonl`))))).flat();
    const names = rows.flatMap((r) => r.images.map(({ path }) => path));
    expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(6);
    for (const row of rows) expect(decodePng(readFileSync(join(dir, row.images[0]!.path))).rgb).toEqual(all.find((e) => e.id === row['id'])?.images[0]?.rgb);
  });
  it('exports to JSONL and Parquet files that read back', async () => {
    const data = clevrPolicy({ ...small, train: 3, test: 1 });
    const all = [...data.stream('train'), ...data.stream('test')];
    for (const file of ['jsonl', 'parquet'] as const) {
      const dir = join(root, `export-${file}`);
      expect(await exportDataset(dir, all, { format: 'easyr1', file })).toEqual({ files: [`train.${file}`, `test.${file}`], rows: 4 });
      const rows = await readDatasetFile(join(dir, `train.${file}`));
      expect(rows.map((r) => r['answer'])).toEqual(all.slice(0, 3).map((e) => e.answer));
      if (file === 'jsonl') expect(existsSync(join(dir, rows[0]?.images[0]?.path ?? ''))).toBe(true);
    }
    await expect(readDatasetFile(join(root, 'no.csv'))).rejects.toThrow('does not exist');
  });
});

describe('manifest and pictures', () => {
  it('has the committed items of every sort of dataset', () => {
    expect(manifestItems()).toEqual(manifests);
  });
  it('does not depend on the order of config keys', () => {
    const data = clevrPolicy({ ...small, train: 2, test: 1 });
    expect(datasetManifest('k', { a: 1, b: 2 }, data)).toEqual(datasetManifest('k', { b: 2, a: 1 }, data));
  });
  it('draws every leaf of a tree once, as well-formed XML', () => {
    const policy = clevrPolicy({ ...small, n: 6, policies: 1 }).policies[0];
    if (!policy) throw new Error('a policy expected');
    const svg = treeSvg(policy.tree, 'A & <B>', { reachable: policy.reachable });
    expect([...svg.matchAll(/>Case \d+</g)].length).toBe(55);
    expect(svg).toContain('A &amp; &lt;B&gt;');
    expect((svg.match(/<text/g) ?? []).length).toBe((svg.match(/<\/text>/g) ?? []).length);
  });
  it('lays out a sheet with every image in it', () => {
    const red = { width: 20, height: 10, rgb: new Uint8Array(600).fill(7) };
    const sheet = contactSheet([{ images: [red, red], title: 'a', lines: ['some text that is long enough to be broken'] }, { images: [], title: '', lines: [] }], { columns: 2, cell: 60 });
    expect(sheet.rgb.length).toBe(sheet.width * sheet.height * 3);
    expect(sheet.rgb.filter((v) => v === 7).length).toBeGreaterThanOrEqual(1200);
    expect(contactSheet([]).width).toBeGreaterThan(0);
  });
});
