/** @file The policy document: descriptions of the tools, then the rules for calling them. */
import { TOOLS, type ToolType } from '../tools.ts';
import type { GtaRules } from './types.ts';

const INSTRUCTION =
  'You assist a user with tools. Given the user profile, the query, the images and the interaction so far, decide which tool to call next. ' +
  'Choose the name and version of the tool and its arguments by the rules below.';

function names(tool: ToolType, rules: GtaRules): string[] {
  const versions = rules.versions[tool.name];
  return versions === undefined ? [tool.name] : Array.from({ length: versions }, (_, i) => `${tool.name}_v${i + 1}`);
}

function entry(tool: ToolType, rules: GtaRules): string {
  const list = tool.arguments.map((a) => ({ name: a.name, type: a.type, description: a.description, required: a.required, ...(a.required ? {} : { default: a.default }) }));
  return `Type: ${tool.name}\nName Versions: ${names(tool, rules).join(', ')}\nDescription: ${tool.description}\nArguments: ${JSON.stringify(list)}`;
}

/** The rules alone, in blocks `[OCR Tools]:` and `[Additional Tips]:`. */
export function rulesText(rules: GtaRules): string {
  const tools = [...new Set(rules.bullets.map((bullet) => bullet.tool))];
  const blocks = tools.map((tool) => `[${tool} Tools]:\n${rules.bullets.filter((b) => b.tool === tool).map((b) => `- ${b.text}`).join('\n')}`);
  return [...blocks, `[Additional Tips]:\n${rules.tips.map((tip) => `- ${tip.text}`).join('\n')}`].join('\n\n');
}

/** The whole policy document. */
export function policyDocument(rules: GtaRules): string {
  return `${INSTRUCTION}\n\n### Tool Descriptions ###\n\n${TOOLS.map((tool) => entry(tool, rules)).join('\n\n')}\n\n### Tool Calling Rules ###\n\n${rulesText(rules)}`;
}
