/** The files of a base that the page serves, and all that a run asks for. */
export const BASE_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'] as const;
