import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '@trimpi/model/node';
import { jsonLine, linesUpTo } from '../metrics/jsonl.ts';
import type { MetricSink } from '../metrics/sink.ts';
import { eventFileName, fileVersionRecord, restartRecord, scalarRecord } from '../metrics/tensorboard.ts';

/** One JSON object a step, appended. A session that goes on from a checkpoint first removes the steps behind it. */
export function jsonlFile(path: string): MetricSink {
  return {
    async begin(lastStep) {
      mkdirSync(dirname(path), { recursive: true });
      let text = '';
      try {
        text = readFileSync(path, 'utf8');
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
      }
      await writeFileAtomic(path, linesUpTo(text, lastStep).map((l) => `${l}\n`).join(''));
    },
    write(metrics) {
      appendFileSync(path, `${jsonLine(metrics)}\n`);
    },
  };
}

/** A folder for TensorBoard: an event file for each session; one that goes on says from which step on. */
export function tensorboardFolder(folder: string): MetricSink {
  let path: string | undefined;
  const now = () => Date.now() / 1000;
  return {
    begin(lastStep) {
      mkdirSync(folder, { recursive: true });
      path = join(folder, eventFileName(now(), `${hostname()}.${process.pid}.${Math.floor(performance.now())}`));
      appendFileSync(path, fileVersionRecord(now()));
      if (lastStep > 0) appendFileSync(path, restartRecord(now(), lastStep + 1));
    },
    write({ step, ...scalars }) {
      appendFileSync(path!, scalarRecord({ wallTime: now(), step, scalars }));
    },
  };
}
