/** @file The tiny base on a policy of the visitor's own: asked with and without it, and trained as the paper trains. */
import { makeScorer, ownExamples, type Example, type Scorer } from '@trimpi/datasets';
import { adapterFiles, type BatchImage, defaultPreprocessorConfig, generate, getRopeIndex, loraConfig, openCheckpoint, parseConfig, patchify, publishedKey, requireText, serializeSafetensors, Tokenizer, type TokenSequence, VisionLanguageModel } from '@trimpi/model';
import { PromptWriter, type RunConfig, WordCodec } from '@trimpi/pipeline';
import { poroGrpo } from '@trimpi/rollout';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import { RlTrainer, type SupervisedRow, SupervisedTrainer, type Trainer } from '@trimpi/trainers';
import type { FromBring, OwnMeasure, SavedFile } from '../protocol.ts';
import { loadBase } from './base.ts';
import type { BroughtPolicy } from './own-policy.ts';

interface OwnRun {
  readonly policy: BroughtPolicy;
  /** Steps, batches and rates are those of the settings in Train. */
  readonly config: RunConfig;
  readonly base: string;
  readonly train: boolean;
  readonly signal: AbortSignal;
  readonly post: (message: FromBring) => void;
}

/** The size of the pictures that the tiny base was trained on; others are drawn to it. */
const [WIDTH, HEIGHT] = [128, 64];
/** Test questions that are asked, and completions that are shown. */
const ASKED = 200;
const SHOWN = 6;

interface Item {
  readonly example: Example;
  readonly image: BatchImage;
  readonly free: TokenSequence;
  readonly aware: TokenSequence;
  readonly right: (completion: string) => ReturnType<Scorer>;
}

