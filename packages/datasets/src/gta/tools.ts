/** @file The 14 types of tool of the GTA benchmark with the versions that the paper's policy gives them: 32 names. */

/** How an argument is compared: see score/arguments.ts. */
export type ArgumentKind = 'text' | 'int' | 'bool' | 'image';

export interface ToolArgument {
  readonly name: string;
  readonly type: ArgumentKind;
  readonly description: string;
  readonly required: boolean;
  readonly default?: string | number | boolean | null;
}

export interface ToolType {
  readonly name: string;
  readonly category: 'perception' | 'operation' | 'logic' | 'creativity';
  readonly description: string;
  readonly arguments: readonly ToolArgument[];
  /** Number of versions; 0 when the tool has one name without version. */
  readonly versions: number;
}

const required = (name: string, type: ArgumentKind, description: string): ToolArgument => ({ name, type, description, required: true });
const optional = (name: string, type: ArgumentKind, description: string, value: string | number | boolean | null): ToolArgument => ({
  name, type, description, required: false, default: value,
});
const IMAGE = required('image', 'image', 'Name of the image.');
const BBOX = required('bbox', 'text', 'Region as (x1, y1, x2, y2).');

export const TOOLS: readonly ToolType[] = [
  { name: 'Calculator', category: 'logic', versions: 0, description: 'Evaluates one Python expression; functions of the math module may be used.', arguments: [required('expression', 'text', 'The expression.')] },
  { name: 'OCR', category: 'perception', versions: 5, description: 'Reads all text of an image; returns each line with its box.', arguments: [IMAGE] },
  { name: 'CountGivenObject', category: 'logic', versions: 4, description: 'Counts the objects of a kind in an image.', arguments: [IMAGE, required('text', 'text', 'What to count, in English.')] },
  { name: 'ImageDescription', category: 'perception', versions: 5, description: 'Describes an image in a few words.', arguments: [IMAGE] },
  { name: 'GoogleSearch', category: 'operation', versions: 3, description: 'Searches the web and returns the first results.', arguments: [required('query', 'text', 'What to search for.'), optional('k', 'int', 'How many results to return.', 10)] },
  { name: 'RegionAttributeDescription', category: 'perception', versions: 2, description: 'Describes an attribute of a region of an image.', arguments: [IMAGE, BBOX, required('attribute', 'text', 'The attribute to describe.')] },
  { name: 'TextToBbox', category: 'perception', versions: 0, description: 'Finds an object by its description; returns its box and a score.', arguments: [IMAGE, required('text', 'text', 'What to find, in English.'), optional('top1', 'bool', 'Return only the best match.', true)] },
  { name: 'Plot', category: 'logic', versions: 0, description: 'Runs Python code whose function `solution` returns a matplotlib figure.', arguments: [required('command', 'text', 'Markdown block of Python code.')] },
  { name: 'MathOCR', category: 'perception', versions: 0, description: 'Reads the mathematical expressions of an image as LaTeX.', arguments: [IMAGE] },
  { name: 'Solver', category: 'logic', versions: 0, description: 'Runs Python code whose function `solution` solves equations with sympy and returns a string.', arguments: [required('command', 'text', 'Markdown block of Python code.')] },
  { name: 'DrawBox', category: 'operation', versions: 0, description: 'Draws a box on an image.', arguments: [IMAGE, BBOX, optional('annotation', 'text', 'Text beside the box.', null)] },
  { name: 'AddText', category: 'operation', versions: 0, description: 'Writes text on an image.', arguments: [IMAGE, required('text', 'text', 'What to write.'), required('position', 'text', 'A point (x, y), or two letters: l, m, r for the column and t, m, b for the row, such as "mt".'), optional('color', 'text', 'Colour of the text.', 'red')] },
  { name: 'TextToImage', category: 'creativity', versions: 3, description: 'Makes an image from keywords.', arguments: [required('keywords', 'text', 'Keywords, separated by commas.')] },
  { name: 'ImageStylization', category: 'creativity', versions: 3, description: 'Changes an image as an instruction says.', arguments: [IMAGE, required('instruction', 'text', 'What to change.')] },
];

/** The tool type of a name with or without version (`OCR_v3` -> OCR); undefined when there is none. */
export function toolType(name: string): ToolType | undefined {
  const base = name.replace(/_v[1-9]\d*$/, '');
  return TOOLS.find((tool) => tool.name === base && (base === name || tool.versions > 0));
}

/** A call of a tool: the answer of GTAPolicy. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, string | number | boolean>>;
}
