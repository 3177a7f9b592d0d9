/**
 * @file Whether a built package is ready to publish: what would be packed goes through publint and are-the-types-wrong, in memory.
 * `node scripts/check-publish.mjs packages/model apps/cli`
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { checkPackage, Package } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { ROOT } from './lib/run.mjs';

let failed = false;
for (const folder of process.argv.slice(2)) {
  const problems = await problemsOf(join(ROOT, folder));
  for (const problem of problems) console.error(`${folder}: ${problem}`);
  failed ||= problems.length > 0;
}
process.exit(failed ? 1 : 0);

async function problemsOf(home) {
  const manifest = published(JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')));
  const text = JSON.stringify(manifest, null, 2);
  // As `pnpm pack` does: what `files` names, and the licence of the workspace.
  const files = new Map([['package.json', Buffer.from(text)], ['LICENSE', readFileSync(join(ROOT, 'LICENSE'))]]);
  for (const entry of manifest.files ?? []) {
    const path = join(home, entry);
    const names = statSync(path).isDirectory() ? readdirSync(path, { recursive: true }).map(String).filter((name) => statSync(join(path, name)).isFile()).map((name) => `${entry}/${name}`) : [entry];
    for (const name of names) files.set(name.replaceAll('\\', '/'), readFileSync(join(home, name)));
  }
  const problems = [];
  for (const [field, wanted] of [['license', 'Apache-2.0'], ['type', 'module']]) if (manifest[field] !== wanted) problems.push(`${field} is ${manifest[field]}, not ${wanted}.`);
  for (const field of ['description', 'engines', 'files']) if (manifest[field] === undefined) problems.push(`${field} is missing.`);
  if (!files.has('README.md')) problems.push('README.md is not among the files.');
  if (text.includes('workspace:')) problems.push('a dependency of the workspace has no version.');

  const { messages, pkg } = await publint({ pkgDir: home, level: 'suggestion', strict: true, pack: { files: [...files].map(([name, data]) => ({ name: `${home}/${name}`, data })) } });
  problems.push(...messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`));

  if (manifest.exports !== undefined) {
    const inPackage = Object.fromEntries([...files].map(([name, data]) => [`/node_modules/${manifest.name}/${name}`, new Uint8Array(data)]));
    const checked = await checkPackage(new Package(inPackage, manifest.name, manifest.version));
    if (checked.types === false) problems.push('are-the-types-wrong: there are no types.');
    // Node 10 knows no `exports`; sub-paths are not for it.
    else problems.push(...checked.problems.filter((p) => p.resolutionKind !== 'node10').map((p) => `are-the-types-wrong: ${p.kind}${p.entrypoint === undefined ? '' : ` at ${p.entrypoint}`}${p.resolutionKind === undefined ? '' : ` (${p.resolutionKind})`}`));
  }
  return problems;
}

/** The manifest as `pnpm publish` writes it: `publishConfig` in place, versions for the workspace's own packages. */
function published({ publishConfig = {}, ...manifest }) {
  const { access: _, ...over } = publishConfig;
  const versions = (list = {}) => Object.fromEntries(Object.entries(list).map(([name, range]) => [name, range.startsWith('workspace:') ? range.replace('workspace:', '').replace(/^[\^~]?$/, (mark) => `${mark}${manifest.version}`) : range]));
  return { ...manifest, ...over, ...(manifest.dependencies === undefined ? {} : { dependencies: versions(manifest.dependencies) }), ...(manifest.peerDependencies === undefined ? {} : { peerDependencies: versions(manifest.peerDependencies) }), devDependencies: undefined };
}
