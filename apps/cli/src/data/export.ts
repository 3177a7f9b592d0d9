import { exportDataset, type ExportOptions } from '@trimpi/datasets/node';
import type { Example } from '@trimpi/datasets';
import { checkFree, wholeFolder } from '../folder.ts';
import { interruptible } from '../interrupt.ts';
import { Progress } from '../progress.ts';
import { openStored } from './stored.ts';

interface ExportDataOptions extends Pick<ExportOptions, 'format' | 'file'> {
  readonly out: string;
  readonly withPolicy?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export async function exportData(dir: string, { out, format, file, withPolicy = false, overwrite = false, json }: ExportDataOptions): Promise<void> {
  checkFree(out, overwrite);
  const { examples } = await openStored(dir);
  const progress = json === true ? undefined : new Progress();
  const each = function* (check: () => void): Generator<Example> {
    for (const [i, example] of examples.entries()) {
      check();
      yield example;
      progress?.show({ type: 'progress', what: 'examples', done: i + 1, of: examples.length });
    }
  };
  const report = await interruptible((_signal, check) =>
    wholeFolder(out, overwrite, (work) => exportDataset(work, each(check), { format, file, policy: withPolicy })).finally(() => progress?.end()),
  );
  console.log(json === true ? JSON.stringify({ out, format, file, ...report }) : `${report.rows} rows in ${out}: ${report.files.join(', ')} (columns of ${format})`);
}
