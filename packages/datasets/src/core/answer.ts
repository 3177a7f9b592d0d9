/** @file The form of a response: `<think>...</think>` and then one `\boxed{...}`. */

/** A completion taken apart. */
export interface ParsedResponse {
  /** The text inside the think tags, if there is exactly one pair. */
  readonly reasoning: string | undefined;
  /** The content of the only box outside the thinking, trimmed; undefined when there is none or more than one. */
  readonly answer: string | undefined;
  /** One pair of think tags at the start, exactly one box after it, nothing after the box. */
  readonly wellFormed: boolean;
}

interface Box {
  readonly content: string;
  readonly end: number;
}

const OPEN = '\\boxed{';

/** All `\boxed{...}` of a text with balanced braces; braces inside JSON strings do not count. */
export function findBoxes(text: string): Box[] {
  const boxes: Box[] = [];
  let from = text.indexOf(OPEN);
  while (from !== -1) {
    const start = from + OPEN.length;
    let end = closingBrace(text, start, true);
    if (end === -1) end = closingBrace(text, start, false);
    if (end === -1) break;
    boxes.push({ content: text.slice(start, end), end: end + 1 });
    from = text.indexOf(OPEN, end);
  }
  return boxes;
}

function closingBrace(text: string, start: number, strings: boolean): number {
  let depth = 1;
  let quoted = false;
  for (let i = start; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '\\') i++;
      else if (c === '"') quoted = false;
    } else if (strings && c === '"') quoted = true;
    else if (c === '{') depth++;
    else if (c === '}' && --depth === 0) return i;
  }
  return -1;
}

/** Takes a completion apart. Never throws, whatever the text; time is linear in its length. */
export function parseResponse(completion: string): ParsedResponse {
  const text = completion.trim();
  const opens = text.split('<think>').length - 1;
  const closes = text.split('</think>').length - 1;
  const begin = text.indexOf('<think>');
  const end = text.indexOf('</think>');
  const paired = opens === 1 && closes === 1 && begin < end;
  const reasoning = paired ? text.slice(begin + 7, end) : undefined;
  const spoken = outsideThinking(text, begin, end);
  const boxes = findBoxes(spoken);
  const only = boxes.length === 1 && spoken.split(OPEN).length === 2 ? boxes[0] : undefined;
  return {
    reasoning,
    answer: only?.content.trim(),
    wellFormed: paired && begin === 0 && only !== undefined && spoken.slice(only.end).trim() === '',
  };
}

/** What is said outside the thinking. A closing tag without an opening one ends thinking that the prompt began. */
function outsideThinking(text: string, begin: number, end: number): string {
  let rest = end !== -1 && (begin === -1 || end < begin) ? text.slice(end + 8) : text;
  let spoken = '';
  for (;;) {
    const open = rest.indexOf('<think>');
    if (open === -1) return spoken + rest;
    spoken += `${rest.slice(0, open)} `;
    const close = rest.indexOf('</think>', open);
    if (close === -1) return spoken;
    rest = rest.slice(close + 8);
  }
}

/** `<think>reasoning</think>\boxed{answer}` */
export function formatResponse(reasoning: string, answer: string): string {
  return `<think>${reasoning}</think>\\boxed{${answer}}`;
}
