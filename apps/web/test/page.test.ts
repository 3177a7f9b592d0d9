/** @file The page as a visitor uses it, in Chromium: the production build, WebGPU on the CPU, very few steps. */
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodePng } from '@trimpi/datasets';
import { type Adapter, bytesSource, generate, memoryFiles, openCheckpoint, parseConfig, Processor, publishedKey, readAdapter, SafetensorsFile, sequenceOf, stopTokenIds, toFloat32, VisionLanguageModel } from '@trimpi/model';
import { decodeImage, folderFiles } from '@trimpi/model/node';
import { type CallScores, gtaDataset, runDataset } from '@trimpi/pipeline';
import { openDevice, WebGpuEngine } from '@trimpi/runtime';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { axeViolations, openBrowser, openPage, screenshot, serveSite, type Site } from './site.ts';

const DATA = { seed: 7, policies: 1, trainPerPolicy: 8, reasonedPerPolicy: 4, testSize: 8 };
const GTA_RUN = { benchmark: 'gta', ...DATA } as const;
type GtaExample = ReturnType<ReturnType<typeof gtaDataset>['example']>;
const CONFIG = {
  ...DATA, saveSteps: 1,
  vmCpt: { steps: 2, batchSize: 4 }, sft: { steps: 2, batchSize: 4 }, rl: { steps: 2, promptsPerStep: 2, rollouts: 4 },
};

let site: Site;
let browser: Browser;

beforeAll(async () => {
  site = await serveSite();
  browser = await openBrowser(true);
});

afterAll(async () => {
  await browser?.close();
  await site?.close();
});

const withConfig = () => `${site.address}?config=${encodeURIComponent(JSON.stringify(CONFIG))}`;

/** Waits for a state of the page; what the page says instead is part of the failure. */
async function phase(page: Page, wanted: string, timeout = 240_000): Promise<void> {
  const said = async () => `${await page.locator('body').getAttribute('data-phase')}; ${await page.locator('#status').textContent()}; ${await page.locator('#notice').textContent()}`;
  await page.locator(`body[data-phase="${wanted}"]`).waitFor({ timeout }).catch(async () => {
    throw new Error(`The page is not "${wanted}" after ${timeout} ms, but: ${await said()}`);
  });
}

/** NaN when one of the scripts has another name. */
function scriptBytes(names: string[], how: 'raw' | 'gzip'): number {
  return names.reduce((s, n) => s + (site.scripts.get(n) ?? { raw: NaN, gzip: NaN })[how], 0);
}

