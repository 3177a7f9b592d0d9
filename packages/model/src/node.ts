// What needs Node: files, image decoding, downloads.
export { writeFileAtomic } from './node/atomic-write.ts';
export { decodeImage } from './node/decode-image.ts';
export { downloadFile, type DownloadOptions } from './node/download.ts';
export { fileSource, folderFiles } from './node/file-source.ts';
export { saveAdapter, saveCheckpoint, writeSafetensors, type SavedTensor } from './node/save.ts';
export { saveOnnx } from './node/save-onnx.ts';
export { downloadModel, type DownloadModelOptions } from './node/download-model.ts';
