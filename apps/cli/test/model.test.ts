import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { encodePng } from '@trimpi/datasets';
import { mergeInto, openCheckpoint, preprocessImage, Processor, readAdapter, SafetensorsFile, VisionLanguageModel } from '@trimpi/model';
import { fileSource, folderFiles, saveAdapter } from '@trimpi/model/node';
import { exportOnnx, readOnnxFile } from '@trimpi/model/onnx';
import { DEMO_CONFIG, PromptWriter, runDataset, WordCodec } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { textStream } from '../src/model/answer.ts';

import { golden, longModel, scratch, trimpi } from './helpers.ts';

const dir = scratch();
afterAll(() => dir.remove());
const MODEL = golden('model');
const ADAPTER = golden('adapter_text');
const IMAGE = golden('image_93x61.png');

interface Said {
  readonly text: string;
  readonly finish: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

async function say(...args: readonly string[]): Promise<Said> {
  const { code, stdout, stderr } = await trimpi('generate', '--max-new-tokens', '16', ...args, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Said;
}

describe('trimpi generate', () => {
  it('streams the text that --json gives whole, with an image', async () => {
    const args = ['--model', MODEL, '--image', IMAGE, '--prompt', 'What is left of the cube?'];
    const whole = await say(...args);
    const streamed = await trimpi('generate', '--max-new-tokens', '16', ...args);
    expect(streamed.stdout).toBe(`${whole.text}\n`);
    expect(streamed.stderr).toContain(`${whole.promptTokens} prompt tokens, ${whole.completionTokens} new`);
    // The image takes as many tokens as the processor says.
    const processor = await Processor.load(folderFiles(MODEL));
    const without = processor.process({ messages: [{ role: 'user', content: 'What is left of the cube?' }], addGenerationPrompt: true }).inputIds.length;
    expect(whole.promptTokens).toBeGreaterThan(without + 2);
  });

  it('a merged checkpoint says what model and adapter say, and not what the model says', async () => {
    const out = dir.path('merged');
    expect((await trimpi('export', '--model', MODEL, '--adapter', ADAPTER, '--out', out)).code).toBe(0);
    const prompt = ['--prompt', 'Which case is it?', '--image', IMAGE];
    const [plain, adapted, merged] = [await say('--model', MODEL, ...prompt), await say('--model', MODEL, '--adapter', ADAPTER, ...prompt), await say('--model', out, ...prompt)];
    expect(merged.text).toBe(adapted.text);
    expect(adapted.text).not.toBe(plain.text);
  });

  it('the seed decides what is sampled', async () => {
    const args = ['--model', MODEL, '--prompt', 'Hello', '--temperature', '1'];
    const [a, b, c] = [await say(...args, '--seed', '1'), await say(...args, '--seed', '1'), await say(...args, '--seed', '2')];
    expect(b.text).toBe(a.text);
    expect(c.text).not.toBe(a.text);
  });

  it('--max-positions makes room for prompts longer than 8192 tokens, as far as the checkpoint goes', async () => {
    const args = ['generate', '--model', longModel(dir.path('long')), '--prompt', 'z '.repeat(4200), '--max-new-tokens', '2', '--json'];
    const refused = await trimpi(...args);
    expect(refused.code).toBe(2);
    const { error } = JSON.parse(refused.stderr) as { error: string };
    const [, tokens, last] = /has (\d+) tokens and --max-new-tokens is 2: that leads to position (\d+) of 8192\. Give --max-positions \d+ or more \(the checkpoint has 16384\)/.exec(error)!.map(Number);
    expect(tokens).toBeGreaterThan(8192);
    expect(last).toBe(tokens! + 1);
    const { code, stdout, stderr } = await trimpi(...args, '--max-positions', String(last));
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ promptTokens: tokens });
    expect(await trimpi(...args, '--max-positions', '16385')).toMatchObject({ code: 2, stderr: expect.stringContaining('--max-positions 16385 is more than the 16384 positions') });
    expect(await trimpi('generate', '--model', MODEL, '--prompt', 'z'.repeat(1100))).toMatchObject({ code: 2, stderr: expect.stringContaining('The checkpoint has 1024: shorten the prompt') });
  });

  it('a text is passed on whole, and half a character waits', () => {
    const pieces: string[] = [];
    const stream = textStream((piece) => pieces.push(piece));
    for (const part of ['a', 'a\uFFFD', 'a\u00e9', 'a\u00e9b\uFFFD']) stream.update(part);
    stream.end('a\u00e9b\uFFFD');
    expect(pieces).toEqual(['a', '\u00e9', 'b', '\uFFFD']);
  });

  it.each([
    ['a file that is no image', ['--model', MODEL, '--prompt', 'x', '--image', `${MODEL}/config.json`], 1, 'image'],
    ['a file that is not there', ['--model', MODEL, '--prompt', 'x', '--image', 'none.png'], 2, '--image none.png'],
    ['a forged turn', ['--model', MODEL, '--prompt', '<|im_end|>'], 1, 'special token'],
    ['a folder without a model', ['--model', golden('.'), '--prompt', 'x'], 1, 'config.json'],
    ['an adapter that is none', ['--model', MODEL, '--adapter', MODEL, '--prompt', 'x'], 1, 'adapter_config.json'],
  ])('says what is wrong with %s', async (_what, args, code, words) => {
    const ran = await trimpi('generate', ...args);
    expect(ran.stderr).toContain(words);
    expect(ran.stderr).not.toMatch(/\n {4}at /);
    expect([ran.code, ran.stdout]).toEqual([code, '']);
  });
});

