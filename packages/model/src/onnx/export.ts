/** @file A checkpoint as ONNX files: vision encoder, embeddings, decoder. */
import type { ModelConfig } from '../config.ts';
import { ModelError } from '../errors.ts';
import { textParameters, visionParameters } from '../vl/parameters.ts';
import { decoderGraph, embeddingGraph } from './decoder-graph.ts';
import type { PlannedFile } from './graph.ts';
import type { OnnxOps } from './layers.ts';
import { visionGraph } from './vision-graph.ts';
import { type OnnxBits, type OnnxSource, OnnxWeights } from './weights.ts';

export interface ExportOnnxOptions {
  /**
   * `standard` (default): operators of ONNX (opset 20) alone, for any runtime. `fused`: also `SimplifiedLayerNormalization`,
   * `RotaryEmbedding` and `GroupQueryAttention` of ONNX Runtime; batches must then be padded on the right.
   */
  readonly ops?: OnnxOps;
  /**
   * 32 (default); 16: matrices stored as float16 and computed with in float32; 4: those of the decoder in blocks of 32
   * (`MatMulNBits` of ONNX Runtime, with either `ops`), the others as for 16.
   */
  readonly bits?: OnnxBits;
  /** Positions that can occur, of tokens; the rotary table is that long. Default: the smaller of the config's and 8192. */
  readonly maxPositions?: number;
  /** Rows or columns of patches that an image can have. Default 512. */
  readonly maxPatchRows?: number;
  /** A model with more bytes of weights gets a second file `<name>.onnx_data` for them. Default 1.5e9 (a file ends at 2 GiB). */
  readonly maxInlineBytes?: number;
}

/** A file of an export: it is made while it is read, one tensor in memory at a time. */
export interface OnnxFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  parts(): AsyncGenerator<Uint8Array>;
}

export const VISION_ENCODER_FILE = 'vision_encoder.onnx';
export const EMBED_TOKENS_FILE = 'embed_tokens.onnx';
export const DECODER_FILE = 'decoder_model_merged.onnx';

/** Lengths of a protobuf message are 31 bits in the readers that are in use; the rest of the file needs some, too. */
const MAX_INLINE_BYTES = 2e9;

/**
 * The ONNX files of a model (IR 10, opset 20), named as transformers.js names its sessions: `vision_encoder.onnx`,
 * `embed_tokens.onnx`, `decoder_model_merged.onnx`, each with an `.onnx_data` beside it when it is large. Qwen2.5-VL,
 * Qwen2-VL and Qwen3-VL; their inputs and outputs are described in docs/onnx.md. A merged adapter: give
 * `await model.tensors({ merge })`.
 * @throws ModelError `not-found`, `tensor-mismatch` before anything is written; `invalid-input` for options out of range,
 * `unsupported` for fused operators on heads that ONNX Runtime does not take.
 */
export async function exportOnnx(source: OnnxSource, config: ModelConfig, options: ExportOnnxOptions = {}): Promise<OnnxFile[]> {
  const { ops = 'standard', bits = 32, maxPositions = Math.min(config.maxPositionEmbeddings, 8192), maxPatchRows = 512, maxInlineBytes = 1.5e9 } = options;
  if (ops !== 'standard' && ops !== 'fused') bad('ops', ops, 'must be standard or fused');
  if (bits !== 32 && bits !== 16 && bits !== 4) bad('bits', bits, 'must be 32, 16 or 4');
  for (const [name, value, most] of [['maxPositions', maxPositions, 2 ** 21], ['maxPatchRows', maxPatchRows, 2 ** 16]] as const) if (!Number.isInteger(value) || value < 1 || value > most) bad(name, value, `must be an integer from 1 to ${most}`);
  if (!(maxInlineBytes >= 0 && maxInlineBytes <= MAX_INLINE_BYTES)) bad('maxInlineBytes', maxInlineBytes, `must be from 0 to ${MAX_INLINE_BYTES}`);
  if (ops === 'fused' && config.headDim % 8 !== 0) throw new ModelError('unsupported', { argument: 'ops', value: ops, message: `takes heads of a multiple of 8, and this model's have ${config.headDim}`, remedy: 'Export with standard operators.' });
  const weights = new OnnxWeights(source);
  for (const { tensor, shape } of [...textParameters(config).parts, ...visionParameters(config).parts]) weights.check(tensor, shape);
  await weights.checkTiedHead(config);
  const others = bits === 32 ? 32 : 16;
  return [
    ...visionGraph(config, weights, { ops, bits: others, maxPatchRows }).files(VISION_ENCODER_FILE, maxInlineBytes),
    ...embeddingGraph(config, weights, others).files(EMBED_TOKENS_FILE, maxInlineBytes),
    ...decoderGraph(config, weights, { ops, bits, maxPositions }).files(DECODER_FILE, maxInlineBytes),
  ].map(fileOf);
}

/** A whole file in memory. */
export async function readOnnxFile(file: OnnxFile): Promise<Uint8Array<ArrayBuffer>> {
  const out = new Uint8Array(file.size);
  let at = 0;
  for await (const part of file.parts()) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}

function fileOf({ name, size, pieces }: PlannedFile): OnnxFile {
  return {
    name,
    size,
    async *parts() {
      for (const piece of pieces) {
        const bytes = piece instanceof Uint8Array ? piece : await piece.read();
        if (!(piece instanceof Uint8Array) && bytes.byteLength !== piece.size) throw new ModelError('tensor-mismatch', { argument: name, value: bytes.byteLength, message: `has a tensor that should take ${piece.size} bytes`, remedy: 'Give the data of whole tensors.' });
        yield bytes;
      }
    },
  };
}

function bad(argument: string, value: unknown, message: string): never {
  throw new ModelError('invalid-input', { argument, value, message, remedy: 'Correct the option.' });
}