/** Measures, trains when that is wanted, and measures again. */
export async function ownRun({ policy: { own, files }, config, base, train, signal, post }: OwnRun): Promise<void> {
  const engine = new WebGpuEngine(await openDevice({ powerPreference: 'high-performance' }));
  try {
    const baseFiles = await loadBase(base, () => undefined);
    const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(baseFiles, 'config.json'))));
    await model.load(await openCheckpoint(baseFiles));
    const writer = new PromptWriter(model, new WordCodec(await Tokenizer.load(baseFiles)));
    const score = makeScorer(own.scorer);
    const policyText = words(own.markdown);
    const preprocessor = defaultPreprocessorConfig(model.config);
    const items: Item[] = [];
    const examples = ownExamples(own, () => ({ width: 0, height: 0, rgb: new Uint8Array() }));
    for (const [i, example] of examples.entries()) {
      const row = own.rows[i]!;
      const [image] = await model.encodeImages([patchify(await pixels(files.get(row.images[0]!)!), WIDTH, HEIGHT, preprocessor)]);
      items.push({
        example, image: image!,
        free: writer.ask(image!, words(example.query)),
        aware: writer.ask(image!, words(example.query), policyText),
        right: (completion) => score(completion, row.answer),
      });
      if (i % 8 === 7 || i === examples.length - 1) post({ type: 'own-progress', what: 'Reading pictures', done: i + 1, of: examples.length });
      if (signal.aborted) break;
    }
    const test = items.filter((t) => t.example.split === 'test').slice(0, ASKED);
    const training = items.filter((t) => t.example.split === 'train');
    const measure = async (title: string, aware: boolean): Promise<void> => {
      if (signal.aborted) return;
      const outcomes: OwnMeasure['outcomes'][number][] = [];
      for (let i = 0; i < test.length; i += 50) {
        const some = test.slice(i, i + 50);
        const completions = await generate(model, some.map((t) => (aware ? t.aware : t.free)), { temperature: 0, maxNewTokens: config.rl.maxNewTokens, stopIds: [model.config.eosTokenId!], seed: 0 });
        completions.forEach((c, k) => {
          const text = writer.text(c.tokens);
          outcomes.push({ id: some[k]!.example.id, text, right: some[k]!.right(text).accuracy === 1 });
        });
      }
      const tokens = test.reduce((s, t) => s + (aware ? t.aware : t.free).inputIds.length, 0) / test.length;
      post({ type: 'own-measured', measure: { title, right: outcomes.filter((o) => o.right).length, of: outcomes.length, promptTokens: tokens, outcomes: outcomes.slice(0, SHOWN) } });
    };
    await measure('Base, policy in the prompt', true);
    await measure('Base, without the policy', false);
    if (!train) {
      post({ type: 'own-done', files: [] });
      return;
    }

    const row = ({ example, image }: Item, aware: boolean): SupervisedRow => {
      const prompt = writer.ask(image, words(example.query), aware ? policyText : undefined);
      const response = [...writer.ids(`<think> ${words(example.reasoning)} </think> \\boxed{ ${words(example.answer)} }`), model.config.eosTokenId!];
      const ids = [...Array.from(prompt.inputIds), ...response];
      const { visionStartTokenId, visionEndTokenId, imageTokenId } = model.config;
      const visual = new Set([visionStartTokenId, visionEndTokenId, imageTokenId]);
      return {
        sequence: { inputIds: Int32Array.from(ids), positionIds: getRopeIndex(ids, prompt.images.map((i) => i.gridThw), model.config).positionIds, images: prompt.images },
        lossMask: ids.map((id, i) => (visual.has(id) || (!aware && i < prompt.inputIds.length) ? 0 : 1)),
      };
    };
    const steps = async (title: string, trainer: Trainer, of: number, name: string): Promise<void> => {
      const started = performance.now();
      while (trainer.step < of && !trainer.finished && !signal.aborted) {
        const metrics = await trainer.next();
        const done = trainer.step;
        post({ type: 'own-step', title, step: done, steps: of, name, value: metrics[name]!, secondsLeft: ((performance.now() - started) / 1000 / done) * (of - done) });
      }
    };
    const schedule = (settings: { readonly steps: number; readonly learningRate: number }) => ({ learningRate: settings.learningRate, steps: settings.steps, warmupSteps: Math.min(5, settings.steps), lrSchedulerType: 'linear', seed: config.seed }) as const;
    const reasoned = training.filter((t) => t.example.reasoning !== '');
    const supervised = reasoned.length > 0 ? reasoned : training;

    model.setTrainable('text');
    await steps('VM-CPT', new SupervisedTrainer(model, { ...schedule(config.vmCpt), rows: supervised.map((t) => row(t, true)), batchSize: config.vmCpt.batchSize, lossMean: 'sequence' }), config.vmCpt.steps, 'loss');
    model.setTrainable();
    model.addAdapter('sft', loraConfig({ r: config.sft.r, loraAlpha: config.sft.loraAlpha }), config.seed);
    model.setTrainable({ adapter: 'sft' });
    await steps('CoT SFT (LoRA)', new SupervisedTrainer(model, { ...schedule(config.sft), rows: supervised.map((t) => row(t, false)), batchSize: config.sft.batchSize, lossMean: 'token', adapter: 'sft' }), config.sft.steps, 'loss');
    const adapter = await model.adapter('sft').toAdapter();
    await model.merge('sft');
    model.setTrainable();
    model.removeAdapter('sft');
    await measure('After VM-CPT and SFT, without the policy', false);

    model.setTrainable('text');
    const byId = new Map(training.map((t) => [t.example.id, t]));
    await steps('PolicyRollout on GRPO', new RlTrainer(model, {
      ...schedule(config.rl),
      examples: training.map((t) => ({ id: t.example.id, policyFree: t.free, policyAware: t.aware })),
      objective: poroGrpo({ beta: 0, rewardWeights: { accuracy: 0.9, format: 0.1 } }),
      reward: (rollouts) => {
        const scores = rollouts.map((r) => byId.get(r.example.id)!.right(writer.text(r.completion.tokens)));
        return { accuracy: scores.map((s) => s.accuracy), format: scores.map((s) => s.format) };
      },
      promptsPerStep: config.rl.promptsPerStep, policyFree: config.rl.rollouts / 2, policyAware: config.rl.rollouts / 2,
      maxNewTokens: config.rl.maxNewTokens, stopIds: [model.config.eosTokenId!], temperature: config.rl.temperature,
    }), config.rl.steps, 'reward');
    model.setTrainable();
    await measure(signal.aborted ? 'Stopped' : 'After PolicyRollout, without the policy', false);

    const tensors = new Map([...(await model.tensors())].map(([name, t]) => [publishedKey(name, model.config.modelType), t] as const));
    const saved: SavedFile[] = [
      ...Object.entries(adapterFiles(adapter, 'trimpi-tiny-base + vm-cpt')).map(([name, data]) => ({ name: `adapter/${name}`, blob: new Blob([data as Uint8Array<ArrayBuffer>]) })),
      { name: 'model/model.safetensors', blob: new Blob([serializeSafetensors(tensors) as Uint8Array<ArrayBuffer>]) },
    ];
    for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) saved.push({ name: `model/${file}`, blob: new Blob([await requireText(baseFiles, file)]) });
    post({ type: 'own-done', files: saved });
  } finally {
    engine.dispose();
  }
}

function words(text: string): string {
  return text.split(/\s+/).filter((w) => w !== '').join(' ');
}

/** A picture in the size that the model knows, as RGB bytes. */
async function pixels(file: File): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(file).catch((cause: unknown) => {
    throw Object.assign(new Error(`${file.name} is no picture that this browser can read. Use PNG, JPEG or WebP.`, { cause }), { code: 'bad-image' });
  });
  const context = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0, WIDTH, HEIGHT);
  bitmap.close();
  const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
  const rgb = new Uint8Array(WIDTH * HEIGHT * 3);
  for (let i = 0, o = 0; i < data.length; i += 4, o += 3) rgb.set(data.subarray(i, i + 3), o);
  return rgb;
}
