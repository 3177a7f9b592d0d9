/** @file Who imports whom: the rules of docs/architecture.md, checked on the text of the sources. Pure but for `readSources`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';

const PACKAGES = ['rollout', 'datasets', 'runtime', 'model', 'trainers', 'eval', 'pipeline'];

/** The packages each may import. Apps may import all. */
export const ALLOWED = {
  rollout: [],
  datasets: [],
  runtime: [],
  model: ['runtime'],
  trainers: ['rollout', 'model', 'runtime'],
  eval: ['datasets'],
  pipeline: PACKAGES.filter((name) => name !== 'pipeline'),
};

/**
 * Module names that a source imports, re-exports or loads. `erased` are type imports, of which nothing is left at run time.
 * @returns {{ specifier: string, erased: boolean }[]}
 */
export function importsOf(source) {
  const text = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[\s;{}])\/\/[^\n]*/g, '$1');
  const found = [];
  const statement = /(?:^|[\n;}])\s*(?:import|export)\s+(type\s+)?(?:[\w$*{][^'"`;]*?\sfrom\s*|)(['"])([^'"\n]+)\2/g;
  for (const match of text.matchAll(statement)) found.push({ specifier: match[3], erased: match[1] !== undefined });
  for (const match of text.matchAll(/\b(?:import|require)\s*\(\s*(['"])([^'"\n]+)\1/g)) found.push({ specifier: match[2], erased: false });
  return found;
}

/**
 * Breaches of the rules.
 * @param {ReadonlyMap<string, string>} sources path from the root, with forward slashes -> text
 * @param {ReadonlyMap<string, readonly string[]>} declared package folder -> its dependencies in package.json, of every kind
 * @returns {string[]} one line each; empty when all is well
 */
export function findBreaches(sources, declared) {
  const breaches = [];
  const edges = new Map();
  for (const [path, text] of sources) {
    const [group, name] = path.split('/');
    const home = `${group}/${name}`;
    const targets = [];
    for (const { specifier, erased } of importsOf(text)) {
      const ours = /^@trimpi\/([\w-]+)/.exec(specifier)?.[1];
      if (ours !== undefined) {
        if (group === 'packages' && ours === name) breaches.push(`${path}: imports its own package by name; use a relative path`);
        else if (!PACKAGES.includes(ours)) breaches.push(`${path}: imports @trimpi/${ours}, which is no package`);
        else if (group === 'packages' && !(ALLOWED[name] ?? []).includes(ours)) breaches.push(`${path}: ${name} must not import ${ours} (allowed: ${(ALLOWED[name] ?? []).join(', ') || 'nothing of ours'})`);
        else if (!(declared.get(home) ?? []).includes(`@trimpi/${ours}`)) breaches.push(`${path}: imports @trimpi/${ours}, which ${home}/package.json does not declare`);
      } else if (specifier.startsWith('.')) {
        const target = posix.normalize(posix.join(posix.dirname(path), specifier.replace(/\?.*$/, '')));
        if (!target.startsWith(`${home}/`)) breaches.push(`${path}: reaches out of its package with ${specifier}`);
        else if (!erased) {
          const file = [target, `${target}.ts`, `${target}.tsx`, `${target}/index.ts`].find((candidate) => sources.has(candidate));
          if (file !== undefined) targets.push(file);
        }
      }
    }
    edges.set(path, targets);
  }
  for (const circle of findCircles(edges)) breaches.push(`circle: ${[...circle, circle[0]].join(' -> ')}`);
  return breaches;
}

/** One circle for every group of files that reach each other (strongly connected components, Tarjan 1972). */
export function findCircles(edges) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const onStack = new Set();
  const circles = [];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    onStack.add(node);
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) {
        visit(next);
        low.set(node, Math.min(low.get(node), low.get(next)));
      } else if (onStack.has(next)) low.set(node, Math.min(low.get(node), index.get(next)));
    }
    if (low.get(node) !== index.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    for (const member of group) onStack.delete(member);
    if (group.length > 1 || (edges.get(node) ?? []).includes(node)) circles.push(shortestCircle(group, edges));
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
  return circles;
}

/** The shortest way from the first member of a group back to it. */
function shortestCircle(group, edges) {
  const inside = new Set(group);
  const [start] = group;
  const from = new Map([[start, undefined]]);
  const queue = [start];
  for (const node of queue) {
    for (const next of edges.get(node) ?? []) {
      if (next === start) {
        const path = [];
        for (let at = node; at !== undefined; at = from.get(at)) path.unshift(at);
        return path;
      }
      if (inside.has(next) && !from.has(next)) {
        from.set(next, node);
        queue.push(next);
      }
    }
  }
  return group;
}

/** All sources of packages and apps, and what their package.json files declare. */
export function readSources(root) {
  const sources = new Map();
  const declared = new Map();
  for (const group of ['packages', 'apps']) {
    if (!existsSync(join(root, group))) continue;
    for (const name of readdirSync(join(root, group))) {
      const home = join(root, group, name);
      const manifest = join(home, 'package.json');
      if (!existsSync(manifest)) continue;
      const { dependencies = {}, devDependencies = {}, peerDependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8'));
      declared.set(`${group}/${name}`, Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies }));
      for (const folder of ['src', 'test', 'bench']) {
        if (!existsSync(join(home, folder))) continue;
        for (const entry of readdirSync(join(home, folder), { recursive: true, withFileTypes: true })) {
          if (!entry.isFile() || !/\.(ts|tsx|mts)$/.test(entry.name)) continue;
          const path = join(entry.parentPath ?? entry.path, entry.name);
          sources.set(relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8'));
        }
      }
    }
  }
  return { sources, declared };
}