describe('policies with pictures', () => {
  it('are shown with their pictures, and the larger base is asked', async () => {
    const config = { seed: 3, n: 4, variant: 'm', policies: 1, trainPerPolicy: 4, reasonedPerPolicy: 2, testSize: 4 } as const;
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(`${site.address}?config=${encodeURIComponent(JSON.stringify(config))}`);
    await page.locator('#scenes .scene').nth(3).waitFor();
    expect(await page.getByLabel('Tree depth N').inputValue()).toBe('4');
    expect(await page.getByLabel('Show some values by pictures (M)').isChecked()).toBe(true);

    const [policy] = runDataset(config).policies;
    await page.locator('#policies summary').click();
    const pictures = page.locator('#policies .code canvas');
    expect(await pictures.count()).toBe(policy!.images.length);
    expect(policy!.images.length).toBeGreaterThan(0);
    const [, node, attribute] = /(\S+) (\S+) <image>/.exec(policy!.text)!;
    expect(await pictures.first().getAttribute('aria-label')).toBe(`picture of the ${attribute} ${policy!.tree.nodes.find((n) => n.id === node)!.asked!.value}`);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '6-pictures', '#policies details');

    // A case that none of the first pictures reaches gets some of its own; one that none can reach is said to be so.
    const seen = [0, 1, 2, 3].map((i) => runDataset(config).example('test', i).leafId);
    const rare = policy!.tree.leaves.find((l) => policy!.reachable.includes(l.index) && !seen.includes(l.id))!;
    await page.locator(`#policies [data-node="${rare.id}"]`).press('Enter');
    await page.locator('#scenes-shown').getByText(`3 of 7 pictures come by ${rare.id}`).waitFor();
    expect(new Set(await page.locator('#scenes .scene:visible strong').allTextContents())).toEqual(new Set([await page.locator(`#policies [data-node="${rare.id}"]`).textContent()]));
    const never = policy!.tree.leaves.find((l) => !policy!.reachable.includes(l.index))!;
    await page.locator(`#policies [data-node="${never.id}"]`).press('Enter');
    await page.locator('#scenes-shown').getByText(`No picture reaches ${never.id}`).waitFor();
    expect(await page.locator('#scenes .scene:visible').count()).toBe(7);

    await page.locator('#compare').scrollIntoViewIfNeeded();
    await page.locator('#compare-ask:enabled').waitFor({ timeout: 60_000 });
    await page.getByRole('button', { name: 'Ask both' }).click();
    await page.locator('#compare-status').getByText('to the first token').waitFor({ timeout: 240_000 });
    const [inContext, without] = await page.locator('.answer').all();
    const [[longer], [shorter]] = [await figures(inContext!), await figures(without!)] as [[number, number], [number, number]];
    // A picture takes four cells and two marks instead of its word.
    expect(longer - shorter).toBe(policy!.text.split(' ').length + 5 * policy!.images.length);
    expect(asked.some((path) => path.endsWith('/base-small/model.safetensors'))).toBe(true);
    expect(asked.some((path) => path.endsWith('/base/model.safetensors'))).toBe(false);
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('what is loaded', () => {
  it('keeps the scripts of a visit under 300 kB, and those of a run under 300 kB compressed', () => {
    expect(scriptBytes(['index', 'look', 'train', 'gta', 'compare', 'data', 'bring', 'own-kept'], 'raw')).toBeLessThan(300_000);
    expect(scriptBytes(['index', 'look', 'train', 'train-on', 'uPlot.esm'], 'gzip')).toBeLessThan(300_000);
  });

  it('comes with the notices of what is bundled, in the page and in its workers', async () => {
    const { page, context } = await openPage(browser, site.address);
    await page.goto(site.address);
    const path = await page.getByRole('link', { name: 'licences of what is bundled' }).getAttribute('href');
    const notices = await (await page.request.get(new URL(path!, site.address).href)).text();
    for (const name of ['uplot', 'echarts', 'zrender', '@huggingface/tokenizers']) expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, 'm'));
    // The name says nothing of a licence: its text has to be there.
    expect(notices).toMatch(/Leon Sorokin[^]*WITHOUT WARRANTY OF ANY KIND/);
    await context.close();
  });

  it('is the own origin’s alone: scripts in the page and requests elsewhere are refused', async () => {
    const { page, context } = await openPage(browser, site.address);
    await page.goto(site.address);
    expect(await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content')).toMatch(/^default-src 'none'; script-src 'self'; /);
    const refused = await page.evaluate(async () => {
      const found: string[] = [];
      addEventListener('securitypolicyviolation', (event) => found.push(`${event.effectiveDirective} ${event.blockedURI}`));
      const script = document.createElement('script');
      script.textContent = 'globalThis.ran = true';
      document.head.append(script);
      await fetch('https://elsewhere.invalid/').catch(() => undefined);
      await new Promise((heard) => setTimeout(heard));
      return { found, ran: 'ran' in globalThis };
    });
    expect(refused).toEqual({ found: ['script-src-elem inline', 'connect-src https://elsewhere.invalid/'], ran: false });
    await context.close();
  });
});

describe('a run', () => {
  it('shows the policies, trains, pauses, goes on after a reload, and hands over report and model', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());

    // Look: a tree, pictures, and the pictures of one case.
    await page.locator('#scenes .scene').nth(7).waitFor();
    await phase(page, 'ready');
    expect(await page.locator('#policies .policy').count()).toBe(1);
    expect(await page.locator('#policies .policy .question').allTextContents()).toHaveLength(3);
    const question = page.locator('#policies .policy .yes > .question').first();
    await question.click();
    expect(await page.locator('#scenes .scene:visible').count()).toBe(4);
    expect(await page.locator('#scenes-shown').textContent()).toBe('4 of 8 pictures come by 1.1 of this policy. Choose it again to see all.');
    const leaf = page.locator('#policies .policy .leaf:enabled').first();
    const answer = (await leaf.textContent())!;
    await leaf.press('Enter');
    expect(await leaf.getAttribute('aria-pressed')).toBe('true');
    const shown = page.locator('#scenes .scene:visible');
    expect(await shown.count()).toBe(2);
    expect(await shown.locator('strong').allTextContents()).toEqual([answer, answer]);
    await leaf.press('Enter');
    expect(await shown.count()).toBe(8);
    await screenshot(page, '1-look');

    // Train, and pause when the base has been looked at.
    expect(await page.getByLabel('VM-CPT steps').inputValue()).toBe('2');
    await page.getByRole('button', { name: 'Start' }).click();
    await phase(page, 'running');
    await page.locator('.stage .result strong').nth(1).waitFor({ timeout: 60_000 });
    await page.getByRole('button', { name: 'Pause' }).click();
    await phase(page, 'saved');
    expect(await page.locator('#status').textContent()).toContain('everything is saved');
    expect(await page.locator('.stage .result strong').count()).toBeGreaterThanOrEqual(2);

    // A new page finds the run and goes on with it.
    await page.goto(site.address);
    await phase(page, 'saved');
    expect(await page.getByLabel('Seed').inputValue()).toBe('7');
    expect(await page.getByLabel('Seed').isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('.stage.done').nth(2).waitFor({ timeout: 120_000 });
    await screenshot(page, '2-train');
    // Without a word of warning: the checkpoints are enough.
    await page.reload();
    await phase(page, 'saved');
    await page.locator('.stage.done').nth(2).waitFor();
    expect(await page.locator('.stage.done .chart [role=img]').evaluateAll((all) => all.map((s) => s.getAttribute('aria-label')).slice(0, 2))).toEqual([expect.stringMatching(/^loss at step 2: \d/), expect.stringMatching(/^loss at step 2: \d/)]);
    await page.getByRole('button', { name: 'Resume' }).click();
    await phase(page, 'finished');
    expect(await page.locator('.stage .chart figcaption > :first-child').allTextContents()).toEqual(['loss', 'loss', 'reward', 'accuracy', 'reward by origin', 'accuracy by origin']);

    // Rewards by origin are the trainer's own numbers.
    const byOrigin = page.locator('.stage .chart').filter({ hasText: 'reward by origin' });
    expect(await byOrigin.locator('.legend .name').allTextContents()).toEqual(['all rollouts', 'policy-free', 'policy-aware']);
    await byOrigin.locator('summary').press('Enter');
    await byOrigin.locator('tbody tr').nth(1).waitFor();
    const rows = (await byOrigin.locator('tbody tr').evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent))));
    expect(rows).toEqual((await savedMetrics(page, 'poro-grpo')).map((m) => [String(m['step']), ...['reward', 'reward/free', 'reward/policy'].map((key) => m[key]!.toFixed(3))]));
    // Equally many of both.
    for (const [, all, free, aware] of rows.map((row) => row.map(Number))) expect(Math.abs(all! - (free! + aware!) / 2)).toBeLessThan(0.0015);
    expect(await drawnIn(byOrigin, ['--main', '--no', '--yes'])).toEqual([true, true, true]);
    // The legend has the values where the pointer is, or else the last.
    await byOrigin.locator('.u-over').hover({ position: { x: 2, y: 20 } });
    await byOrigin.locator('figcaption').getByText('step 1', { exact: true }).waitFor();
    expect(await byOrigin.locator('.legend .value').allTextContents()).toEqual(rows[0]!.slice(1));
    await page.getByRole('heading', { name: 'Report' }).first().hover();
    await byOrigin.locator('figcaption').getByText('step 2', { exact: true }).waitFor();
    expect(await byOrigin.locator('.legend .value').allTextContents()).toEqual(rows[1]!.slice(1));

    // Report and files.
    await page.frameLocator('iframe.report').getByRole('heading', { name: 'Accuracy on unseen images' }).waitFor();
    const report = JSON.parse(await download(page, 'report.json')) as Report;
    expect(report.stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft', 'grpo', 'poro-grpo']);
    expect(report).toMatchObject({ seed: 7, chance: 0.25, settings: { testSize: 8, vmCpt: { steps: 2 } } });
    for (const s of [report.inContext, ...report.stages]) {
      expect(s.n).toBe(8);
      expect(s.low).toBeLessThanOrEqual(s.accuracy);
      expect(s.high).toBeGreaterThanOrEqual(s.accuracy);
    }
    expect(numbersIn(report).every(Number.isFinite)).toBe(true);
    expect(report.stages.slice(1).every((s) => s.tokensPerSecond > 0 && s.seconds > 0)).toBe(true);
    const weights = await download(page, 'model/model.safetensors', 'latin1');
    expect(weights).toContain('embed_tokens.weight');
    expect(JSON.parse(await download(page, 'adapter/adapter_config.json'))).toMatchObject({ r: 8, peft_type: 'LORA' });

    // Compare: the last stage answers without the policy, with fewer tokens; what both cite is marked.
    await page.locator('#compare').scrollIntoViewIfNeeded();
    const ask = page.getByRole('button', { name: 'Ask both' });
    await page.locator('#compare-ask:enabled').waitFor();
    expect(await page.getByLabel('Trained model').locator('option').allTextContents()).toEqual(['PolicyRollout on GRPO', 'GRPO, no policy in the rollouts', 'CoT SFT (LoRA)', 'VM-CPT']);
    const pictured = await page.locator('#compare-scene canvas').evaluate((c: HTMLCanvasElement) => c.toDataURL());
    await page.getByRole('button', { name: 'Next scene' }).click();
    await page.waitForFunction((before) => document.querySelector<HTMLCanvasElement>('#compare-scene canvas')?.toDataURL() !== before, pictured);
    await ask.click();
    await page.locator('#compare-status').getByText('to the first token').waitFor({ timeout: 90_000 });
    const [inContext, without] = await page.locator('.answer').all();
    const [[longer, ms], [shorter]] = [await figures(inContext!), await figures(without!)] as [[number, number], [number, number]];
    // Policy text of a tree with three questions and four cases: 4 + 3 * 7 words, each one token.
    expect(longer - shorter).toBe(25);
    expect(ms).toBeGreaterThan(0);
    for (const side of [inContext!, without!]) expect(await side.locator('.verdict').textContent()).toMatch(/^(right|wrong)$/);
    const cited = await inContext!.locator('mark').allTextContents();
    expect(cited[0]).toBe('1');
    expect((await inContext!.locator('.cited').evaluateAll((nodes) => nodes.map((n) => (n as HTMLElement).dataset['node']))).toSorted()).toEqual([...new Set(cited)].toSorted());

    // The model in another form.
    await page.getByLabel('Precision').selectOption('4');
    await page.getByRole('button', { name: 'Make ONNX files' }).click();
    await page.locator('#bring-status').getByText('ONNX files are ready').waitFor();
    expect((await download(page, 'decoder_model_merged.onnx', 'latin1')).slice(0, 2)).toBe('\b\n');

    // For everyone.
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '3-report');
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await axeViolations(page)).toEqual([]);
    expect(await drawnIn(byOrigin, ['--main', '--no', '--yes'])).toEqual([true, true, true]);
    await screenshot(page, '4-dark');
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(await axeViolations(page)).toEqual([]);
    for (const part of ['look', 'train', 'report', 'compare', 'bring']) await screenshot(page, `5-phone-${part}`, `#${part}`);

    const html = await download(page, 'report.html');
    const alone = await context.newPage();
    await alone.setViewportSize({ width: 360, height: 740 });
    await alone.setContent(html);
    expect(await axeViolations(alone)).toEqual([]);

    expect(complaints).toEqual([]);
    await context.close();
  }, 600_000);
});

