/** @file What the page and its two workers say to each other: one worker draws the examples, the other trains. */
import type { SampledCompletion } from '@trimpi/eval';
import type { CallScores, RunConfig, RunEvent, StageName } from '@trimpi/pipeline';
import type { BaseName } from './bases.ts';
import type { Row } from './chart.ts';

/** A tree, ready to be shown: conditions in words. */
export type TreeView =
  | { readonly kind: 'decision'; readonly id: string; readonly question: string; readonly yes: TreeView; readonly no: TreeView }
  | { readonly kind: 'leaf'; readonly id: string; readonly answer: string; readonly reachable: boolean };

export interface PolicyView {
  readonly id: string;
  readonly name: string;
  /** As the model reads it; `<image>` stands for each of the pictures. */
  readonly text: string;
  readonly pictures: readonly PolicyPicture[];
  /** ClevrPolicy has one, GTAPolicy one for each tool. */
  readonly trees: readonly PolicyTreeView[];
  /** What holds besides, in words: tips of GTAPolicy. */
  readonly tips: readonly string[];
}

export interface PolicyTreeView {
  /** What it decides, where a policy has several. */
  readonly title: string;
  readonly root: TreeView;
}

export interface PolicyPicture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
  /** What it shows: `shape sphere`. */
  readonly shows: string;
}

export interface SceneView {
  readonly policyId: string;
  readonly policyName: string;
  readonly query: string;
  readonly answer: string;
  /** The case that it comes to; empty where none decides. */
  readonly leafId: string;
  /** Ids of the questions on the way. */
  readonly path: readonly string[];
  /** The questions on the way with their answers, in words. */
  readonly way: string;
  /** One, of GTAPolicy up to three. */
  readonly pictures: readonly ScenePicture[];
}

