// ONNX files of a model, and ONNX Runtime (`onnxruntime-web`, an optional peer dependency) to run them.
export { DECODER_FILE, EMBED_TOKENS_FILE, exportOnnx, type ExportOnnxOptions, type OnnxFile, readOnnxFile, VISION_ENCODER_FILE } from './onnx/export.ts';
export type { OnnxOps } from './onnx/layers.ts';
export type { OnnxBits, OnnxSource, SourceTensor } from './onnx/weights.ts';
export { type OnnxArray, onnxVisionInputs } from './onnx/vision-inputs.ts';
export type { OnnxModelBytes, OnnxSessionOptions, OrtModule, OrtSession, OrtTensor } from './onnx/runtime.ts';
export { type DeviceFeatures, OnnxVisionEncoder, type OnnxVisionEncoderOptions } from './onnx/vision-encoder.ts';
export { type OnnxCache, OnnxDecoder, type OnnxDecoderOptions } from './onnx/decoder.ts';
export { generateOnnx, type GenerateOnnxOptions } from './onnx/generate.ts';