function chosen(page: Page, folder: string): Promise<void> {
  return page.getByLabel('Drop a folder here, or choose one').setInputFiles(folder);
}

function told(page: Page, text: string, timeout = 180_000): Promise<void> {
  const status = page.locator('#bring-status');
  return status.getByText(text).waitFor({ timeout }).catch(async () => {
    throw new Error(`Bring does not say "${text}", but: ${await status.textContent()}`);
  });
}

/** Makes the files of the brought checkpoint in a form. */
async function take(page: Page, form: string): Promise<void> {
  await page.getByLabel('Form').selectOption(form);
  await page.getByRole('button', { name: 'Make the files' }).click();
  await told(page, 'files are ready');
}

describe('stages, objectives and frames', () => {
  it('trains what is chosen, shows completions and memory, keeps runs to compare, and stays smooth', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'ready');
    await page.getByLabel('VM-CPT', { exact: true }).uncheck();
    expect(await page.getByLabel('VM-CPT steps').inputValue()).toBe('0');
    await page.getByLabel('GRPO', { exact: true }).uncheck();
    await page.getByLabel('PolicyRollout on DAPO').check();
    await page.getByLabel('RL steps').fill('3');
    await page.evaluate(watchFrames);
    await browser.startTracing(page, { categories: ['disabled-by-default-devtools.timeline', '__metadata'] });
    await page.getByRole('button', { name: 'Start' }).click();
    await phase(page, 'running');
    await page.locator('.sample').first().waitFor({ timeout: 120_000 });
    expect(await page.locator('.sample').first().locator('.said-all li').count()).toBe(4);
    await page.locator('.stage .quiet').getByText('MiB on the GPU').first().waitFor({ state: 'attached' });
    await phase(page, 'finished', 400_000);
    const frames = await page.evaluate(() => (globalThis as unknown as Watched).frames);
    const tasks = mainThreadTasks(await browser.stopTracing());
    const largest = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), 0);
    console.log(`frames while training: ${frames.length}, median ${frames.toSorted((a, b) => a - b)[frames.length >> 1]!.toFixed(1)} ms, longest ${largest(frames).toFixed(0)} ms, over 50 ms: ${frames.filter((f) => f > 50).length}; longest task of the page's thread: ${largest(tasks).toFixed(0)} ms of processor time, over 50 ms: ${tasks.filter((t) => t > 50).length} of ${tasks.length}`);
    // Without a GPU, training and drawing share the processor, so frames wait for it; what the page itself takes does not
    // depend on that. The browser's own work (collecting garbage) may be among the tasks; training there would be most of them.
    expect(frames.length).toBeGreaterThan(100);
    expect(frames.filter((f) => f > 50).length / frames.length).toBeLessThan(0.05);
    expect(tasks.length).toBeGreaterThan(1000);
    expect(tasks.filter((t) => t > 50).length).toBeLessThanOrEqual(1);

    expect(await page.locator('.stage h3').allTextContents()).toEqual(['Base done', 'VM-CPT done', 'CoT SFT (LoRA) done', 'PolicyRollout on GRPO done', 'PolicyRollout on DAPO done']);
    const runs = page.locator('#runs');
    await runs.getByText('Run 1').first().waitFor();
    expect(await runs.locator('.chart .legend .name').allTextContents()).toEqual(['Run 1, PolicyRollout on GRPO', 'Run 1, PolicyRollout on DAPO']);
    expect(await runs.locator('tbody tr').count()).toBe(5);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '10-runs', '#samples');
    // It is still there in the next visit, and goes when it is not wanted.
    await page.reload();
    await runs.getByRole('button', { name: 'Forget run 1' }).click();
    await page.getByRole('dialog').waitFor();
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '22-sure', 'dialog');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await runs.isVisible()).toBe(true);
    await runs.getByRole('button', { name: 'Forget run 1' }).click();
    await page.getByRole('button', { name: 'Delete the run' }).click();
    await runs.waitFor({ state: 'hidden' });
    expect(complaints).toEqual([]);
    await context.close();
  }, 600_000);
});

interface Watched {
  frames: number[];
}

