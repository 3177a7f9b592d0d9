/**
 * @file The last checkpoints of a training, each one file with all that is needed to go on: weights, adapter and moments
 * of what is trained, the trainer's state (data position, random state, objective), and the caller's own data.
 */
import { bytesSource, floatTensor, SafetensorsFile, serializeSafetensors, type TensorData, type VisionLanguageModel } from '@trimpi/model';
import { TrainerError } from './errors.ts';
import { missingFromState, readTrainingState, type StateArray, writeTrainingState } from './optimizer.ts';
import type { Trainer, TrainerState } from './state.ts';

/** Where checkpoints go. Names are plain file names. */
export interface CheckpointFiles {
  /** The file's bytes, or null when there is none. */
  read(file: string): Promise<Uint8Array | null>;
  /** Replaces the file as a whole: after a failure, or a kill in the middle, the old one is still there. */
  write(file: string, data: Uint8Array): Promise<void>;
}

export interface CheckpointOptions {
  /** How many are kept. Default 2. */
  readonly keep?: number;
  /** Begins the names of the files. Default `checkpoint`. */
  readonly name?: string;
  /** Told about a file that is damaged, when an older one is taken instead. */
  readonly onDamaged?: (file: string, reason: string) => void;
}

/** What a checkpoint says besides its tensors. */
export interface CheckpointInfo {
  readonly trainer: TrainerState;
  /** The caller's own data: any JSON. */
  readonly extra: unknown;
}

interface Entry {
  readonly file: string;
  /** From 1; 0 of a damaged file. */
  readonly serial: number;
}

interface Header {
  readonly format: 1;
  readonly serial: number;
  readonly trainer: TrainerState;
  readonly extra: unknown;
}

/**
 * A ring of `keep` files (`checkpoint-0.safetensors` ...) and an index (`checkpoints.json`). The oldest file is replaced
 * by the newest checkpoint, then the index: whenever the process ends, at least `keep - 1` checkpoints are whole, and
 * with `keep` 1 the one before is, until the new one has taken its place. Where the index is gone, or was not written
 * before the process ended, the files themselves say which is the newest.
 */
export class Checkpoints {
  readonly #files: CheckpointFiles;
  readonly #keep: number;
  readonly #name: string;
  readonly #onDamaged: (file: string, reason: string) => void;
  #entries: readonly Entry[] | undefined;

  constructor(files: CheckpointFiles, { keep = 2, name = 'checkpoint', onDamaged = () => undefined }: CheckpointOptions = {}) {
    if (!Number.isInteger(keep) || keep < 1) throw new TrainerError('invalid-option', 'keep', `is ${keep}.`, 'Keep at least one checkpoint.');
    this.#files = files;
    this.#keep = keep;
    this.#name = name;
    this.#onDamaged = onDamaged;
  }

  async save(model: VisionLanguageModel, trainer: Trainer, extra: unknown = null): Promise<void> {
    const entries = await this.#index();
    const serial = Math.max(0, ...entries.map((e) => e.serial)) + 1;
    const file = `${this.#name}-${serial % this.#keep}.safetensors`;
    const tensors = new Map([...(await readTrainingState(model))].map(([name, data]) => [name, tensorOf(data)] as const));
    const header: Header = { format: 1, serial, trainer: trainer.state(), extra };
    await this.#files.write(file, serializeSafetensors(tensors, { format: 'pt', state: JSON.stringify(header) }));
    this.#entries = [{ file, serial }, ...entries.filter((e) => e.file !== file)].slice(0, this.#keep);
    await this.#files.write(`${this.#name}s.json`, new TextEncoder().encode(JSON.stringify(this.#entries)));
  }

