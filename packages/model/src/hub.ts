// The Hugging Face hub, through @huggingface/hub (an optional peer dependency).
export { hubFiles, listHubFiles, type HubFile, type HubOptions } from './files/hub-files.ts';
