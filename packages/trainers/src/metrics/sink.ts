export type Metrics = Readonly<Record<string, number>> & { readonly step: number };

/** Where metrics go. A plain function is a sink too (a callback). */
export interface MetricSink {
  /** Before the first step of a session: steps after `lastStep` that an earlier session wrote are to be forgotten. */
  begin?(lastStep: number): void | Promise<void>;
  write(metrics: Metrics): void | Promise<void>;
  /** Before a checkpoint is written, and at the end: what was written so far must be on its way to the disk. */
  flush?(): void | Promise<void>;
}
