/**
 * @file 32 requests to `trimpi serve` on the tiny base, one every 100 ms, for answers of up to 16, 32, 64 and 128 tokens in
 * turn: tokens a second and the time from asking to the whole answer. Two rounds; the second is reported, the first
 * compiles. Usage: npm run bench:serve
 */
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { startServer } from '../src/serve/command.ts';

const LENGTHS = [16, 32, 64, 128];
const model = fileURLToPath(new URL('../../../packages/pipeline/assets/tiny-base', import.meta.url));
const server = await startServer({ model, adapter: {}, name: 'tiny', host: '127.0.0.1', port: 0, apiKey: '', cors: [], maxBatch: 32, batchTokens: 16_384, maxQueue: 64, maxNewTokens: 256, maxBody: 1 }, (line) => line.startsWith('error') && console.error(line));

async function ask(i: number): Promise<{ readonly length: number; readonly tokens: number; readonly ms: number }> {
  const length = LENGTHS[i % LENGTHS.length]!;
  const started = performance.now();
  const response = await fetch(`${server.url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'policy tevi rasi ?' }], max_tokens: length, temperature: 2, seed: i }),
  });
  const { usage } = (await response.json()) as { usage: { completion_tokens: number } };
  return { length, tokens: usage.completion_tokens, ms: performance.now() - started };
}

const median = (values: readonly number[]) => Math.round(values.toSorted((a, b) => a - b)[values.length >> 1]!);
for (const round of ['first', 'second']) {
  const started = performance.now();
  const answers = await Promise.all(Array.from({ length: 32 }, async (_, i) => {
    await new Promise((done) => setTimeout(done, 100 * i));
    return ask(i);
  }));
  const seconds = (performance.now() - started) / 1000;
  const tokens = answers.reduce((sum, a) => sum + a.tokens, 0);
  if (round === 'second') {
    console.log(JSON.stringify({
      tokens, seconds: Number(seconds.toFixed(2)), tokensPerSecond: Math.round(tokens / seconds),
      medianMs: median(answers.map((a) => a.ms)),
      medianMsByLength: Object.fromEntries(LENGTHS.map((n) => [n, median(answers.filter((a) => a.length === n).map((a) => a.ms))])),
      loadAverage: Number(loadavg()[0]!.toFixed(1)),
    }));
  }
}
await server.close();