/** In the page: time between frames, from now on. */
function watchFrames(): void {
  const watched = globalThis as unknown as Watched;
  watched.frames = [];
  let last = performance.now();
  const look = (now: number): void => {
    if (now > last) watched.frames.push(now - last);
    last = now;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** Processor time, in milliseconds, of each task of a traced page's main thread: what it takes itself, however long it waits for a processor. */
function mainThreadTasks(trace: Buffer): number[] {
  interface Event { readonly name: string; readonly pid: number; readonly tid: number; readonly tdur?: number; readonly args?: { readonly name?: string } }
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: Event[] };
  const threads = new Set(traceEvents.filter((e) => e.name === 'thread_name' && e.args?.name === 'CrRendererMain').map((e) => `${e.pid} ${e.tid}`));
  return traceEvents.flatMap((e) => (e.name === 'RunTask' && e.tdur !== undefined && threads.has(`${e.pid} ${e.tid}`) ? [e.tdur / 1000] : []));
}

describe('GTAPolicy', () => {
  it('shows tools, rules, and the calls that a rule decides', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await page.locator('#scenes .scene').nth(7).waitFor();
    await phase(page, 'ready');
    // Its scripts come when somebody scrolls there.
    expect(page.workers().map((w) => new URL(w.url()).pathname.replace(/.*\/|-.*/g, '')).toSorted()).toEqual(['look', 'train']);
    await page.locator('#gta').scrollIntoViewIfNeeded();
    await page.locator('#gta-shown').getByText('calls of the test set').waitFor({ timeout: 60_000 });
    // 14 tools and what holds for all.
    expect(await page.locator('#gta-rules .policy').count()).toBe(15);
    expect(await page.locator('#gta-rules button').count()).toBe(24);
    const rule = page.getByRole('button', { name: 'OCR.4' });
    await rule.press('Enter');
    expect(await rule.getAttribute('aria-pressed')).toBe('true');
    const calls = page.locator('#gta-calls > li:visible');
    expect(await calls.count()).toBeGreaterThan(0);
    for (const text of await calls.allTextContents()) expect(text).toContain('MathOCR(');
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '11-gta', '#gta');
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('before anything is trained', () => {
  it('lets the base answer with the policy and without, and says that it is the base', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'ready');
    await page.locator('#compare').scrollIntoViewIfNeeded();
    await page.locator('#compare-status').getByText('Nothing is trained yet').waitFor();
    const ask = page.getByRole('button', { name: 'Ask both' });
    await ask.press('Enter');
    await page.locator('#compare-status').getByText('The base without the policy is').waitFor({ timeout: 90_000 });
    expect(await ask.evaluate((button) => button === document.activeElement)).toBe(true);
    expect(await page.locator('.answer h3').allTextContents()).toEqual(['Base, with the policy in its prompt', 'Not trained yet: base, without the policy']);
    await screenshot(page, '12-compare', '#compare');
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('a run on GTAPolicy', () => {
  /** Small, and one objective of RL. */
  const SMALL = { ...GTA_RUN, trainPerPolicy: 2, reasonedPerPolicy: 1, testSize: 2, saveSteps: 1, vmCpt: { steps: 1, batchSize: 1 }, sft: { steps: 1, batchSize: 1 }, rl: { steps: 1, promptsPerStep: 1, rollouts: 2, maxNewTokens: 8 }, arms: ['poro-grpo'] };

  it('can be chosen in the form: what belongs to ClevrPolicy goes, the small base comes, and back', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await page.locator('#scenes .scene').nth(7).waitFor();
    await phase(page, 'ready');
    const dataset = page.getByLabel('Dataset', { exact: true });
    const base = page.getByLabel('Base model');
    expect([await dataset.inputValue(), await base.inputValue()]).toEqual(['clevr', 'tiny']);
    await dataset.selectOption('GTAPolicy');
    expect(await page.locator('#set-base-hint').textContent()).toMatch(/^The tiny base lacks the words of GTAPolicy/);
    expect([await base.inputValue(), await base.locator('option:enabled').count()]).toEqual(['small', 1]);
    for (const label of ['Tree depth N', 'Policies', 'Show some values by pictures (M)']) expect(await page.getByLabel(label, { exact: true }).isVisible(), label).toBe(false);
    expect(await page.getByLabel('VM-CPT steps').inputValue()).toBe('2');

    // Its rules and questions are drawn.
    await page.locator('#policies .policy').nth(6).waitFor();
    const asked = Array.from({ length: 8 }, (_, i) => gtaDataset(GTA_RUN).example('test', i));
    await page.locator('#scenes .scene').nth(7).waitFor();
    expect(await page.locator('#scenes .scene').evaluateAll((all) => all.map((one) => one.querySelectorAll('canvas').length))).toEqual(asked.map((e) => e.images.length));
    expect(await page.locator('#scenes .scene strong').allTextContents()).toEqual(asked.map((e) => e.answer));
    await page.locator('#policies summary').click();
    expect(await page.locator('#policies .code').textContent()).toBe(asked[0]!.policyText);
    // A case that no question shown comes to gets some.
    const { tools } = gtaDataset(GTA_RUN).policy;
    const rare = tools.flatMap((t) => t.cases).find((own) => asked.every((e) => e.leaf !== own.leaf.id))!;
    await page.locator(`#policies [data-node="${rare.leaf.id}"]`).press('Enter');
    await page.locator('#scenes-shown').getByText(`3 of 11 pictures come by ${rare.leaf.id}`).waitFor();
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '17-gta-look', '#look');
    // What is drawn when somebody scrolls by must stand before a place on the page is looked at.
    await page.locator('#gta').scrollIntoViewIfNeeded();
    await page.locator('#gta-shown').getByText('calls of the test set').waitFor({ timeout: 60_000 });
    await screenshot(page, '18-gta-form', '#train');
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    await screenshot(page, '19-gta-phone');
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '19-gta-form-phone', '#train');

    await dataset.selectOption('ClevrPolicy');
    expect([await base.inputValue(), await page.getByLabel('Tree depth N').inputValue(), await page.getByLabel('Policies', { exact: true }).inputValue()]).toEqual(['tiny', '2', '1']);
    expect(await page.getByLabel('Policies', { exact: true }).isEnabled()).toBe(true);
    await page.locator('#policies .policy .question').nth(2).waitFor();
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('trains, goes on after a reload, scores calls, and is asked with the rules and without them', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    const requests: string[] = [];
    page.on('request', (request) => requests.push(new URL(request.url()).pathname));
    await page.goto(`${site.address}?config=${encodeURIComponent(JSON.stringify(SMALL))}`);
    await phase(page, 'ready');
    expect(await page.getByLabel('Dataset', { exact: true }).inputValue()).toBe('gta');
    await page.getByRole('button', { name: 'Start' }).click();
    await phase(page, 'running');
    // Paused in VM-CPT; a new visit goes on from there.
    await page.locator('.stage.done').first().waitFor({ timeout: 120_000 });
    await page.getByRole('button', { name: 'Pause' }).click();
    await phase(page, 'saved');
    await page.goto(site.address);
    await phase(page, 'saved');
    expect([await page.getByLabel('Dataset', { exact: true }).inputValue(), await page.getByLabel('Base model').inputValue(), await page.getByLabel('Policies', { exact: true }).isVisible()]).toEqual(['gta', 'small', false]);
    const scores = /tool \d+\.\d %, arguments \d+\.\d %, overall \d+\.\d %/;
    expect(await page.locator('.stage.done .result').first().textContent()).toMatch(scores);
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('.sample').first().waitFor({ timeout: 120_000 });
    await phase(page, 'finished');
    expect(basesOf(requests)).toEqual(['base-small']);
    expect(await page.locator('.stage .chart figcaption > :first-child').allTextContents()).toEqual(['loss', 'loss', 'reward by origin', 'accuracy by origin']);
    expect(await page.locator('.sample .stack canvas').count()).toBeGreaterThan(0);

    const report = JSON.parse(await download(page, 'report.json')) as Report & { readonly title: string };
    expect(report.title).toContain('GTAPolicy');
    expect(report.settings).toMatchObject({ benchmark: 'gta', testSize: SMALL.testSize });
    expect(report.settings).not.toHaveProperty('policies');
    expect(report.stages.map((s) => s.name)).toEqual(['base', 'vm-cpt', 'cot-sft', 'poro-grpo']);
    for (const { calls } of [report.inContext, ...report.stages]) expect(calls!.overall).toBeCloseTo((calls!.tool + calls!.arguments) / 2, 10);
    await page.frameLocator('iframe.report').getByRole('columnheader', { name: 'Overall' }).first().waitFor();
    const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
    const last = report.stages.at(-1)!.calls!;
    const line = `tool ${percent(last.tool)}, arguments ${percent(last.arguments)}, overall ${percent(last.overall)}`;
    expect(await page.locator('.stage .result').last().textContent()).toContain(line);
    expect(await page.locator('#runs').textContent()).toContain('small base, seed 7, GTAPolicy, 1 + 1 + 1 steps');
    expect(await page.locator('#runs tbody td').last().textContent()).toContain(line);

    // Compare: the base reads all rules; of the trees those are shown that decide or are cited.
    await page.locator('#compare').scrollIntoViewIfNeeded();
    await page.locator('#compare-ask:enabled').waitFor();
    const [first, second] = [0, 1].map((i) => gtaDataset(GTA_RUN).example('test', i)) as [GtaExample, GtaExample];
    await page.locator('#compare-scene').getByText(first.query).waitFor();
    await page.getByRole('button', { name: 'Next scene' }).click();
    await page.locator('#compare-scene').getByText(second.query).waitFor();
    expect(await page.locator('#compare-scene canvas').count()).toBe(second.images.length);
    await page.getByRole('button', { name: 'Ask both' }).click();
    await page.locator('#compare-status').getByText('to the first token').waitFor({ timeout: 90_000 });
    const [inContext, without] = await page.locator('.answer').all() as [Locator, Locator];
    const [[longer], [shorter]] = [await figures(inContext), await figures(without)] as [[number], [number]];
    expect(longer - shorter).toBe(second.policyText.split(' ').length);
    const nodes = new Set(second.policyText.split(' ').filter((word) => /^n\d+$/.test(word)));
    const said = (await inContext.locator('.said').textContent())!.split(/\s+/).filter((word) => nodes.has(word));
    expect(said.length).toBeGreaterThan(0);
    expect((await inContext.locator('.cited:visible').evaluateAll((all) => all.map((n) => (n as HTMLElement).dataset['node']!))).toSorted()).toEqual([...new Set(said)].toSorted());
    expect(await inContext.locator('h4:visible').allTextContents()).toContain(second.tool);
    expect(await inContext.locator('h4:visible').count()).toBeLessThan(7);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '20-gta-compare', '#compare');
    await screenshot(page, '21-gta-train', '#progress');
    expect(complaints).toEqual([]);
    await context.close();
  }, 240_000);
});

/** Folders of the bases whose weights were asked for. */
const basesOf = (paths: readonly string[]) => [...new Set(paths.filter((path) => path.endsWith('model.safetensors')).map((path) => path.split('/').at(-2)))];

describe('the choice of a base', () => {
  it('follows from depth where one base alone knows it, and says why; Compare asks the one that is chosen', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(withConfig());
    await phase(page, 'ready');
    const base = page.getByLabel('Base model');
    expect([await base.inputValue(), await base.locator('option:enabled').count()]).toEqual(['tiny', 2]);
    const ask = async (n: number) => {
      await page.locator('#compare').scrollIntoViewIfNeeded();
      await page.locator('#compare-answers .tree').first().waitFor();
      await page.locator('#compare-ask:enabled').click();
      await page.locator('#compare-status').getByText('to the first token').waitFor({ timeout: 120_000 });
      const [[longer], [shorter]] = [await figures(page.locator('.answer').first()), await figures(page.locator('.answer').last())] as [[number], [number]];
      expect(longer - shorter).toBe(runDataset({ ...DATA, n }).policies[0]!.text.split(' ').length);
    };
    await ask(2);
    expect(basesOf(asked)).toEqual(['base']);

    const depth = page.getByLabel('Tree depth N');
    await depth.fill('4');
    await depth.press('Tab');
    expect([await base.inputValue(), await base.locator('option:enabled').count()]).toEqual(['small', 1]);
    expect(await page.locator('#set-base-hint').textContent()).toBe('The tiny base knows trees of depth 1 to 3, and this one has 4.');
    await page.locator('#policies .policy .question').nth(14).waitFor();
    await ask(4);
    expect(basesOf(asked)).toEqual(['base', 'base-small']);
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('holds for a run, also after loading the page again', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(withConfig());
    await phase(page, 'ready');
    await page.getByLabel('Base model').selectOption('small');
    await page.getByRole('button', { name: 'Start' }).click();
    await phase(page, 'running');
    await page.locator('.stage .result strong').first().waitFor({ timeout: 120_000 });
    await page.getByRole('button', { name: 'Pause' }).click();
    await phase(page, 'saved');
    expect(basesOf(asked)).toEqual(['base-small']);
    await page.goto(site.address);
    await phase(page, 'saved');
    expect([await page.getByLabel('Base model').inputValue(), await page.getByLabel('Tree depth N').inputValue()]).toEqual(['small', '2']);
    expect(await page.getByLabel('Base model').isDisabled()).toBe(true);
    await screenshot(page, '16-base', '#train');
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('what a visitor brings', () => {
  it('takes a folder that is dropped', async () => {
    const { page, context, complaints } = await openPage(browser, site.address);
    await page.goto(withConfig());
    // What is drawn when somebody scrolls by must stand before a place on the screen is taken.
    await page.locator('#scenes .scene').nth(7).waitFor();
    await page.locator('#gta').scrollIntoViewIfNeeded();
    await page.locator('#gta-shown').getByText('calls of the test set').waitFor();
    await page.locator('#compare').scrollIntoViewIfNeeded();
    await page.locator('#compare-scene canvas').waitFor();
    await phase(page, 'ready');
    await page.locator('#drop').scrollIntoViewIfNeeded();
    const { x, y } = (await page.locator('#drop').boundingBox())!;
    const folder = ownFolder();
    const mouse = await context.newCDPSession(page);
    for (const type of ['dragEnter', 'dragOver', 'drop'] as const) await mouse.send('Input.dispatchDragEvent', { type, x: x + 20, y: y + 20, data: { items: [], files: [folder], dragOperationsMask: 1 } });
    await told(page, 'Policy “policy”: 8 rows to train on, 4 to test on');
    expect(complaints).toEqual([]);
    await context.close();
    rmSync(folder, { recursive: true });
  });

  it('shows a policy that the tiny base cannot read, and says why and what to do', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await chosen(page, fileURLToPath(new URL('../../../docs/examples/sorting', import.meta.url)));
    await told(page, 'Policy “Sorting rules”: 12 rows to train on, 8 to test on.');
    expect(await page.locator('.outline .outline > li').allTextContents()).toHaveLength(3);
    expect(await page.locator('.scene.own').count()).toBe(20);
    const drawn = await page.locator('.scene.own img').first().evaluate(async (image: HTMLImageElement) => {
      image.loading = 'eager';
      await image.decode();
      return image.naturalWidth;
    });
    expect(drawn).toBeGreaterThan(0);
    const why = page.locator('#bring-result .notice');
    expect(await why.textContent()).toContain('of yours are not among them: “#”, “Sorting”');
    expect(await why.textContent()).toContain('train a real Qwen2.5-VL');
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '7-own-policy', '#bring');
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('asks and trains the tiny base on a policy of its own words', { timeout: 600_000 }, async () => {
    let folder = ownFolder();
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'ready');
    await chosen(page, folder);
    await told(page, 'Policy “policy”: 8 rows to train on, 4 to test on, 1 error found.');
    expect(await page.locator('#bring-result .notice').textContent()).toContain('examples.jsonl, line 13: query is missing.');
    // Asked again, it answers again, and is not trained.
    for (const times of [1, 2]) {
      await page.getByRole('button', { name: 'Ask the base about it' }).click();
      await page.locator('#bring-result .result').nth(1).waitFor({ timeout: 60_000 });
      await told(page, 'It has been asked.');
      expect(await page.locator('#bring-result .result').count(), `time ${times}`).toBe(2);
      expect(await page.locator('#bring-result .chart').count()).toBe(0);
    }
    await page.getByRole('button', { name: 'Train the base on it' }).click();
    await page.locator('#bring-result .chart').first().waitFor({ timeout: 120_000 });
    // Loaded again in the middle of it, the page goes on with what it kept, for the same policy in whatever folder.
    await page.reload();
    await page.locator('#drop').scrollIntoViewIfNeeded();
    await page.locator('#bring-runs').getByText('policy, into the tiny base, stopped').waitFor();
    renameSync(folder, `${folder}-moved`);
    folder += '-moved';
    await chosen(page, folder);
    await page.getByRole('button', { name: 'Go on training the base' }).click();
    await told(page, 'Trained on your policy', 400_000);
    const measured = await page.locator('#bring-result .result').allTextContents();
    expect(measured).toHaveLength(5);
    const tokens = measured.map((t) => Number(/(\d+) tokens/.exec(t)![1]));
    // The policy has 25 words; after training it is not in the prompt.
    expect(tokens[0]! - tokens[1]!).toBe(25);
    expect(new Set(tokens.slice(1)).size).toBe(1);
    expect(await page.locator('#bring-result .stage h5').allTextContents()).toEqual(['Base, policy in the prompt', ...['Base', 'VM-CPT', 'CoT SFT (LoRA)', 'PolicyRollout on GRPO'].map((t) => `${t}, without the policy`)]);
    expect(await page.locator('#bring-result .chart figcaption > :first-child').allTextContents()).toEqual(['VM-CPT: loss', 'CoT SFT (LoRA): loss', 'PolicyRollout on GRPO: reward by origin', 'PolicyRollout on GRPO: accuracy by origin']);
    expect(await page.locator('#bring-result .outline li').allTextContents()).toHaveLength(7);
    expect((JSON.parse(await download(page, 'report.json')) as Report).stages).toHaveLength(4);
    const weights = Buffer.from(await download(page, 'model/model.safetensors', 'latin1'), 'latin1');
    const curves = await page.locator('#bring-result .chart [role=img]').evaluateAll((all) => all.map((c) => c.getAttribute('aria-label')));
    expect(curves.at(-1)).toMatch(/^PolicyRollout on GRPO: accuracy by origin at step 2: policy-free \d/);
    const trained = await SafetensorsFile.open(bytesSource(weights, 'trained'));
    expect(trained.tensors.size).toBeGreaterThan(60);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '8-own-trained', '#bring');

    // A complete run is there in the next visit, also without its folder, and goes when it is not wanted.
    await page.reload();
    const kept = page.locator('#bring-runs');
    await page.locator('#drop').scrollIntoViewIfNeeded();
    await kept.getByText('policy, into the tiny base, complete').waitFor();
    await kept.locator('summary').click();
    expect(Buffer.from(await download(page, 'model/model.safetensors', 'latin1'), 'latin1').equals(weights)).toBe(true);
    await kept.locator('summary').click();
    await chosen(page, folder);
    await page.getByRole('button', { name: 'Train the base anew' }).click();
    await page.getByRole('button', { name: 'Keep it' }).click();
    expect((await page.locator('#bring-result .result').allTextContents()).map((t) => /^\d of 4/.exec(t)?.[0])).toEqual(measured.map((t) => /^\d of 4/.exec(t)?.[0]));
    expect(await page.locator('#bring-result .chart [role=img]').evaluateAll((all) => all.map((c) => c.getAttribute('aria-label')))).toEqual(curves);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '17-own-kept', '#bring-result h4');
    // Not while another tab goes on with it.
    const other = await context.newPage();
    await other.goto(site.address);
    await other.evaluate(async () => {
      const names: string[] = [];
      for await (const [name] of (await navigator.storage.getDirectory()) as unknown as AsyncIterable<[string, unknown]>) if (name.startsWith('trimpi-own-')) names.push(name);
      await new Promise<void>((held) => void navigator.locks.request(names[0]!, () => new Promise<void>(() => held())));
    });
    const forget = async () => {
      await kept.getByRole('button', { name: 'Forget the run on policy' }).click();
      await page.getByRole('button', { name: 'Delete the run' }).click();
    };
    await forget();
    await told(page, 'is being trained in another tab');
    expect(await kept.isVisible()).toBe(true);
    await other.close();
    await forget();
    await kept.waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Train the base on it' }).waitFor();
    expect(await page.locator('#bring-result .result').count()).toBe(0);
    expect(complaints).toEqual([]);
    await context.close();
    rmSync(folder, { recursive: true });
  });

  it('trains a checkpoint on a policy that was brought before it, stopped and gone on with, and hands it over in every form', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'ready');
    await chosen(page, fileURLToPath(new URL('../../../docs/examples/sorting', import.meta.url)));
    await told(page, 'Policy “Sorting rules”');
    expect(await page.locator('#bring-result .notice').textContent()).toContain('bring a checkpoint folder next');
    await chosen(page, join(GOLDEN, 'model'));
    await told(page, 'Fits on this device');
    await page.getByText('On your policy “Sorting rules”').waitFor();
    await page.getByLabel('Weights on the GPU as').selectOption('4');
    await page.getByLabel('Tokens of an answer at most').fill('4');
    await page.getByRole('button', { name: 'Train the checkpoint on it' }).click();
    await page.locator('#bring-result .chart').first().waitFor({ timeout: 120_000 });
    await chosen(page, join(GOLDEN, 'model'));
    await told(page, 'Press Stop first; another folder then takes its place, and what is trained so far is kept.');
    await page.locator('#bring-result').getByRole('button', { name: 'Stop' }).last().click();
    await told(page, 'Training goes on from here');
    // It is kept without a warning, whatever is brought in between, and whatever the settings are then.
    expect(await page.evaluate(() => dispatchEvent(new Event('beforeunload', { cancelable: true })))).toBe(true);
    const other = ownFolder();
    await chosen(page, other);
    await page.getByRole('button', { name: 'Train the base on it' }).waitFor();
    await page.goto(site.address);
    await chosen(page, fileURLToPath(new URL('../../../docs/examples/sorting', import.meta.url)));
    await told(page, 'Policy “Sorting rules”');
    await chosen(page, join(GOLDEN, 'model'));
    await page.locator('#bring-result .chart').first().waitFor();
    await page.getByRole('button', { name: 'Go on training the checkpoint' }).click();
    await told(page, 'Trained on your policy', 400_000);
    expect(await page.locator('#bring-result .stage h5').allTextContents()).toEqual(['Base, policy in the prompt', ...['Base', 'VM-CPT', 'CoT SFT (LoRA)', 'PolicyRollout on GRPO'].map((t) => `${t}, without the policy`)]);
    const files: Record<string, Buffer> = {};
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) files[name] = Buffer.from(await download(page, `adapter/${name}`, 'latin1'), 'latin1');
    const adapter = await readAdapter(memoryFiles(files), parseConfig(JSON.parse(readFileSync(join(GOLDEN, 'model', 'config.json'), 'utf8'))));
    expect(adapter.config.r).toBe(8);
    // B was zero before training.
    expect([...adapter.weights.values()].every(({ loraB }) => loraB.some((x) => x !== 0))).toBe(true);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '15-checkpoint-trained', '#bring-result .result');

    // The checkpoint above wears it: it is taken away in every form, in this visit and in the next.
    await take(page, 'Weights with the adapter in them (safetensors)');
    const mergedFile = () => download(page, 'model/model.safetensors', 'latin1').then((text) => SafetensorsFile.open(bytesSource(Buffer.from(text, 'latin1'), 'merged')));
    expect(await difference(await mergedFile(), adapter)).toBeLessThan(1e-6);
    await page.reload();
    await chosen(page, fileURLToPath(new URL('../../../docs/examples/sorting', import.meta.url)));
    await told(page, 'Policy “Sorting rules”');
    await chosen(page, join(GOLDEN, 'model'));
    await page.locator('#bring-result .chart canvas').nth(3).waitFor();
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '18-phone-own', '#bring-result .stages ~ .stages ~ .stages');
    await screenshot(page, '19-phone-kept', '#bring-runs');
    await page.getByRole('button', { name: 'Put this adapter on the checkpoint' }).click();
    await told(page, 'The adapter that was trained here is on this checkpoint');
    await take(page, 'ONNX, 32 bits');
    expect((await download(page, 'decoder_model_merged.onnx', 'latin1')).slice(0, 2)).toBe('\b\n');
    await take(page, 'Weights with the adapter in them (safetensors)');
    expect(await difference(await mergedFile(), adapter)).toBeLessThan(1e-6);
    rmSync(other, { recursive: true });
    expect(complaints).toEqual([]);
    await context.close();
  }, 600_000);

  it('reads a checkpoint and says what it needs, and what is missing', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await chosen(page, join(GOLDEN, 'model'));
    await told(page, 'Fits on this device: answering in 32-bit floats, training (LoRA, 8 rollouts) in 32-bit floats');
    expect(await page.locator('.facts').textContent()).toContain('68 tensors, 192,632 parameters, 0.8 MB as F32');

    const folder = mkdtempSync(join(tmpdir(), 'trimpi-web-'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify(QWEN25VL_3B));
    await chosen(page, folder);
    await told(page, 'Something is missing');
    expect(await page.locator('#bring-result .notice').textContent()).toContain('model.safetensors');
    const rows = page.locator('#bring-result tbody tr');
    expect(await rows.count()).toBe(6);
    expect(await rows.first().locator('td').last().textContent()).toMatch(/^no: .*it needs 1\d\.\d+ GiB of 8/);
    expect(await rows.nth(4).locator('td').last().textContent()).toBe('yes');
    await page.getByLabel('Memory of your GPU').selectOption('4');
    await page.locator('#bring-result tbody tr').nth(3).getByText('GiB of 4').waitFor();
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '9-checkpoint', '#bring');

    // It says so before it reads weights, whoever presses the button.
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.json', 'model.safetensors']) copyFileSync(join(GOLDEN, 'model', file), join(folder, file));
    await chosen(page, folder);
    await told(page, 'Fits on this device');
    await page.getByLabel('Weights on the GPU as').selectOption('32-bit floats (does not fit)');
    await page.getByRole('button', { name: 'Load onto the GPU' }).click();
    await told(page, 'GiB of 4');
    await page.locator('#bring-status').getByText('Quantise to 4 bits').waitFor();
    expect(await page.getByRole('button', { name: 'Ask', exact: true }).isDisabled()).toBe(true);

    const nothing = mkdtempSync(join(tmpdir(), 'trimpi-web-'));
    writeFileSync(join(nothing, 'notes.txt'), 'nothing');
    await chosen(page, nothing);
    await told(page, 'neither a policy');
    expect(complaints).toEqual([]);
    await context.close();
    for (const f of [folder, nothing]) rmSync(f, { recursive: true });
  });
});

