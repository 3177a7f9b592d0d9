import { text as readAll } from 'node:stream/consumers';
import { UsageError } from '../errors.ts';
import { interruptible } from '../interrupt.ts';
import { answer, type SamplingOptions } from './answer.ts';
import { type Bits, loadImage, loadModel, ONE_ANSWER } from './load.ts';

interface GenerateOptions extends SamplingOptions {
  readonly model: string;
  readonly adapter?: string;
  readonly bits?: Bits;
  readonly maxPositions?: number;
  readonly system?: string;
  readonly prompt: string;
  readonly image?: readonly string[];
  readonly json?: boolean;
}

export async function generateOnce(options: GenerateOptions): Promise<void> {
  const { json = false, image = [], system } = options;
  const prompt = options.prompt === '-' ? (await readAll(process.stdin)).trimEnd() : options.prompt;
  if (prompt === '') throw new UsageError('--prompt is empty. Give a question, or - to read it from standard input.');
  const images = await Promise.all(image.map(loadImage));
  const loaded = await loadModel(options.model, options.adapter, options.bits, { ...ONE_ANSWER, positions: options.maxPositions });
  try {
    const messages = [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: [...images.map(() => ({ type: 'image' }) as const), { type: 'text' as const, text: prompt }] },
    ];
    const result = await interruptible((signal) => answer(loaded, messages, images, options, json ? () => undefined : (piece) => process.stdout.write(piece), signal));
    if (json) console.log(JSON.stringify(result));
    else {
      process.stdout.write('\n');
      // Beside the answer, not in it: a pipe gets the text alone.
      console.error(`${result.promptTokens} prompt tokens, ${result.completionTokens} new in ${result.seconds.toFixed(1)} s, ${result.finish === 'stop' ? 'ended by itself' : result.finish === 'length' ? 'ended by --max-new-tokens' : 'stopped'}`);
    }
    if (result.finish === 'interrupted') process.exitCode = 130;
  } finally {
    loaded.dispose();
  }
}
