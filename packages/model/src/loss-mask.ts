/** @file Which tokens of a chat a loss is taken on, by role. */
import type { ChatMessage, ChatTemplate, ChatTemplateOptions } from './chat.ts';
import { ModelError } from './errors.ts';

/** `all`: every token but the visual ones; else the bodies of the turns of these roles, each with its end token. */
export type LossRoles = 'all' | readonly string[];

/** A stretch of the rendered text, in bytes of its UTF-8. */
export interface ByteSpan {
  readonly begin: number;
  readonly end: number;
}

const END = '<|im_end|>';

/**
 * Where the bodies of turns lie in the rendered text: up to and with `<|im_end|>`, so that a model learns to stop; the
 * line break behind belongs to nobody. An assistant's body begins where generation would, another's behind
 * `<|im_start|>role\n`. Found by rendering the chat turn by turn, so that no text inside of a message can pass for a turn.
 * @throws ModelError `unsupported` for a template that is not of this form.
 */
export function bodySpans(messages: readonly ChatMessage[], template: ChatTemplate, options: ChatTemplateOptions, roles: readonly string[]): ByteSpan[] {
  const full = template(messages, options);
  const upTo = (count: number, addGenerationPrompt: boolean) => (count === 0 && !addGenerationPrompt ? '' : template(messages.slice(0, count), { ...options, addGenerationPrompt }));
  return messages.flatMap((message, i) => {
    if (!roles.includes(message.role)) return [];
    const [before, through] = [upTo(i, false), upTo(i + 1, false)];
    const opened = message.role === 'assistant' && i > 0 ? upTo(i, true) : openedBy(`<|im_start|>${message.role}\n`, through, before.length);
    if (opened === undefined || !opened.startsWith(before) || !through.startsWith(opened) || !full.startsWith(through) || !through.trimEnd().endsWith(END)) {
      throw new ModelError('unsupported', { argument: 'chat_template', value: message.role, message: 'does not render turns one after the other, each ended by <|im_end|>', remedy: 'Build the loss mask by hand for this template.' });
    }
    return [{ begin: utf8Length(opened), end: utf8Length(through.trimEnd()) }];
  });
}

/** Text up to and with the first `header` from `from` on; undefined when there is none. */
function openedBy(header: string, text: string, from: number): string | undefined {
  const at = text.indexOf(header, from);
  return at < 0 ? undefined : text.slice(0, at + header.length);
}

const encoder = new TextEncoder();

/** Bytes of the text as the tokenizer sees it: composed (NFC) and in UTF-8. */
export function utf8Length(text: string): number {
  return encoder.encode(text.normalize('NFC')).byteLength;
}

/** 1 for tokens that lie wholly inside of a span. `lengths`: bytes of each token. */
export function maskOfSpans(lengths: readonly number[], spans: readonly ByteSpan[]): Uint8Array {
  const mask = new Uint8Array(lengths.length);
  let at = 0;
  lengths.forEach((length, i) => {
    const end = at + length;
    if (length > 0 && spans.some((span) => at >= span.begin && end <= span.end)) mask[i] = 1;
    at = end;
  });
  return mask;
}