  /**
   * Puts the newest whole checkpoint into model and trainer; null when there is none. `accept` may refuse one (of another
   * stage): null then. Throws `invalid-checkpoint` when all that are there are damaged or belong to another model.
   */
  async restore(model: VisionLanguageModel, trainer: Trainer, accept: (info: CheckpointInfo) => boolean = () => true): Promise<CheckpointInfo | null> {
    const damaged: string[] = [];
    let newest: { readonly header: Header; readonly tensors: Map<string, StateArray>; readonly file: string } | undefined;
    for (const { file } of await this.#index()) {
      const bytes = await this.#files.read(file);
      if (bytes === null) continue;
      try {
        newest = { ...(await open(bytes, file)), file };
        break;
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        damaged.push(`${file} (${reason})`);
        this.#onDamaged(file, reason);
      }
    }
    if (newest === undefined) {
      if (damaged.length === 0) return null;
      throw new TrainerError('invalid-checkpoint', damaged.join(', '), 'is damaged, and no older checkpoint is there.', 'Delete it to begin again.');
    }
    const info = { trainer: newest.header.trainer, extra: newest.header.extra };
    if (!accept(info)) return null;
    // Neither model nor trainer is touched unless both take it.
    const bad = missingFromState(model, newest.tensors);
    if (bad.length > 0) throw new TrainerError('invalid-checkpoint', newest.file, `does not fit what is trained (${bad.join(', ')}).`, 'Use the settings it was made with, or delete it to begin again.');
    trainer.restore(info.trainer);
    writeTrainingState(model, newest.tensors);
    return info;
  }

  /** Newest first. */
  async #index(): Promise<readonly Entry[]> {
    if (this.#entries !== undefined) return this.#entries;
    const bytes = await this.#files.read(`${this.#name}s.json`);
    this.#entries = (bytes === null ? undefined : entriesOf(bytes)) ?? (await this.#found());
    return this.#entries;
  }

  /** What the files say themselves. Damaged ones come first: each may have been the newest, and is told of before another is taken. */
  async #found(): Promise<readonly Entry[]> {
    const found: Entry[] = [];
    for (let i = 0; i < this.#keep; i++) {
      const file = `${this.#name}-${i}.safetensors`;
      const bytes = await this.#files.read(file);
      if (bytes !== null) found.push({ file, serial: await SafetensorsFile.open(bytesSource(bytes, file)).then((safetensors) => headerOf(safetensors, file).serial).catch(() => 0) });
    }
    return found.toSorted((a, b) => (a.serial === 0 || b.serial === 0 ? a.serial - b.serial : b.serial - a.serial));
  }
}

/** Undefined for an index that cannot be read or names nothing. */
function entriesOf(bytes: Uint8Array): readonly Entry[] | undefined {
  try {
    const entries = JSON.parse(new TextDecoder().decode(bytes)) as readonly Entry[];
    return Array.isArray(entries) && entries.length > 0 && entries.every((e) => typeof e.file === 'string' && Number.isInteger(e.serial)) ? entries : undefined;
  } catch {
    return undefined;
  }
}

/** float64 (the reference engine's) is not a type of the file: its bytes are kept. */
function tensorOf(data: StateArray): TensorData {
  return data instanceof Float32Array ? floatTensor(data, [data.length]) : { dtype: 'U8', shape: [data.byteLength], data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

async function open(bytes: Uint8Array, file: string): Promise<{ header: Header; tensors: Map<string, StateArray> }> {
  const safetensors = await SafetensorsFile.open(bytesSource(bytes, file));
  const header = headerOf(safetensors, file);
  const tensors = new Map<string, StateArray>();
  for (const name of safetensors.tensors.keys()) {
    tensors.set(name, safetensors.info(name).dtype === 'U8' ? new Float64Array((await safetensors.readBytes(name)).slice().buffer) : await safetensors.readFloat32(name));
  }
  return { header, tensors };
}

function headerOf(safetensors: SafetensorsFile, file: string): Header {
  const header = JSON.parse(safetensors.metadata['state'] ?? 'null') as Header | null;
  if (header?.format !== 1) throw new TrainerError('invalid-checkpoint', file, 'is not a checkpoint of a training.', 'Delete it to begin again.');
  return header;
}
