/** @file The production build of the page, served on loopback, and a Chromium to look at it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { build, preview } from 'vite';
import { baseFolder, missingBaseFiles } from '../vite-base.ts';

const HOME = fileURLToPath(new URL('..', import.meta.url));
/** Ignored by git. */
const OUT = join(HOME, '.cache', 'site');
const SCREENSHOTS = join(HOME, '.cache', 'screenshots');

export interface Site {
  readonly address: string;
  /** Sizes of the scripts by the first part of their names, in bytes. */
  readonly scripts: ReadonlyMap<string, { readonly raw: number; readonly gzip: number }>;
  close(): Promise<void>;
}

export async function serveSite(): Promise<Site> {
  const missing = missingBaseFiles();
  if (missing.length > 0) throw new Error(`This test needs the tiny base: ${baseFolder()} has no ${missing.join(', ')}. Train it with the scripts of packages/pipeline, or set TRIMPI_BASE to a folder that has them.`);
  // vitest sets `test`, with which libraries keep their checks for development.
  process.env['NODE_ENV'] = 'production';
  await build({ root: HOME, configFile: join(HOME, 'vite.config.ts'), logLevel: 'error', build: { outDir: OUT, emptyOutDir: true } });
  const server = await preview({ root: HOME, configFile: join(HOME, 'vite.config.ts'), logLevel: 'error', build: { outDir: OUT }, preview: { port: 4610, strictPort: false } });
  const assets = join(OUT, 'assets');
  const scripts = readdirSync(assets).filter((f) => f.endsWith('.js')).map((f) => [f.replace(/-[\w-]{8}\.js$/, ''), { raw: statSync(join(assets, f)).size, gzip: gzipSync(readFileSync(join(assets, f))).length }] as const);
  return { address: server.resolvedUrls!.local[0]!, scripts: new Map(scripts), close: () => server.close() };
}

/** The machine's Chromium with WebGPU on the CPU, or with none. */
export async function openBrowser(webGpu: boolean): Promise<Browser> {
  // By address and not by an import: scripts/ belongs to the repository and to no package.
  const { findChromium } = (await import(new URL('../../../scripts/lib/system.mjs', import.meta.url).href)) as { findChromium(): string | undefined };
  const executablePath = findChromium();
  if (executablePath === undefined || !existsSync(executablePath)) throw new Error('This test needs Chromium. Run: npm run doctor');
  return chromium.launch({
    executablePath,
    args: [
      '--headless=new', '--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run',
      ...(webGpu ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'] : ['--disable-blink-features=WebGPU']),
    ],
  });
}

/** A page that remembers what should not happen: errors on the console, requests to other origins. */
export async function openPage(browser: Browser, address: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<{ page: Page; context: BrowserContext; complaints: string[] }> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') complaints.push(`console ${m.type()}: ${m.text()}`);
  });
  page.on('pageerror', (e) => complaints.push(`error: ${e.message}`));
  context.on('request', (r) => {
    const { origin, protocol } = new URL(r.url());
    if (protocol !== 'data:' && protocol !== 'blob:' && origin !== new URL(address).origin) complaints.push(`request to ${r.url()}`);
  });
  context.on('response', (r) => {
    if (r.status() >= 400) complaints.push(`${r.status()} for ${r.url()}`);
  });
  return { page, context, complaints };
}

/** What axe finds wrong, in words. */
export async function axeViolations(page: Page): Promise<string[]> {
  await page.evaluate(readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8'));
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(context: object, options: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }> } };
    const { violations } = await axe.run({ exclude: [['iframe']] }, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html} ${n.failureSummary ?? ''}`));
  });
}

/** The whole page, or what the window shows of it around an element. */
export async function screenshot(page: Page, name: string, around?: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.evaluate((selector) => (selector === undefined ? scrollTo({ top: 0, behavior: 'instant' }) : document.querySelector(selector)?.scrollIntoView({ behavior: 'instant' })), around);
  // What was scrolled to has been drawn.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: around === undefined });
}
