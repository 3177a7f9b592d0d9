/** @file A policy tree as an SVG picture, from left to right; yes is the upper branch. */
import { conditionPhrase } from '../clevr/policy/phrases.ts';
import { filterWords } from '../clevr/attributes.ts';
import { caseAnswer, type PolicyTree, type TreeNode } from '../clevr/policy/types.ts';

const ROW = 24;
/** Between a box and the next column. */
const GAP = 34;
const LONGEST = 80;

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

function labelOf(node: TreeNode): string {
  if (node.kind === 'leaf') return caseAnswer(node);
  const text = node.condition.kind === 'exist' ? `any ${[...filterWords(node.condition.filter), ...(node.condition.filter.shape === undefined ? ['object'] : [])].join(' ')}?` : `${conditionPhrase(node.condition).replace('the image contains ', '').replace(' in the image', '').replace(/ \([^()]*\)$/, '')}?`;
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}\u2026` : text;
}

/** An SVG document. Leaves that `reachable` (indices) leaves out are drawn faintly. */
export function treeSvg(tree: PolicyTree, name: string, options: { readonly reachable?: readonly number[] } = {}): string {
  const shapes: string[] = [];
  const texts: string[] = [];
  let row = 0;
  const longest = Math.max(...tree.nodes.map((node) => node.id.length + labelOf(node).length));
  const size = longest * 6 + 12 <= 218 ? 11 : 9;
  const box = Math.max(218, Math.ceil(longest * 4.9) + 16);
  const column = box + GAP;
  const draw = (node: TreeNode, depth: number): number => {
    const x = 16 + depth * column;
    if (node.kind === 'leaf') {
      const y = 48 + row++ * ROW;
      const faint = options.reachable !== undefined && !options.reachable.includes(node.index);
      shapes.push(`<rect x="${x}" y="${y - 9}" width="76" height="18" rx="9" fill="${faint ? '#eceef1' : '#dcefe3'}"/>`);
      texts.push(`<text x="${x + 38}" y="${y + 4}" text-anchor="middle" fill="${faint ? '#9aa1ab' : '#1d5b38'}">${escapeXml(labelOf(node))}</text>`);
      return y;
    }
    const yes = draw(node.yes, depth + 1);
    const no = draw(node.no, depth + 1);
    const y = (yes + no) / 2;
    for (const [to, colour, word] of [[yes, '#2f8f57', 'yes'], [no, '#b4533c', 'no']] as const) {
      const from = x + box;
      const end = x + column;
      shapes.unshift(`<path d="M${from} ${y} C${from + 18} ${y} ${end - 18} ${to} ${end} ${to}" fill="none" stroke="${colour}" stroke-width="1.4"/>`);
      if (Math.abs(to - y) > 10) texts.push(`<text x="${end - 4}" y="${word === 'yes' ? to - 4 : to + 10}" text-anchor="end" fill="${colour}" font-size="8.5">${word}</text>`);
    }
    shapes.push(`<rect x="${x}" y="${y - 10}" width="${box}" height="20" rx="4" fill="#ffffff" stroke="#8d97a5"/>`);
    texts.push(`<text x="${x + 6}" y="${y + 4}" font-size="${size}"><tspan fill="#8d97a5">${node.id} </tspan>${escapeXml(labelOf(node))}</text>`);
    return y;
  };
  draw(tree.root, 0);
  const width = 32 + tree.depth * column + 84;
  const height = 64 + row * ROW;
  const faint = options.reachable !== undefined && options.reachable.length < tree.leaves.length;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fafbfc"/>
<text x="16" y="24" font-size="15" font-weight="600" fill="#22262d">${escapeXml(name)}</text>
<text x="${width - 16}" y="24" text-anchor="end" fill="#5c636e"><tspan fill="#2f8f57">yes</tspan> above, <tspan fill="#b4533c">no</tspan> below${faint ? '; no scene reaches a grey case' : ''}</text>
${shapes.join('\n')}
${texts.join('\n')}
</svg>
`;
}
