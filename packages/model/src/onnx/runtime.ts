/**
 * @file As much of ONNX Runtime's JavaScript interface as is used here. The module is handed in by the caller, because it
 * comes in several builds: `onnxruntime-web` (WebAssembly), `onnxruntime-web/webgpu`, `onnxruntime-node`.
 */
import { ModelError, reasonOf } from '../errors.ts';
import type { OnnxArray } from './vision-inputs.ts';

export interface OrtTensor {
  readonly dims: readonly number[];
  readonly data: unknown;
  readonly location: string;
  readonly gpuBuffer: unknown;
  getData(releaseData?: boolean): Promise<unknown>;
  dispose(): void;
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, never>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

/** `import * as ort from 'onnxruntime-web'` (or a build of it). */
export interface OrtModule {
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options?: never): Promise<OrtSession> };
}

/** A model file in memory, with the data file beside it if there is one. */
export interface OnnxModelBytes {
  readonly model: Uint8Array;
  readonly externalData?: { readonly path: string; readonly data: Uint8Array };
}

export interface OnnxSessionOptions {
  /** Passed on to ONNX Runtime. Default `['wasm']`; with `device` WebGPU on it. onnxruntime-node wants `['cpu']`. */
  readonly executionProviders?: readonly unknown[];
  /** The WebGPU device to run on, such as `engine.device.gpu`: buffers are then shared. Needs `onnxruntime-web/webgpu`. */
  readonly device?: GPUDevice;
}

/** Opens a session whose outputs named in `onDevice` stay on the device. @throws ModelError `io` with what ONNX Runtime says. */
export async function openSession(ort: OrtModule, { model, externalData }: OnnxModelBytes, options: OnnxSessionOptions, onDevice: (output: string) => boolean, outputs: readonly string[]): Promise<OrtSession> {
  const { device } = options;
  const settings = {
    executionProviders: options.executionProviders ?? [device === undefined ? 'wasm' : { name: 'webgpu', device }],
    logSeverityLevel: 3, // It warns of every graph whose shapes are computed on the CPU, which is as it should be.
    ...(device === undefined ? {} : { preferredOutputLocation: Object.fromEntries(outputs.map((name) => [name, onDevice(name) ? 'gpu-buffer' : 'cpu'])) }),
    ...(externalData === undefined ? {} : { externalData: [externalData] }),
  };
  try {
    return await ort.InferenceSession.create(model, settings as never);
  } catch (cause) {
    throw new ModelError('io', { argument: 'ONNX session', value: reasonOf(cause), message: 'could not be opened', remedy: 'Give the file of this export, its .onnx_data if it has one, and a build of ONNX Runtime with the execution provider.', cause });
  }
}

export function toTensor(ort: OrtModule, { data, dims }: OnnxArray): OrtTensor {
  return new ort.Tensor((data instanceof Float32Array ? 'float32' : 'int64') as never, data as never, [...dims]);
}

/** float32 values of a tensor, wherever it is. */
export async function floatsOf(tensor: OrtTensor): Promise<Float32Array> {
  return (tensor.location === 'cpu' ? tensor.data : await tensor.getData()) as Float32Array;
}

/** @throws ModelError `io` with what ONNX Runtime says. */
export async function runSession(session: OrtSession, feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>> {
  try {
    return await session.run(feeds as Readonly<Record<string, never>>);
  } catch (cause) {
    throw new ModelError('io', { argument: 'ONNX session', value: reasonOf(cause), message: 'could not be run', remedy: 'Check that file and configuration belong together, and that positions are below the maxPositions of the export.', cause });
  }
}