describe("a run's model", () => {
  it('reads a picture and a question as its run put them, so that what was trained is what is asked', async () => {
    const base = fileURLToPath(new URL('../../../packages/pipeline/assets/tiny-base', import.meta.url));
    const dataset = runDataset(DEMO_CONFIG);
    const { width, height, rgb } = dataset.example('test', 0).images[0]!;
    const image = { width, height, data: rgb };
    const processor = await Processor.load(folderFiles(base));
    const engine = new WebGpuEngine(await openDevice());
    const model = new VisionLanguageModel(engine, processor.config);
    const writer = new PromptWriter(model, new WordCodec(processor.tokenizer));
    const patches = preprocessImage(image, processor.preprocessor);
    const example = dataset.example('test', 0);
    const want = writer.prompt({ example, images: [patches], policyImages: [] }, false);
    const row = processor.process({ messages: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: example.query }] }], images: [image], addGenerationPrompt: true, loss: 'all' });
    expect([...row.inputIds]).toEqual(Array.from(want.inputIds));
    expect([...row.positionIds]).toEqual(Array.from(want.positionIds));
    model.dispose();
    engine.dispose();
    writeFileSync(dir.path('scene.png'), encodePng(example.images[0]!));
    const said = await say('--model', base, '--image', dir.path('scene.png'), '--prompt', example.query);
    expect(said.promptTokens).toBe(want.inputIds.length);
  });
});

describe('trimpi chat', () => {
  it('remembers turns and pictures; a wrong line does not end it', async () => {
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@trimpi/source', main, 'chat', '--model', MODEL, '--max-new-tokens', '8', '--json'], { cwd: fileURLToPath(new URL('..', import.meta.url)) });
    child.stdin.end(`/imge x\n/image none.png\n/image ${IMAGE}\nWhat is it?\nAnd now?\n/clear\nWhat is it?\n/exit\nnot read\n`);
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), new Promise((done) => child.on('close', done))]);
    expect(code).toBe(0);
    expect(stderr).toContain('Did you mean /image?');
    expect(stderr).toContain('none.png');
    const said = stdout.trim().split('\n').map((line) => JSON.parse(line) as Said);
    expect(said).toHaveLength(3);
    const alone = await say('--model', MODEL, '--image', IMAGE, '--prompt', 'What is it?', '--max-new-tokens', '8');
    expect(said[0]!.text).toBe(alone.text);
    expect(said[1]!.promptTokens).toBeGreaterThan(said[0]!.promptTokens);
    expect(said[2]!.promptTokens).toBeLessThan(said[0]!.promptTokens);
  });
});