const GOLDEN = fileURLToPath(new URL('../../../packages/model/test/fixtures/qwen25vl', import.meta.url));

/** The public architecture of Qwen2.5-VL-3B. */
const QWEN25VL_3B = {
  model_type: 'qwen2_5_vl', vocab_size: 151936, hidden_size: 2048, intermediate_size: 11008, num_hidden_layers: 36, num_attention_heads: 16, num_key_value_heads: 2,
  rms_norm_eps: 1e-6, rope_theta: 1e6, max_position_embeddings: 128000, tie_word_embeddings: true, hidden_act: 'silu', torch_dtype: 'bfloat16',
  bos_token_id: 151643, eos_token_id: 151645, vision_start_token_id: 151652, vision_end_token_id: 151653, vision_token_id: 151654, image_token_id: 151655, video_token_id: 151656,
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  vision_config: { depth: 32, hidden_act: 'silu', hidden_size: 1280, intermediate_size: 3420, num_heads: 16, in_chans: 3, out_hidden_size: 2048, patch_size: 14, spatial_merge_size: 2, window_size: 112, fullatt_block_indexes: [7, 15, 23, 31], tokens_per_second: 2, temporal_patch_size: 2 },
};

describe('a checkpoint that is brought', () => {
  const QUESTION = 'What is left of the cube?';
  const POLICY = 'Say yes to cubes, and no to everything else.';

  it('is loaded with its adapter, answers about a picture with the policy and without, is stopped, and taken away', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await chosen(page, join(GOLDEN, 'model'));
    await told(page, 'Fits on this device');
    expect(await page.getByLabel('Form').locator('option:enabled').allTextContents()).toEqual(['ONNX, 32 bits', 'ONNX, 16 bits', 'ONNX, 4 bits']);
    await page.getByLabel('LoRA adapter for it').setInputFiles(join(GOLDEN, 'adapter_text'));
    await told(page, 'The adapter fits to this checkpoint');
    await page.getByRole('button', { name: 'Load onto the GPU' }).click();
    await told(page, 'Loaded in');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('chat-question');
    await page.getByLabel('Picture (optional)').setInputFiles(join(GOLDEN, 'image_93x61.png'));
    await page.getByLabel('Policy text').fill(POLICY);
    await page.getByLabel('Question', { exact: true }).fill(QUESTION);
    await page.getByLabel('Tokens of an answer at most').fill('12');
    const ask = page.getByRole('button', { name: 'Ask', exact: true });
    await ask.click();
    await told(page, 'Without the policy:');
    // What the model says in Node, on another driver.
    const want = await answersInNode(POLICY, QUESTION);
    const cards = page.locator('#bring-result .answer');
    expect(await cards.locator('h5').allTextContents()).toEqual(['With the policy in the prompt', 'Without the policy']);
    expect(await cards.locator('.said').allTextContents()).toEqual(want.map((w) => w.text));
    const facts = await cards.evaluateAll((all) => all.map((c) => [...c.querySelectorAll('dd')].map((d) => d.textContent)));
    facts.forEach(([prompt, first, , speed], i) => {
      expect(prompt).toBe(`${want[i]!.promptTokens} tokens`);
      expect(Number.parseFloat(first!)).toBeGreaterThan(0);
      expect(speed).toMatch(/^\d+\.\d tokens\/s$/);
    });
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '13-checkpoint-asked', '#chat-picture');

    // Stopped from the keyboard, it keeps what was said.
    await page.getByLabel('Policy text').fill('');
    await page.getByLabel('Question', { exact: true }).fill('Count to 7.');
    await page.getByLabel('Tokens of an answer at most').fill('4000');
    await ask.press('Enter');
    await told(page, 'together they may have 1024 here');
    await page.getByLabel('Tokens of an answer at most').fill('900');
    await ask.press('Enter');
    await page.locator('#bring-result .said').getByText(/.{8}/).waitFor();
    await page.getByRole('button', { name: 'Stop' }).and(page.locator(':focus')).press('Enter');
    await page.locator('#bring-result .answer dd').getByText(', stopped').waitFor();

    await take(page, 'Adapter (PEFT)');
    expect(JSON.parse(await download(page, 'adapter/adapter_config.json'))).toMatchObject({ peft_type: 'LORA', r: JSON.parse(readFileSync(join(GOLDEN, 'adapter_text', 'adapter_config.json'), 'utf8')).r });
    await take(page, 'Weights with the adapter in them (safetensors)');
    const merged = await SafetensorsFile.open(bytesSource(Buffer.from(await download(page, 'model/model.safetensors', 'latin1'), 'latin1'), 'merged'));
    expect(await difference(merged, await readAdapter(folderFiles(join(GOLDEN, 'adapter_text')), parseConfig(JSON.parse(readFileSync(join(GOLDEN, 'model', 'config.json'), 'utf8')))))).toBeLessThan(1e-6);
    await take(page, 'ONNX, 4 bits');
    expect((await download(page, 'decoder_model_merged.onnx', 'latin1')).slice(0, 2)).toBe('\b\n');

    // In fewer bits, on the same page; a picture that is none is named.
    await page.getByLabel('Weights on the GPU as').selectOption('4 bits');
    await page.getByRole('button', { name: 'Load onto the GPU' }).click();
    await told(page, 'Loaded in');
    await page.getByLabel('Tokens of an answer at most').fill('5');
    await ask.click();
    await told(page, 'Answer:');
    await page.getByLabel('Picture (optional)').setInputFiles({ name: 'no.png', mimeType: 'image/png', buffer: Buffer.from('nothing') });
    await ask.click();
    await told(page, 'no.png is no picture');
    expect(await ask.isEnabled()).toBe(true);
    expect(await axeViolations(page)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    await screenshot(page, '14-phone-checkpoint', '#chat-picture');
    expect(complaints).toEqual([]);
    await context.close();
  }, 400_000);
});

