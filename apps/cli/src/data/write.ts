import { join } from 'node:path';
import { writeClevrPolicy, writeGtaPolicy, type WriteClevrPolicyOptions, type WriteProgress, type WriteReport } from '@trimpi/datasets/node';
import { interruptible } from '../interrupt.ts';
import { Progress } from '../progress.ts';
import { UsageError } from '../errors.ts';
import { checkFree } from '../folder.ts';

interface CommonOptions {
  readonly out: string;
  readonly count: number;
  readonly testCount: number;
  readonly seed: number;
  readonly images: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

type ClevrOptions = CommonOptions & { readonly n?: readonly number[]; readonly policies: number } & Required<Pick<WriteClevrPolicyOptions, 'variant' | 'tree' | 'style' | 'sampling' | 'queries' | 'width' | 'height'>>;

export async function writeClevr({ out, json, n, ...options }: ClevrOptions): Promise<void> {
  // The compact style has words for four levels.
  const depths = n ?? [options.style === 'compact' ? 4 : 6];
  await write(out, options.overwrite, json, (onProgress) => writeClevrPolicy(out, { ...options, n: depths, onProgress }));
}

type GtaOptions = CommonOptions & { readonly policy: 'paper' | 'small' | 'medium' | 'large'; readonly tokens?: number };

export async function writeGta({ out, json, policy, tokens, ...options }: GtaOptions): Promise<void> {
  if (policy === 'paper' && tokens !== undefined) throw new UsageError("--tokens goes with generated rules; the paper's policy has a fixed length. Add --policy large.");
  const rules = policy === 'paper' ? 'paper' : { seed: options.seed, size: policy, ...(tokens === undefined ? {} : { tokens }) };
  await write(out, options.overwrite, json, (onProgress) => writeGtaPolicy(out, { ...options, policy: rules, onProgress }));
}

async function write(out: string, overwrite: boolean | undefined, json: boolean | undefined, run: (onProgress: (p: WriteProgress) => void) => Promise<WriteReport>): Promise<void> {
  checkFree(out, overwrite === true);
  const started = performance.now();
  const progress = json === true ? undefined : new Progress();
  const report = await interruptible(async (_signal, check) => {
    try {
      return await run(({ done, total }) => {
        check();
        progress?.show({ type: 'progress', what: 'examples', done, of: total });
      });
    } finally {
      progress?.end();
    }
  });
  const seconds = (performance.now() - started) / 1000;
  if (json === true) {
    console.log(JSON.stringify({ out, examples: report.examples, files: report.files, seconds }));
    return;
  }
  const policies = Object.keys(report.manifest.files).filter((name) => name.endsWith('.md')).length;
  console.log(`${report.examples} examples under ${policies} ${policies === 1 ? 'policy' : 'policies'} in ${out} (${report.files + 1} files, ${seconds.toFixed(1)} s)`);
  if ('contact-sheet.png' in report.manifest.files) console.log(`Look at it: ${join(out, 'contact-sheet.png')}${Object.keys(report.manifest.files).some((n) => n.endsWith('.svg')) ? ` and ${join(out, 'policies')}/*.svg` : ''}`);
}