export interface ScenePicture {
  /** What the question calls it, where it has several. */
  readonly name: string;
  /** The objects in words, for those who do not see the picture. */
  readonly objects: string;
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

export type ToLook =
  | { readonly type: 'look'; readonly config: RunConfig; readonly scenes: number }
  /** Scenes that come by a question, or end at a case, of a policy. */
  | { readonly type: 'more'; readonly policyId: string; readonly nodeId: string };

export type FromLook =
  | { readonly type: 'policies'; readonly policies: readonly PolicyView[] }
  | { readonly type: 'scene'; readonly scene: SceneView }
  /** All scenes that were asked for. */
  | { readonly type: 'drawn' }
  | { readonly type: 'failed'; readonly failure: Failure };

export interface PictureView {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/** A call of GTAPolicy, with the rules that decide it. */
export interface GtaCallView {
  readonly pictures: readonly PictureView[];
  readonly query: string;
  readonly profile: string;
  /** Calls before this one. */
  readonly calls: number;
  readonly gold: string;
  readonly rules: readonly string[];
}

interface RuleView {
  readonly id: string;
  readonly text: string;
}

export type FromGta =
  | {
      readonly type: 'policy';
      readonly text: string;
      readonly tools: readonly { readonly name: string; readonly description: string; readonly arguments: readonly string[]; readonly versions: number; readonly rules: readonly RuleView[] }[];
      readonly tips: readonly RuleView[];
    }
  | { readonly type: 'call'; readonly call: GtaCallView }
  | { readonly type: 'drawn' }
  | { readonly type: 'failed'; readonly failure: Failure };

export type ToCompare =
  | { readonly type: 'open'; readonly config: RunConfig; readonly base: BaseName }
  /** Question number `scene` of policy number `policy`; `ask` also lets both models answer. */
  | { readonly type: 'draw'; readonly policy: number; readonly scene: number }
  | { readonly type: 'ask'; readonly policy: number; readonly scene: number; readonly stage: StageName; readonly maxNewTokens: number; readonly base: string };

export type FromCompare =
  /** `trained`: stages whose weights are saved, in order; none before training. `config` and `base`: of the run that is saved, or as asked for. */
  | { readonly type: 'opened'; readonly policies: readonly PolicyView[]; readonly trained: readonly { readonly stage: StageName; readonly title: string }[]; readonly config: RunConfig; readonly base: BaseName }
  | { readonly type: 'scene'; readonly scene: SceneView }
  | { readonly type: 'says'; readonly side: 'base' | 'trained'; readonly text: string; readonly cited: readonly string[] }
  | { readonly type: 'answered'; readonly side: 'base' | 'trained'; readonly text: string; readonly cited: readonly string[]; readonly right: boolean; readonly promptTokens: number; readonly prefillMs: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly failure: Failure };

/** A file with its path inside the folder that was brought. */
export interface BroughtFile {
  readonly name: string;
  readonly file: File;
}

export type ToBring =
  /** `memory` in GiB: what the visitor says the GPU has. */
  | { readonly type: 'folder'; readonly files: readonly BroughtFile[]; readonly memory: number }
  | { readonly type: 'fit'; readonly files: readonly BroughtFile[]; readonly memory: number }
  /** Asks the tiny base, or the checkpoint, about a policy, and trains it when `train` is set. Goes on with what is kept; `fresh` deletes that first. Steps and batches of a run that begins are those of `config`. */
  | { readonly type: 'own'; readonly policy: readonly BroughtFile[]; readonly config: RunConfig; readonly train: boolean; readonly fresh: boolean; readonly on: OwnModel }
  /** What is kept of a run on this policy. */
  | { readonly type: 'own-find'; readonly policy: readonly BroughtFile[]; readonly on: OwnModel['type'] }
  /** All such runs. */
  | { readonly type: 'own-list' }
  | { readonly type: 'own-forget'; readonly id: string }
  /** Puts the adapter of a complete run on the checkpoint brought last. */
  | { readonly type: 'own-wear'; readonly id: string }
  | { readonly type: 'stop' }
  | { readonly type: 'onnx'; readonly bits: 32 | 16 | 4 }
  /** An adapter (a PEFT folder) for the checkpoint brought last. */
  | { readonly type: 'adapter'; readonly files: readonly BroughtFile[] }
  /** Puts that checkpoint, with its adapter, on the GPU. */
  | { readonly type: 'load'; readonly bits: StoredBits; readonly memory: number }
  | { readonly type: 'chat'; readonly image: File | undefined; readonly policy: string; readonly question: string; readonly maxNewTokens: number }
  | { readonly type: 'take'; readonly form: TakeForm };

/** What is trained on a policy: the base beside the page, or the checkpoint brought last (`memory` in GiB). */
export type OwnModel =
  | { readonly type: 'base'; readonly url: string }
  | { readonly type: 'checkpoint'; readonly bits: StoredBits; readonly memory: number; readonly maxNewTokens: number };

/** Bits of a weight on the GPU. */
export type StoredBits = 32 | 8 | 4;

/** Its adapter, the weights with the adapter in them, or ONNX in so many bits. */
export type TakeForm = 'peft' | 'safetensors' | 32 | 16 | 4;

/** With the policy in the prompt, or without. */
export type ChatSide = 'aware' | 'free';

export type FromBring =
  | { readonly type: 'policy'; readonly policy: OwnPolicyView }
  | { readonly type: 'checkpoint'; readonly checkpoint: CheckpointView }
  | { readonly type: 'fit'; readonly fits: readonly FitView[] }
  | { readonly type: 'own-progress'; readonly what: string; readonly done: number; readonly of: number }
  | { readonly type: 'own-measured'; readonly measure: OwnMeasure }
  | { readonly type: 'own-step'; readonly title: string; readonly event: Extract<RunEvent, { type: 'step' }> }
  /** The answer to `own-find`. `keepsFiles`: whether a run outlives the page. */
  | { readonly type: 'own-found'; readonly id: string; readonly keepsFiles: boolean; readonly run: OwnRunView | undefined }
  | { readonly type: 'own-kept'; readonly runs: readonly OwnRunView[] }
  /** `stopped`: in the middle of training; the next start goes on from there. */
  | { readonly type: 'own-done'; readonly stopped: boolean; readonly files: readonly SavedFile[] }
  | { readonly type: 'onnx'; readonly files: readonly SavedFile[] }
  /** `trained`: on this page, and not brought. */
  | { readonly type: 'adapter'; readonly r: number; readonly modules: number; readonly trained: boolean }
  /** Bytes of the weights. */
  | { readonly type: 'loading'; readonly done: number; readonly of: number }
  /** `bytes` on the GPU. */
  | { readonly type: 'loaded'; readonly seconds: number; readonly bytes: number }
  | { readonly type: 'load-stopped' }
  | { readonly type: 'chat-says'; readonly side: ChatSide; readonly text: string }
  /** `firstMs`: from the prompt to the first token, shaders compiled. */
  | { readonly type: 'chat-said'; readonly side: ChatSide; readonly text: string; readonly end: 'stop' | 'length' | 'stopped'; readonly tokens: number; readonly promptTokens: number; readonly firstMs: number; readonly tokensPerSecond: number | undefined }
  | { readonly type: 'chat-done' }
  | { readonly type: 'taken'; readonly files: readonly SavedFile[] }
  | { readonly type: 'failed'; readonly failure: Failure };

/** Headings and list items of a policy. */
export interface OutlineView {
  readonly text: string;
  readonly children: readonly OutlineView[];
}

export interface OwnPolicyView {
  readonly name: string;
  readonly text: string;
  readonly outline: readonly OutlineView[];
  readonly scorer: string;
  /** Rows of each split. */
  readonly train: number;
  readonly test: number;
  readonly findings: readonly { readonly file: string; readonly line: number; readonly severity: 'error' | 'warning'; readonly message: string }[];
  /** The first of them. */
  readonly questions: readonly { readonly id: string; readonly split: string; readonly query: string; readonly answer: string; readonly reasoning: string; readonly images: readonly string[] }[];
  readonly images: readonly BroughtFile[];
  /** Why no model can be trained on it in a page; empty when one can. */
  readonly obstacles: readonly string[];
  /** Why the tiny base cannot read it besides; empty when it can. */
  readonly baseObstacles: readonly string[];
}

export interface CheckpointView {
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly missing: readonly string[];
  readonly fits: readonly FitView[];
}

/** What a way of using a model needs, bytes. */
export interface FitView {
  readonly bits: StoredBits;
  readonly how: string;
  readonly use: 'answering' | 'training';
  readonly what: string;
  readonly weights: number;
  readonly total: number;
  /** Why it does not fit; empty when it does. */
  readonly problems: readonly string[];
}

/** A run on a brought policy that is kept. */
export interface OwnRunView {
  readonly id: string;
  /** What the policy is called. */
  readonly policy: string;
  readonly on: OwnModel['type'];
  readonly measures: readonly OwnMeasure[];
  readonly curves: readonly StageCurves[];
  readonly steps: Readonly<Partial<Record<StageName, number>>>;
  /** Of a complete run. */
  readonly files: readonly SavedFile[];
}

/** Answers to the test questions of a brought policy. */
export interface OwnMeasure {
  readonly title: string;
  readonly right: number;
  readonly of: number;
  readonly promptTokens: number;
  readonly outcomes: readonly { readonly id: string; readonly text: string; readonly right: boolean }[];
}

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
  /** Goes on with what is saved; `fresh` deletes that first. `url` is the address of the base's files. */
  | { readonly type: 'start'; readonly config: RunConfig; readonly fresh: boolean; readonly base: BaseName; readonly url: string }
  | { readonly type: 'pause' }
  /** Drops a complete run from those that are compared. */
  | { readonly type: 'forget'; readonly id: string };

export type FromTrain =
  /** The answer to `open`. `adapter` is a failure when there is none; `saved` is a run that was begun earlier, or what is wrong with it; `curves` are of its stages. */
  | { readonly type: 'opened'; readonly adapter: AdapterView | Failure; readonly keepsFiles: boolean; readonly saved?: SavedRun | Failure; readonly curves: readonly StageCurves[] }
  | { readonly type: 'loading'; readonly done: number; readonly of: number }
  | { readonly type: 'event'; readonly event: RunEvent }
  /** Bytes of buffers that are alive on the GPU. */
  | { readonly type: 'memory'; readonly bytes: number }
  | { readonly type: 'sample'; readonly sample: SampleView }
  | { readonly type: 'runs'; readonly runs: readonly RunSummary[] }
  | { readonly type: 'paused' }
  | { readonly type: 'finished'; readonly report: FinishedRun }
  | { readonly type: 'failed'; readonly failure: Failure };

/** All rollouts of one question of an RL step. */
export interface SampleView {
  readonly title: string;
  readonly step: number;
  readonly scene: SceneView;
  readonly completions: readonly SampledCompletion[];
}

/** A complete run, for comparing. */
export interface RunSummary {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly finishedAt: number;
  readonly config: RunConfig;
  /** Runs of 0.1 did not keep it. */
  readonly base?: BaseName;
  readonly stages: readonly StageResult[];
  /** Of RL stages. */
  readonly rewards: readonly { readonly title: string; readonly points: readonly (readonly [step: number, value: number])[] }[];
}

/** Accuracy of a stage on unseen pictures, without the policy, with its 95 % interval. */
export interface StageResult {
  readonly stage: StageName;
  readonly title: string;
  readonly accuracy: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
  /** GTAPolicy's scores. */
  readonly calls?: CallScores;
}

/** What is saved of a chart (see `chartsOf`). */
export interface StageCurves {
  readonly stage: StageName;
  readonly chart: string;
  readonly rows: readonly Row[];
}

export interface SavedRun {
  readonly config: RunConfig;
  readonly base: BaseName;
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