/** The golden model with its adapter, asked by greedy decoding through the same processor. */
async function answersInNode(policy: string, question: string): Promise<{ text: string; promptTokens: number }[]> {
  const files = folderFiles(join(GOLDEN, 'model'));
  const processor = await Processor.load(files);
  const engine = new WebGpuEngine(await openDevice());
  const model = new VisionLanguageModel(engine, processor.config);
  await model.load(await openCheckpoint(files));
  model.loadAdapter('text', await readAdapter(folderFiles(join(GOLDEN, 'adapter_text')), processor.config));
  const image = await decodeImage(readFileSync(join(GOLDEN, 'image_93x61.png')));
  const out: { text: string; promptTokens: number }[] = [];
  for (const before of [`${policy}\n\n`, '']) {
    const content = [...(before === '' ? [] : [{ type: 'text' as const, text: before }]), { type: 'image' as const }, { type: 'text' as const, text: question }];
    const prompt = sequenceOf(processor.process({ messages: [{ role: 'user', content }], images: [image], addGenerationPrompt: true }));
    const [completion] = await generate(model, [prompt], { adapter: 'text', temperature: 0, seed: 0, maxNewTokens: 12, stopIds: await stopTokenIds(files, processor) });
    out.push({ text: processor.tokenizer.decode(completion!.tokens, { skipSpecialTokens: true }), promptTokens: prompt.inputIds.length });
  }
  engine.dispose();
  return out;
}

