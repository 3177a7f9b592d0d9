// Host side: configuration, files, positions, images. No WebGPU.
export { ModelError, type ModelErrorCode } from './errors.ts';
export { parseConfig, type ModelConfig, type ModelType, type TorchDtype, type VisionActivation, type VisionConfig } from './config.ts';
export { configToJson } from './config-json.ts';
export { getRopeIndex, type GridThw, type RopeIndex, type RopeIndexConfig } from './rope-index.ts';
export { visionWindows, type VisionWindows } from './windows.ts';
export { blobSource, bytesSource, readText, type ByteSource } from './safetensors/byte-source.ts';
export { DTYPE_BYTES, floatToBfloat16, floatToHalf, fromFloat32, halfToFloat, toFloat32, type Dtype } from './safetensors/dtype.ts';
export { MAX_HEADER_BYTES, type SafetensorsHeader, type TensorInfo } from './safetensors/header.ts';
export { SafetensorsFile } from './safetensors/reader.ts';
export { floatTensor, type LazyTensor, planSafetensors, PT_METADATA, serializeSafetensors, type SafetensorsPlan, type TensorData } from './safetensors/writer.ts';
export { openCheckpoint, WEIGHTS_FILE, WEIGHTS_INDEX_FILE, type Checkpoint } from './safetensors/checkpoint.ts';
export { canonicalKey, publishedKey } from './safetensors/key-layout.ts';
export { directoryHandleFiles, memoryFiles, requireText, type ModelFiles } from './files/model-files.ts';
export { httpFiles, httpSource, type HttpOptions } from './files/http-source.ts';
export { toRgb, type RawImage } from './image/raw-image.ts';
export { decodeImageInBrowser } from './image/decode-browser.ts';
export { smartResize, type Size } from './image/smart-resize.ts';
export { resizeBicubic } from './image/resize-bicubic.ts';
export { defaultPreprocessorConfig, parsePreprocessorConfig, type PreprocessorConfig } from './image/preprocessor-config.ts';
export { patchify, preprocessImage, type PreprocessedImage } from './image/preprocess.ts';
// Tokens and chats.
export { Tokenizer } from './tokenizer.ts';
export type { AddedToken, TokenizerJson } from './tokenizer-json.ts';
export { compileChatTemplate, QWEN_CHAT_TEMPLATE, type ChatMessage, type ChatTemplate, type ChatTemplateOptions, type ContentPart } from './chat.ts';
export type { LossRoles } from './loss-mask.ts';
export { type EncodedChat, type EncodeInput, Processor, type ProcessorInput, type ProcessorOutput } from './processor.ts';
export { stopTokenIds } from './stop-ids.ts';
export { QWEN_PATTERN, QWEN_SPECIAL_TOKENS, qwenTokenizerConfig, trainBpe, WORD_PATTERN, type BpeTrainerOptions } from './bpe-trainer.ts';
// LoRA settings and files.
export { loraConfig, loraConfigToJson, loraScaling, parseLoraConfig, TEXT_TARGETS, type LoraConfig } from './lora/config.ts';
export { linearModules, type LinearModule } from './lora/modules.ts';
export { mergedTensors, mergeInto } from './lora/merge.ts';
export { matchTargets, type LoraTarget } from './lora/targets.ts';
export { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, adapterFiles, readAdapter, type Adapter, type LoraWeights } from './lora/peft-files.ts';

// The model on an engine of @trimpi/runtime.
export { LoraAdapter } from './lora/adapter.ts';
export { type BatchImage, type BatchRow, featureLength, packBatch, type PackedBatch, type PackedVision, type PackOptions, type PixelImage, sharedPrefix, storedImages, type StoredFeatures, type TargetPlace, type TokenSequence } from './vl/batch.ts';
export { type ModelOptions, type Scores, type ScoreOptions, type Trainable, VisionLanguageModel } from './vl/model.ts';
export { sequenceOf } from './vl/sequence.ts';
export { packVisionInputs, recordVisionTower } from './vl/plans.ts';
export { decodeRows, GenerationCache } from './generate/cache.ts';
export type { Completion, StopStrings } from './generate/completion.ts';
export { generate, type GenerateOptions } from './generate/generate.ts';
export { layOutPrompts, type PromptLayout } from './generate/prompts.ts';
export type { CompletionRequest } from './generate/request.ts';
export { type Sampled, Sampler, type SamplerOptions } from './generate/sampler.ts';
// Quantised weights in the layouts of others.
export { dequantiseNbits4, quantiseNbits4, type Nbits4 } from './quant/nbits4.ts';
export { dequantiseNf4, NF4_CODEBOOK, quantiseNf4, type Nf4 } from './quant/nf4.ts';
export type { QuantisationOptions } from './quant/rows.ts';
export { type DeviceLimits, estimate, type Estimate, type EstimateOptions, requireFit } from './estimate.ts';
