/** @file One model on the GPU that answers twice: with the base's weights and the policy before it, with trained weights and without. */
import { bytesSource, generate, openCheckpoint, parseConfig, requireText, SafetensorsFile, Tokenizer, type TokenSequence, VisionLanguageModel } from '@trimpi/model';
import { encodeExample, PipelineError, PromptWriter, type StageName, WordCodec } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { FromCompare } from '../protocol.ts';
import { loadBase } from './base.ts';
import { opfsStorage } from './opfs.ts';
import type { RunQuestion } from './run-data.ts';

/** Measurements of the time to the first token; the median counts. */
const TIMED = 3;

export interface Asker {
  ask(question: Omit<RunQuestion, 'scene'>, stage: StageName, maxNewTokens: number, post: (message: FromCompare) => void): Promise<void>;
  dispose(): void;
}

export async function openAsker(base: string): Promise<Asker> {
  const device = await openDevice({ powerPreference: 'high-performance' });
  const engine = new WebGpuEngine(device);
  const files = await loadBase(base, () => undefined);
  const model = new VisionLanguageModel(engine, parseConfig(JSON.parse(await requireText(files, 'config.json'))));
  await model.load(await openCheckpoint(files));
  const writer = new PromptWriter(model, new WordCodec(await Tokenizer.load(files)));
  const untrained = Float32Array.from(await model.text.values.read());
  const lost = device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed') throw new PipelineError('storage', 'device', message, 'Ask again.');
    return undefined as never;
  });
  lost.catch(() => undefined);

  const answer = async (side: 'base' | 'trained', prompt: TokenSequence, maxNewTokens: number, { right, cited }: Pick<RunQuestion, 'right' | 'cited'>, post: (message: FromCompare) => void) => {
    const options = { temperature: 0, stopIds: [model.config.eosTokenId!], seed: 0 };
    const [completion] = await generate(model, [prompt], {
      ...options, maxNewTokens, lookEvery: 2,
      onProgress: ([c]) => {
        const text = writer.text(c!.tokens);
        post({ type: 'says', side, text, cited: cited(text) });
      },
    });
    const times: number[] = [];
    // The first one also compiles.
    for (let i = 0; i <= TIMED; i++) {
      const start = performance.now();
      await generate(model, [prompt], { ...options, maxNewTokens: 1 });
      times.push(performance.now() - start);
    }
    const text = writer.text(completion!.tokens);
    post({ type: 'answered', side, text, cited: cited(text), right: right(text), promptTokens: prompt.inputIds.length, prefillMs: times.slice(1).toSorted((a, b) => a - b)[Math.floor(TIMED / 2)]! });
  };

  return {
    async ask(question, stage, maxNewTokens, post) {
      const trained = stage === 'base' ? untrained : await stageWeights(stage, model.text.length);
      const item = await encodeExample(model, question.example);
      const both = async () => {
        model.text.values.write(untrained);
        await answer('base', writer.prompt(item, true), maxNewTokens, question, post);
        model.text.values.write(trained);
        await answer('trained', writer.prompt(item, false), maxNewTokens, question, post);
      };
      await Promise.race([both(), lost]);
      post({ type: 'done' });
    },
    dispose: () => engine.dispose(),
  };
}

/** What a stage of the run that is saved here ended with. */
async function stageWeights(stage: StageName, length: number): Promise<Float32Array> {
  const bytes = await (await opfsStorage('trimpi-run'))?.read(`${stage}.safetensors`);
  const values = bytes === undefined || bytes === null ? undefined : await (await SafetensorsFile.open(bytesSource(bytes, stage))).readFloat32('text');
  if (values?.length !== length) throw new PipelineError('invalid-checkpoint', `${stage}.safetensors`, values === undefined ? 'is no longer there.' : 'belongs to another base.', 'Train again, or compare with another stage.');
  return values;
}