/** How far a file is from what the model merges on the device. */
async function difference(file: SafetensorsFile, adapter: Adapter): Promise<number> {
  const files = folderFiles(join(GOLDEN, 'model'));
  const config = parseConfig(JSON.parse(readFileSync(join(GOLDEN, 'model', 'config.json'), 'utf8')));
  const engine = new WebGpuEngine(await openDevice());
  const model = new VisionLanguageModel(engine, config);
  await model.load(await openCheckpoint(files));
  model.loadAdapter('text', adapter);
  let most = 0;
  const tensors = await model.tensors({ merge: 'text' });
  expect(file.tensors.size).toBe(tensors.size);
  for (const [name, { data }] of tensors) {
    const got = await file.readFloat32(publishedKey(name, config.modelType));
    toFloat32(data, 'F32').forEach((x, i) => (most = Math.max(most, Math.abs(x - got[i]!))));
  }
  engine.dispose();
  return most;
}

/** A policy in the tiny base's words: 12 rows, and one without a query. */
function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'trimpi-web-'));
  const data = runDataset({ seed: 9, n: 2, policies: 1, trainPerPolicy: 8, reasonedPerPolicy: 8, testSize: 4 });
  const examples = [...data.stream('train'), ...data.stream('test')];
  writeFileSync(join(folder, 'policy.md'), examples[0]!.policyText);
  examples.forEach(({ images: [image] }, i) => writeFileSync(join(folder, `${i}.png`), encodePng(image!)));
  const rows = examples.map(({ split, query, answer, reasoning }, i) => ({ id: `row-${i}`, split, images: [`${i}.png`], query, answer, reasoning }));
  writeFileSync(join(folder, 'examples.jsonl'), [...rows, { images: ['0.png'], answer: 'case0' }].map((r) => JSON.stringify(r)).join('\n'));
  return folder;
}