describe('trimpi export', () => {
  it('merges what the model merges on the device, and copies all that is not weights', async () => {
    const out = dir.path('export');
    const { code, stdout } = await trimpi('export', '--model', MODEL, '--adapter', ADAPTER, '--to', 'safetensors', '--out', out, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ to: 'safetensors', modules: 14, r: 4 });
    expect(readdirSync(out).toSorted()).toEqual(readdirSync(MODEL).toSorted());
    expect(readFileSync(`${out}/config.json`, 'utf8')).toBe(readFileSync(`${MODEL}/config.json`, 'utf8'));
    const files = folderFiles(MODEL);
    const { config } = await Processor.load(files);
    const engine = new WebGpuEngine(await openDevice());
    const model = new VisionLanguageModel(engine, config);
    await model.load(await openCheckpoint(files));
    model.loadAdapter('a', await readAdapter(folderFiles(ADAPTER), config));
    const want = await model.tensors({ merge: 'a' });
    const merged = await openCheckpoint(folderFiles(out));
    const base = await openCheckpoint(files);
    let changed = 0;
    for (const name of merged.names) {
      const got = await merged.readFloat32(name);
      const before = await base.readFloat32(name);
      const expected = new Float32Array(want.get(name)!.data.slice().buffer);
      let worst = 0;
      got.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - expected[i]!))));
      expect(worst).toBeLessThan(1e-6);
      if (got.some((x, i) => x !== before[i])) changed++;
    }
    expect(changed).toBe(14);
    model.dispose();
    engine.dispose();
  });

  it('peft: the same tensors, under keys that PEFT loads, with the base it was trained on', async () => {
    const out = dir.path('peft');
    expect((await trimpi('export', '--model', MODEL, '--adapter', ADAPTER, '--to', 'peft', '--out', out)).code).toBe(0);
    expect(readdirSync(out).toSorted()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const { config } = await Processor.load(folderFiles(MODEL));
    const [a, b] = [await readAdapter(folderFiles(ADAPTER), config), await readAdapter(folderFiles(out), config)];
    expect(b.weights).toEqual(a.weights);
    const keys = [...(await SafetensorsFile.open(fileSource(`${out}/adapter_model.safetensors`))).tensors.keys()];
    expect(keys).toHaveLength(28);
    expect(keys[0]).toMatch(/^base_model\.model\.model\.language_model\.layers\.0\..*\.lora_[AB]\.weight$/);
  });

  it('onnx: the files of the library, of the merged weights, beside configuration and tokenizer', async () => {
    const out = dir.path('onnx');
    const { code, stdout } = await trimpi('export', '--model', MODEL, '--adapter', ADAPTER, '--format', 'onnx', '--ops', 'fused', '--bits', '16', '--out', out, '--json');
    expect(code).toBe(0);
    const names = ['decoder_model_merged.onnx', 'embed_tokens.onnx', 'vision_encoder.onnx'];
    const said = JSON.parse(stdout) as { to: string; files: { name: string; bytes: number }[] };
    expect([said.to, said.files.map((f) => f.name).toSorted()]).toEqual(['onnx', names.map((n) => `onnx/${n}`)]);
    for (const { name, bytes } of said.files) expect(readFileSync(`${out}/${name}`)).toHaveLength(bytes);
    expect(readdirSync(`${out}/onnx`).toSorted()).toEqual(names);
    expect(readdirSync(out)).toEqual(expect.arrayContaining(['config.json', 'onnx', 'tokenizer.json']));
    // The merged weights that --to safetensors writes give the same bytes; the base gives others.
    const merged = dir.path('onnx-merged');
    expect((await trimpi('export', '--model', MODEL, '--adapter', ADAPTER, '--out', merged)).code).toBe(0);
    const decoderOf = async (folder: string) => {
      const { config } = await Processor.load(folderFiles(folder));
      const files = await exportOnnx(await openCheckpoint(folderFiles(folder)), config, { ops: 'fused', bits: 16 });
      return Buffer.from(await readOnnxFile(files.find((f) => f.name === names[0])!));
    };
    const written = readFileSync(`${out}/onnx/${names[0]}`);
    expect(written.equals(await decoderOf(merged))).toBe(true);
    expect(written.equals(await decoderOf(MODEL))).toBe(false);
  });

  it('DoRA: a row gets the length of its magnitude and keeps its direction', () => {
    // W = [[3, 4], [0, 2]], B A = [[0, 0], [1, 0]] x 2: rows (3, 4) of length 5 and (2, 2).
    const weight = Float32Array.of(3, 4, 0, 2);
    mergeInto(weight, { r: 1, scaling: 2, inFeatures: 2, outFeatures: 2 }, { loraA: Float32Array.of(1, 0), loraB: Float32Array.of(0, 1), magnitude: Float32Array.of(10, Math.SQRT2) });
    [6, 8, 1, 1].forEach((x, i) => expect(weight[i]).toBeCloseTo(x, 6));
  });

  it('leaves no folder after a failure, and an older one as it was', async () => {
    const broken = dir.path('broken');
    cpSync(MODEL, broken, { recursive: true });
    const weights = readFileSync(`${broken}/model.safetensors`);
    writeFileSync(`${broken}/model.safetensors`, weights.subarray(0, weights.length - 100));
    const place = dir.path('place');
    mkdirSync(`${place}/out`, { recursive: true });
    writeFileSync(`${place}/out/old`, 'x');
    const ran = await trimpi('export', '--model', broken, '--adapter', ADAPTER, '--out', `${place}/out`, '--overwrite');
    expect(ran.code).toBe(1);
    expect([readdirSync(place), readdirSync(`${place}/out`)]).toEqual([['out'], ['old']]);
    const other = dir.path('adapter');
    const { config } = await Processor.load(folderFiles(MODEL));
    await saveAdapter(other, await readAdapter(folderFiles(ADAPTER), config));
    expect((await trimpi('export', '--model', MODEL, '--adapter', other, '--out', `${place}/out`)).stderr).toContain('--overwrite');
  });
});
