/** @file Which Markdown pages the documentation has, their links and anchors, and where each lands on the site. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { ROOT } from './lib/run.mjs';

/** All Markdown files that people read: tracked, or about to be. */
export function markdownPages() {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: ROOT, encoding: 'utf8' });
  return listed.split('\n').filter((file) => file !== '' && !/(^|\/)(test|node_modules|\.changeset)\//.test(file) && !file.endsWith('CHANGELOG.md') && existsSync(join(ROOT, file)));
}

/** A page without its code blocks, whose text is no Markdown. Lines stay where they are. */
export function prose(markdown) {
  let fence;
  return markdown
    .split('\n')
    .map((line) => {
      const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
      if (fence !== undefined) {
        if (mark !== undefined && mark.startsWith(fence) && line.trim() === mark) fence = undefined;
        return '';
      }
      if (mark !== undefined) fence = mark;
      // A link written out in a code span is none; the length stays, so that places do.
      return mark === undefined ? line.replace(/`[^`]*`/g, (span) => (span.includes('](') ? ' '.repeat(span.length) : span)) : '';
    })
    .join('\n');
}

/** Links and pictures of a page: text, target, line. */
export function linksOf(markdown) {
  const found = [];
  prose(markdown).split('\n').forEach((line, i) => {
    for (const match of line.matchAll(/!?\[((?:[^\][]|\[[^\]]*\])*)\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)) found.push({ text: match[1], target: match[2], line: i + 1 });
  });
  return found;
}

/** The anchor of a heading, as GitHub makes it. */
export function slug(heading) {
  return heading
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/<[^>]+>/g, '')
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

/** All anchors of a page; a heading that comes again gets -1, -2, ... */
export function anchorsOf(markdown) {
  const counts = new Map();
  const anchors = new Set([...markdown.matchAll(/<a (?:id|name)="([^"]+)"/g)].map((m) => m[1]));
  for (const [, heading] of prose(markdown).matchAll(/^#{1,6}\s+(.*?)\s*#*$/gm)) {
    const base = slug(heading);
    const n = counts.get(base) ?? 0;
    counts.set(base, n + 1);
    anchors.add(n === 0 ? base : `${base}-${n}`);
  }
  return anchors;
}

/** A link's target as a path from the root and an anchor; undefined for the web. */
export function resolveTarget(page, target) {
  if (/^[a-z][a-z+.-]*:/i.test(target)) return undefined;
  const [path, anchor] = target.split('#', 2);
  return { file: path === '' ? page : posix.normalize(posix.join(posix.dirname(page), decodeURI(path))).replace(/\/$/, ''), anchor };
}

/** What is wrong with a page's links: files that are not there, headings that are not there, names that the file does not have. */
export function linkProblems(page, markdown = readFileSync(join(ROOT, page), 'utf8')) {
  const problems = [];
  for (const { text, target, line } of linksOf(markdown)) {
    const at = resolveTarget(page, target);
    const complain = (what) => problems.push(`${page}:${line}: ${target}: ${what}`);
    if (at === undefined) {
      if (!URL.canParse(target)) complain('is no address.');
      continue;
    }
    const full = join(ROOT, at.file);
    if (at.file !== page && (at.file.startsWith('..') || !existsSync(full))) {
      complain('there is no such file.');
      continue;
    }
    if (at.file !== page && statSync(full).isDirectory()) continue;
    const content = at.file === page ? markdown : /\.(md|ts|mjs|js|py)$/.test(at.file) ? readFileSync(full, 'utf8') : '';
    if (at.anchor !== undefined && at.anchor !== '' && at.file.endsWith('.md') && !anchorsOf(content).has(at.anchor)) complain('there is no such heading.');
    // `name`(file.ts) promises that the file has the name.
    const name = /^`(\w+)`$/.exec(text)?.[1];
    if (name !== undefined && /\.(ts|mjs|py)$/.test(at.file) && !new RegExp(`\\b${name}\\b`).test(content)) complain(`the file has no ${name}.`);
  }
  return problems;
}

/** Where a file of the repository lands on the site, or undefined when it is copied as it is. */
export function sitePath(file) {
  if (file === 'README.md') return 'readme.md';
  if (file === 'CONTRIBUTING.md') return 'contributing.md';
  const readme = /^(packages|apps)\/([\w-]+)\/README\.md$/.exec(file);
  if (readme !== null) return `${readme[1]}/${readme[2]}.md`;
  if (/^docs\/.*\.(md|png|svg)$/.test(file)) return file.slice('docs/'.length);
  return `source/${file}${statSync(join(ROOT, file)).isDirectory() ? '/index' : ''}.md`;
}

/** Rewrites the links of a page for the site; `used` gets every file that is linked to. */
export function forSite(page, markdown, used) {
  const from = dirname(sitePath(page));
  const lines = markdown.split('\n');
  const shown = prose(markdown).split('\n');
  return lines
    .map((line, i) =>
      shown[i] === ''
        ? line
        : line.replace(/(!?\[(?:[^\][]|\[[^\]]*\])*\]\()([^)\s]+)((?:\s+"[^"]*")?\))/g, (all, before, target, after, offset) => {
            if (shown[i][offset] === ' ') return all;
            const at = resolveTarget(page, target);
            if (at === undefined || !existsSync(join(ROOT, at.file))) return all;
            used.add(at.file);
            const to = posix.relative(from, sitePath(at.file));
            return `${before}${to.startsWith('.') ? to : `./${to}`}${at.anchor === undefined ? '' : `#${at.anchor}`}${after}`;
          }),
    )
    .join('\n');
}
