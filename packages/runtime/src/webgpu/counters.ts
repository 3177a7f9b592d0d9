/** Counters of everything an engine has done; the difference of two readings describes what lay between. */
export interface EngineCounters {
  dispatches: number;
  passes: number;
  submissions: number;
  buffers: number;
  bindGroups: number;
  pipelines: number;
  /** Bytes of buffers alive now. */
  bytes: number;
  /** The most bytes that were alive at once. */
  peakBytes: number;
  /** Milliseconds between asking for pipelines and having them, summed over pipelines (they compile beside each other). */
  compileMs: number;
}
