/**
 * @file Makes the paper's table, or goes on with it. Stops by itself after --minutes, and with Ctrl-C, with all saved.
 *   npx tsx --conditions=@trimpi/source packages/pipeline/scripts/reproduce.ts --n 2 --seeds 1,2,3 [--rows cot-sft+grpo,...]
 *     [--scale tiny|small] [--dir runs/reproduce] [--minutes 120] [--base FOLDER] [--settings '{"rl": {...}}']
 */
import { parseArgs } from 'node:util';
import { folderFiles } from '@trimpi/model/node';
import { PipelineError, type ReproduceSettings, type RowName, type Scale } from '../src/index.ts';
import { reproduce } from '../src/node.ts';

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '2' }, seeds: { type: 'string', default: '1,2,3' }, rows: { type: 'string' }, scale: { type: 'string', default: 'tiny' },
    dir: { type: 'string', default: 'runs/reproduce' }, minutes: { type: 'string' }, base: { type: 'string' }, settings: { type: 'string' },
  },
});
const numbers = (text: string) => text.split(',').map(Number);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
if (values.minutes !== undefined) setTimeout(() => stop.abort(), Number(values.minutes) * 60_000).unref();
const clock = () => new Date().toISOString().slice(11, 19);
try {
  const results = await reproduce({
    scale: values.scale as Scale, n: numbers(values.n), seeds: numbers(values.seeds), dir: values.dir, signal: stop.signal,
    ...(values.rows === undefined ? {} : { rows: values.rows.split(',') as RowName[] }),
    ...(values.base === undefined ? {} : { base: folderFiles(values.base) }),
    ...(values.settings === undefined ? {} : { settings: JSON.parse(values.settings) as Partial<ReproduceSettings> }),
    onEvent(event) {
      if (event.type === 'note') console.log(clock(), event.text);
      else if (event.type === 'row') console.log(clock(), `[${event.done}/${event.of}] N=${event.n} seed ${event.seed}: ${event.title}${event.secondsLeft === null ? '' : `, about ${Math.round(event.secondsLeft / 60)} min left in all`}`);
      else if (event.type === 'step' && (event.step % 10 === 0 || event.step === event.steps)) console.log(clock(), `  ${event.stage} ${event.step}/${event.steps}: ${event.value}`);
      else if (event.type === 'result') console.log(clock(), `  ${event.row}: ${(100 * event.accuracy).toFixed(1)} %`);
    },
  });
  for (const { claim, n, verdict } of results.orderings) console.log(`N=${n} ${verdict}: ${claim}`);
  console.log(`${values.dir}/results.md`);
} catch (error) {
  if (!(error instanceof PipelineError)) throw error;
  console.error(error.message);
  process.exitCode = error.code === 'interrupted' ? 130 : 1;
}
