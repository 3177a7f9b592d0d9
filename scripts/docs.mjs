/**
 * @file `npm run docs`: the documentation as a static site in `.cache/docs/site`. Pages of `docs/`, the READMEs, the API of every
 * package from its docstrings (TypeDoc), and every source file that a page links to, so that no link leaves the site.
 * `npm run docs -- --dev` serves it and rebuilds pages when they are reloaded; `--no-api` leaves the API out.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { build, createServer } from 'vitepress';
import { forSite, linkProblems, markdownPages, sitePath, slug } from './docs-pages.mjs';
import { ROOT } from './lib/run.mjs';

const WORK = join(ROOT, '.cache', 'docs');
const PAGES = join(WORK, 'pages');
const SITE = join(WORK, 'site');
const LANGUAGES = { '.ts': 'ts', '.mjs': 'js', '.json': 'json', '.jsonl': 'json', '.py': 'python', '.md': 'md', '.sh': 'sh' };
const args = process.argv.slice(2);

const problems = markdownPages().flatMap((page) => linkProblems(page));
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);

rmSync(PAGES, { recursive: true, force: true });
writePages();
const packages = readdirSync(join(ROOT, 'packages')).filter((name) => existsSync(join(ROOT, 'packages', name, 'src', 'index.ts')));
if (!args.includes('--no-api')) await writeApi();
writeConfig();
if (args.includes('--dev')) {
  const server = await createServer(PAGES, { port: 5173 });
  await server.listen();
  server.printUrls();
} else {
  await build(PAGES, { outDir: SITE });
  console.log(`${SITE}: ${count(SITE, '.html')} pages. Look at them: npx vitepress preview ${PAGES}, or any web server.`);
}

function write(path, text) {
  const file = join(PAGES, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Pages with their links turned, pictures beside them, and what they link to as pages of their own. */
function writePages() {
  const done = new Set();
  const waiting = new Set(markdownPages().filter((page) => !sitePath(page).startsWith('source/')));
  for (const page of waiting) {
    if (done.has(page)) continue;
    done.add(page);
    const full = join(ROOT, page);
    const target = sitePath(page);
    if (statSync(full).isDirectory()) write(target, `# ${page}\n\n${readdirSync(full).toSorted().map((name) => `- \`${name}\``).join('\n')}\n`);
    else if (/\.(png|svg)$/.test(page)) {
      mkdirSync(dirname(join(PAGES, target)), { recursive: true });
      copyFileSync(full, join(PAGES, target));
    } else if (target.startsWith('source/')) {
      const text = readFileSync(full, 'utf8');
      const fence = '`'.repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map((m) => m[0].length + 1)));
      write(target, `---\neditLink: false\n---\n# ${page}\n\n${fence}${LANGUAGES[extname(page)] ?? 'text'}:line-numbers\n${text.replace(/\n$/, '')}\n${fence}\n`);
    } else write(target, forSite(page, readFileSync(full, 'utf8'), waiting));
  }
}

/** The exported names of every package, from their docstrings. */
async function writeApi() {
  const { Application } = await import('typedoc');
  const tsconfig = join(WORK, 'tsconfig.json');
  const entryPoints = packages.flatMap((name) => ['index.ts', 'node.ts', 'node/index.ts'].map((file) => join(ROOT, 'packages', name, 'src', file)).filter((file) => existsSync(file)));
  writeFileSync(tsconfig, JSON.stringify({ extends: join(ROOT, 'tsconfig.base.json'), compilerOptions: { types: ['node', '@webgpu/types'], typeRoots: [join(ROOT, 'node_modules/@types'), join(ROOT, 'node_modules')] }, files: entryPoints }));
  const app = await Application.bootstrapWithPlugins({
    entryPoints, tsconfig, basePath: join(ROOT, 'packages'), out: join(PAGES, 'api'), plugin: ['typedoc-plugin-markdown'], readme: 'none', name: 'API', skipErrorChecking: true, disableSources: true, githubPages: false,
    excludePrivate: true, excludeInternal: true, logLevel: 'Error', router: 'module', hideBreadcrumbs: true, hidePageHeader: true, useHTMLEncodedBrackets: true, sanitizeComments: true, entryFileName: 'index', parametersFormat: 'table', interfacePropertiesFormat: 'table',
  });
  const project = await app.convert();
  if (project === undefined) throw new Error('TypeDoc could not read the sources. Run: npx tsc --noEmit -p packages/<name>');
  for (const module of project.children ?? []) module.name = `@trimpi/${module.name.replace('/src', '')}`;
  await app.generateOutputs(project);
}

/** Pages of figures, under their own titles. */
function resultPages() {
  const pages = [...readdirSync(join(ROOT, 'docs/results')).filter((name) => name.endsWith('.md')).toSorted().map((name) => `results/${name}`), 'benchmarks.md'].filter((name) => existsSync(join(ROOT, 'docs', name)));
  return pages.map((name) => item(/^# (.+)$/m.exec(readFileSync(join(ROOT, 'docs', name), 'utf8'))?.[1] ?? name, `/${name.replace(/\.md$/, '')}`));
}

function item(text, link) {
  return { text, link };
}

function writeConfig() {
  const config = {
    title: 'TriMPI',
    description: "Multimodal Policy Internalization: a policy into a model's weights, on WebGPU",
    lang: 'en',
    cleanUrls: true,
    vite: { logLevel: 'warn', build: { chunkSizeWarningLimit: 4000 } },
    themeConfig: {
      search: { provider: 'local' },
      nav: [item('Quick start', '/quick-start'), item('The method', '/method'), ...(args.includes('--no-api') ? [] : [item('API', '/api/')])],
      sidebar: [
        { text: 'Use it', items: [item('What it is', '/'), item('Quick start', '/quick-start'), item('Your own policy', '/own-policy'), item('ONNX', '/onnx'), item('The command line', '/apps/cli'), item('The page', '/apps/web')] },
        { text: 'How it works', items: [item('The method', '/method'), item('The arithmetic', '/rollout'), item('Architecture', '/architecture'), item('Kernels', '/kernels')] },
        { text: 'What came of it', items: [item('Results', '/results'), ...resultPages()] },
        { text: 'Packages', items: packages.map((name) => item(`@trimpi/${name}`, `/packages/${name}`)) },
        { text: 'Add', items: [item('A kernel', '/adding/kernel'), item('A model', '/adding/model'), item('An objective', '/adding/objective'), item('A dataset', '/adding/dataset'), item('Contributing', '/contributing')] },
      ],
      outline: [2, 3],
    },
  };
  // Headings get the anchors that the link check knows.
  write('.vitepress/config.mjs', `${slug.toString()}\nexport default { ...${JSON.stringify(config, null, 2)}, markdown: { anchor: { slugify: slug } } };\n`);
  write('package.json', '{ "type": "module" }\n');
}

function count(folder, ending) {
  return readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith(ending)).length;
}