describe('when something is missing', () => {
  it('says plainly that there is no WebGPU, and still shows the policies', async () => {
    const without = await openBrowser(false);
    const { page, complaints } = await openPage(without, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'no-gpu');
    expect(await page.getByRole('alert').textContent()).toContain('Use a current Chrome');
    expect(await page.getByRole('button', { name: 'Start' }).isDisabled()).toBe(true);
    await page.locator('#scenes .scene').nth(7).waitFor();
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '6-no-webgpu');
    expect(complaints).toEqual([]);
    await without.close();
  });

  it('says what to do when the GPU goes away, and goes on from what was saved', async () => {
    const { page, context } = await openPage(browser, site.address);
    await page.goto(withConfig());
    await phase(page, 'ready');
    await page.getByRole('button', { name: 'Start' }).click();
    await page.locator('.stage.done').first().waitFor({ timeout: 60_000 });
    await (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess');
    await page.getByRole('alert').getByText('The browser took the GPU away').waitFor();
    await phase(page, 'saved');
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('.stage.done').nth(1).waitFor({ timeout: 60_000 });
    await context.close();
  });

  it('goes on with a training on a brought policy after the GPU has gone away', async () => {
    const folder = ownFolder();
    const { page, context } = await openPage(browser, site.address);
    await page.goto(withConfig());
    await phase(page, 'ready');
    await chosen(page, folder);
    await page.getByRole('button', { name: 'Train the base on it' }).click();
    await page.locator('#bring-result .chart').first().waitFor({ timeout: 120_000 });
    await (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess');
    await told(page, 'The browser took the GPU away');
    expect(await page.locator('#bring-result .result').count()).toBeGreaterThanOrEqual(2);
    await page.getByRole('button', { name: 'Go on training the base' }).click();
    await page.locator('#bring-result .stage h5').getByText('VM-CPT').waitFor({ timeout: 120_000 });
    expect((await page.locator('#bring-result .stage h5').allTextContents()).slice(0, 3)).toEqual(['Base, policy in the prompt', 'Base, without the policy', 'VM-CPT, without the policy']);
    await context.close();
    rmSync(folder, { recursive: true });
  });

  it('refuses settings that make no run, and takes those of the demo', async () => {
    const { page, context, complaints } = await openPage(browser, site.address);
    await page.goto(`${site.address}?config=${encodeURIComponent('{"policies":0}')}`);
    await page.getByRole('alert').getByText('policies: is 0.').waitFor();
    expect(await page.getByLabel('Policies', { exact: true }).inputValue()).toBe('4');
    // Settings that the address brings and settings that the form has may not go together.
    await page.goto(`${site.address}?config=${encodeURIComponent('{"rl":{"epsilon":0.1}}')}`);
    await phase(page, 'ready');
    await page.getByText('Those of other papers').click();
    await page.getByLabel('CISPO', { exact: true }).check();
    const why = page.locator('#train').getByRole('alert');
    await why.getByText('CISPO has no lower clip').waitFor();
    await page.getByRole('button', { name: 'Start' }).click();
    expect(await why.textContent()).toContain('CISPO has no lower clip');
    expect(await page.locator('body').getAttribute('data-phase')).toBe('ready');
    await page.getByLabel('CISPO', { exact: true }).uncheck();
    await why.waitFor({ state: 'hidden' });
    expect(complaints).toEqual([]);
    await context.close();
  });
});

/** What the trainer wrote down at each step, from the storage of the page. */
function savedMetrics(page: Page, stage: string): Promise<Record<string, number>[]> {
  return page.evaluate(async (name) => {
    const run = await (await navigator.storage.getDirectory()).getDirectoryHandle('trimpi-run');
    const text = await (await (await run.getFileHandle(name)).getFile()).text();
    return text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, number>);
  }, `metrics-${stage}.jsonl`);
}

/** Whether the canvas of a chart has pixels in these colours of the style sheet, as they are in the scheme at the moment. */
function drawnIn(chart: Locator, properties: string[]): Promise<boolean[]> {
  return chart.locator('canvas').evaluate(async (canvas: HTMLCanvasElement, names) => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true })!;
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const pixels = new Set<string>();
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) pixels.add(`rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`);
    return names.map((name) => pixels.has(getComputedStyle(document.documentElement).getPropertyValue(name)));
  }, properties);
}

async function figures(card: Locator): Promise<number[]> {
  return (await card.locator('dd').allTextContents()).map((t) => Number.parseFloat(t));
}

interface Stage { readonly name: string; readonly accuracy: number; readonly low: number; readonly high: number; readonly n: number; readonly tokensPerSecond: number; readonly seconds: number; readonly calls?: CallScores }
interface Report { readonly inContext: Stage; readonly stages: readonly Stage[]; readonly settings: object }

async function download(page: Page, name: string, encoding: BufferEncoding = 'utf8'): Promise<string> {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name, exact: true }).click()]);
  return readFileSync(await file.path(), encoding);
}

function numbersIn(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  // JSON writes NaN and infinity as null.
  if (value === null) return [NaN];
  return typeof value === 'object' ? Object.values(value).flatMap(numbersIn) : [];
}
