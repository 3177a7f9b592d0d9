/** @file What the page and its two workers say to each other: one worker draws the examples, the other trains. */
import type { RunConfig, RunEvent, StageName } from '@trimpi/pipeline';

/** A tree, ready to be shown: conditions in words. */
export type TreeView =
  | { readonly kind: 'decision'; readonly id: string; readonly question: string; readonly yes: TreeView; readonly no: TreeView }
  | { readonly kind: 'leaf'; readonly id: string; readonly answer: string; readonly reachable: boolean };

export interface PolicyView {
  readonly id: string;
  readonly name: string;
  /** As the model reads it. */
  readonly text: string;
  readonly tree: TreeView;
}

export interface SceneView {
  readonly policyId: string;
  readonly policyName: string;
  readonly query: string;
  readonly answer: string;
  readonly leafId: string;
  /** Ids of the questions on the way. */
  readonly path: readonly string[];
  /** The questions on the way with their answers, in words. */
  readonly way: string;
  /** The objects in words, for those who do not see the picture. */
  readonly objects: string;
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

export type ToLook = { readonly type: 'look'; readonly config: RunConfig; readonly scenes: number };

export type FromLook =
  | { readonly type: 'policies'; readonly policies: readonly PolicyView[] }
  | { readonly type: 'scene'; readonly scene: SceneView }
  | { readonly type: 'drawn' }
  | { readonly type: 'failed'; readonly failure: Failure };

export type ToCompare =
  | { readonly type: 'open'; readonly config: RunConfig }
  /** Scene number `scene` of policy number `policy`; `ask` also lets both models answer. */
  | { readonly type: 'draw'; readonly policy: number; readonly scene: number }
  | { readonly type: 'ask'; readonly policy: number; readonly scene: number; readonly stage: StageName; readonly maxNewTokens: number; readonly base: string };

export type FromCompare =
  /** `trained`: stages whose weights are saved, in order; none before training. */
  | { readonly type: 'opened'; readonly policies: readonly PolicyView[]; readonly trained: readonly { readonly stage: StageName; readonly title: string }[]; readonly maxNewTokens: number }
  | { readonly type: 'scene'; readonly scene: SceneView }
  | { readonly type: 'says'; readonly side: 'base' | 'trained'; readonly text: string; readonly cited: readonly string[] }
  | { readonly type: 'answered'; readonly side: 'base' | 'trained'; readonly text: string; readonly cited: readonly string[]; readonly right: boolean; readonly promptTokens: number; readonly prefillMs: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly failure: Failure };

/** An error with what to do about it, in words. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

export interface AdapterView {
  readonly name: string;
  readonly software: boolean;
}

export interface SavedFile {
  readonly name: string;
  readonly blob: Blob;
}

export type ToTrain =
  | { readonly type: 'open' }
  /** Goes on with what is saved; `fresh` deletes that first. `base` is the address of the base's files. */
  | { readonly type: 'start'; readonly config: RunConfig; readonly fresh: boolean; readonly base: string }
  | { readonly type: 'pause' };

export type FromTrain =
  /** The answer to `open`. `adapter` is a failure when there is none; `saved` is a run that was begun earlier, or what is wrong with it. */
  | { readonly type: 'opened'; readonly adapter: AdapterView | Failure; readonly keepsFiles: boolean; readonly saved?: SavedRun | Failure }
  | { readonly type: 'loading'; readonly done: number; readonly of: number }
  | { readonly type: 'event'; readonly event: RunEvent }
  | { readonly type: 'paused' }
  | { readonly type: 'finished'; readonly report: FinishedRun }
  | { readonly type: 'failed'; readonly failure: Failure };

/** Accuracy of a stage on unseen pictures, without the policy, with its 95 % interval. */
export interface StageResult {
  readonly stage: StageName;
  readonly title: string;
  readonly accuracy: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

export interface SavedRun {
  readonly config: RunConfig;
  /** The stages that are done, in order. */
  readonly done: readonly StageResult[];
  /** There when the run is complete. */
  readonly finished?: FinishedRun;
}

export interface FinishedRun {
  /** `report.html`. */
  readonly html: string;
  readonly findings: readonly string[];
  readonly files: readonly SavedFile[];
}
