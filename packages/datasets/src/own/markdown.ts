/**
 * @file The images of a Markdown text, as CommonMark writes them: `![name](images/a.png)`, with a title, with the file in
 * angle brackets. Every pattern is bounded, so that a text of openings without ends takes no quadratic time.
 */

export interface ImageLink {
  /** Where it begins and ends in the text. */
  readonly start: number;
  readonly end: number;
  /** From 1. */
  readonly line: number;
  /** The file as it is written. */
  readonly name: string;
  /** The file has spaces and stands in no angle brackets, which other programs do not read as an image. */
  readonly spaced: boolean;
}

export interface MarkdownImages {
  readonly links: readonly ImageLink[];
  /** Lines with `![` that begins no image, once for each. */
  readonly strays: readonly { readonly line: number; readonly text: string }[];
}

const OPENING = /!\[[^\]\n]{0,500}\]\([ \t]{0,50}/y;
const BRACKETED = /<([^<>\n]{1,500})>/y;
/** Parentheses in pairs belong to the name. */
const PLAIN = /(?:[^()\s<]|\([^()\s]{0,200}\)){1,500}/y;
const SPACED = /(?:[^()\n<]|\([^()\n]{0,200}\)){1,500}/y;
const TITLE = /(?:[ \t]{1,50}(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'|\([^()\n]{0,500}\)))?[ \t]{0,50}\)/y;
const LAST_TITLE = /[ \t]+(?:"[^"]*"|'[^']*')[ \t]*$/;

/** The images of a text in their order. A backslash before `!` or between `!` and `[` takes the meaning away. */
export function markdownImages(text: string): MarkdownImages {
  const links: ImageLink[] = [];
  const strays: { line: number; text: string }[] = [];
  let line = 1;
  let counted = 0;
  for (let at = text.indexOf('!['); at !== -1; ) {
    for (; counted < at; counted++) if (text.charCodeAt(counted) === 10) line++;
    const found = escaped(text, at) ? 'escaped' : linkAt(text, at);
    if (typeof found === 'object') links.push({ start: at, line, ...found });
    else if (found === undefined) strays.push({ line, text: text.slice(at, at + 60).split('\n', 1)[0]! });
    at = text.indexOf('![', typeof found === 'object' ? found.end : at + 2);
  }
  return { links, strays };
}

function escaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === '\\') slashes++;
  return slashes % 2 === 1;
}

function linkAt(text: string, at: number): Pick<ImageLink, 'end' | 'name' | 'spaced'> | undefined {
  const match = (pattern: RegExp, from: number): RegExpExecArray | undefined => {
    pattern.lastIndex = from;
    return pattern.exec(text) ?? undefined;
  };
  const opening = match(OPENING, at);
  if (opening === undefined) return undefined;
  const from = at + opening[0].length;
  const name = match(BRACKETED, from) ?? match(PLAIN, from);
  const close = name === undefined ? undefined : match(TITLE, from + name[0].length);
  if (name !== undefined && close !== undefined) return { name: name[1] ?? name[0], spaced: false, end: from + name[0].length + close[0].length };
  const loose = match(SPACED, from);
  if (loose === undefined || text[from + loose[0].length] !== ')') return undefined;
  const bare = loose[0].replace(LAST_TITLE, '').trim();
  return bare === '' ? undefined : { name: bare, spaced: true, end: from + loose[0].length + 1 };
}
