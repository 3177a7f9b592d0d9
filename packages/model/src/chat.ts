/** @file Chat messages, and their rendering by the template of a checkpoint (`@huggingface/jinja`). */
import { Template } from '@huggingface/jinja';
import { ModelError, reasonOf } from './errors.ts';
import type { RawImage } from './image/raw-image.ts';
import { isObject, type JsonObject } from './json-fields.ts';

/** As the templates of Qwen read them: what has a field `image` or `image_url` is an image and what has `video` a video, whatever its `type`. */
export type ContentPart =
  | { readonly type: 'text'; readonly text: string }
  /** An image; without pixels in `image` (a path or an address is not fetched) the next of the list that is given beside the messages. */
  | { readonly type: 'image'; readonly image?: RawImage }
  | { readonly type: 'video' };

/** Further fields, of messages and of parts, go to the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string | readonly ContentPart[];
  readonly tool_calls?: readonly unknown[];
}

export interface ChatTemplateOptions {
  /** End with the opening of an assistant turn. */
  readonly addGenerationPrompt?: boolean;
  /** Write "Picture n: " before every image. */
  readonly addVisionId?: boolean;
}

/** Renders messages; made once for a template. */
export type ChatTemplate = (messages: readonly ChatMessage[], options?: ChatTemplateOptions) => string;

/**
 * Compiles the Jinja source of a chat template.
 * @param variables further values, as `bos_token`.
 * @throws ModelError `invalid-tokenizer`, here for a template that cannot be parsed, later for one that fails; `invalid-input` for content that is none.
 */
export function compileChatTemplate(source: string, variables: Readonly<Record<string, string>> = {}): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw templateError(cause);
  }
  return (messages, options = {}) => {
    const plain = messages.map(plainMessage);
    try {
      return template.render({
        ...variables,
        messages: plain,
        add_generation_prompt: options.addGenerationPrompt ?? false,
        add_vision_id: options.addVisionId ?? false,
      });
    } catch (cause) {
      throw templateError(cause);
    }
  };
}

/** A message as a template sees it. */
export interface PlainMessage extends JsonObject {
  readonly role: string;
  readonly content: string | readonly JsonObject[];
}

/** A message without pixels: an image that has its own is `true`. @throws ModelError `invalid-input` naming what a template would leave out. */
export function plainMessage(message: ChatMessage, index: number): PlainMessage {
  const content: unknown = message.content;
  if (typeof content === 'string') return { ...message, content };
  const at = `messages[${index}].content`;
  if (!Array.isArray(content)) throw new ModelError('invalid-input', { argument: at, value: content, message: 'must be a text or a list of parts', remedy: 'Give an empty text for a message without words.' });
  return {
    ...message,
    content: content.map((part: unknown, j) => {
      if (!isObject(part) || partKind(part) === undefined) throw new ModelError('invalid-input', { argument: `${at}[${j}]`, value: part, message: 'is neither a text nor an image, and would be left out', remedy: "Give parts as { type: 'text', text } or { type: 'image' }." });
      const fields = Object.entries(part).filter(([, value]) => value !== undefined);
      return { ...(partKind(part) === 'text' ? { type: 'text' } : {}), ...Object.fromEntries(fields.map(([key, value]) => [key, key === 'image' && isObject(value) ? true : value])) };
    }),
  };
}

/** What a part is for a template; undefined: nothing. */
export function partKind(part: JsonObject): 'text' | 'image' | 'video' | undefined {
  const has = (key: string) => part[key] !== undefined;
  if (part['type'] === 'image' || has('image') || has('image_url')) return 'image';
  if (part['type'] === 'video' || has('video')) return 'video';
  return typeof part['text'] === 'string' ? 'text' : undefined;
}

function templateError(cause: unknown): ModelError {
  return new ModelError('invalid-tokenizer', { argument: 'chat_template', value: reasonOf(cause), message: 'could not be rendered', remedy: 'Check the template of the checkpoint and the messages.', cause });
}

/**
 * The chat format of Qwen's vision-language models: ChatML turns, a default system turn, and a vision placeholder for
 * every image. Renders the same text as the template of the published checkpoints.
 */
export const QWEN_CHAT_TEMPLATE = [
  '{%- set seen = namespace(images=0, videos=0) -%}',
  "{%- if messages and messages[0]['role'] != 'system' -%}",
  "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}",
  '{%- endif -%}',
  '{%- for turn in messages -%}',
  "{{- '<|im_start|>' + turn['role'] + '\\n' -}}",
  "{%- if turn['content'] is string -%}{{- turn['content'] -}}",
  '{%- else -%}',
  "{%- for part in turn['content'] -%}",
  "{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}",
  '{%- set seen.images = seen.images + 1 -%}',
  "{%- if add_vision_id -%}{{- 'Picture ' ~ seen.images ~ ': ' -}}{%- endif -%}",
  "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}",
  "{%- elif part['type'] == 'video' or 'video' in part -%}",
  '{%- set seen.videos = seen.videos + 1 -%}',
  "{%- if add_vision_id -%}{{- 'Video ' ~ seen.videos ~ ': ' -}}{%- endif -%}",
  "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}",
  "{%- elif 'text' in part -%}{{- part['text'] -}}",
  '{%- endif -%}{%- endfor -%}{%- endif -%}',
  "{{- '<|im_end|>\\n' -}}",
  '{%- endfor -%}',
  "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}",
].join('');
