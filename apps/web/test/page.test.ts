/** @file The page as a visitor uses it, in Chromium: the production build, WebGPU on the CPU, very few steps. */
import { readFileSync } from 'node:fs';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { axeViolations, openBrowser, openPage, screenshot, serveSite, type Site } from './site.ts';

const CONFIG = {
  seed: 7, policies: 1, trainPerPolicy: 8, reasonedPerPolicy: 4, testSize: 8, saveSteps: 1,
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
async function phase(page: Page, wanted: string, timeout = 90_000): Promise<void> {
  const said = async () => `${await page.locator('body').getAttribute('data-phase')}; ${await page.locator('#status').textContent()}; ${await page.locator('#notice').textContent()}`;
  await page.locator(`body[data-phase="${wanted}"]`).waitFor({ timeout }).catch(async () => {
    throw new Error(`The page is not "${wanted}" after ${timeout} ms, but: ${await said()}`);
  });
}

/** NaN when one of the scripts has another name. */
function scriptBytes(names: string[], how: 'raw' | 'gzip'): number {
  return names.reduce((s, n) => s + (site.scripts.get(n) ?? { raw: NaN, gzip: NaN })[how], 0);
}

describe('what is loaded', () => {
  it('keeps the scripts of a visit under 300 kB, and those of a run under 300 kB compressed', () => {
    expect(scriptBytes(['index', 'look', 'train', 'compare'], 'raw')).toBeLessThan(300_000);
    expect(scriptBytes(['index', 'look', 'train', 'train-on'], 'gzip')).toBeLessThan(300_000);
  });
});

describe('a run', () => {
  it('shows the policies, trains, pauses, goes on after a reload, and hands over report and model', async () => {
    const { page, context, complaints } = await openPage(browser, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());

    // Look: a tree, pictures, and the pictures of one case.
    await page.locator('.scene').nth(7).waitFor();
    await phase(page, 'ready');
    expect(await page.locator('.policy').count()).toBe(1);
    expect(await page.locator('.policy .question').allTextContents()).toHaveLength(3);
    const question = page.locator('.policy .yes > .question').first();
    await question.click();
    expect(await page.locator('.scenes .scene:visible').count()).toBe(4);
    expect(await page.locator('#scenes-shown').textContent()).toBe('4 of 8 pictures come by 1.1 of this policy. Choose it again to see all.');
    const leaf = page.locator('.policy .leaf:enabled').first();
    const answer = (await leaf.textContent())!;
    await leaf.press('Enter');
    expect(await leaf.getAttribute('aria-pressed')).toBe('true');
    const shown = page.locator('.scenes .scene:visible');
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
    await page.getByRole('button', { name: 'Resume' }).click();
    await phase(page, 'finished');

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
    const figures = async (answer: Locator) => (await answer.locator('dd').allTextContents()).map((t) => Number.parseFloat(t));
    const [[longer, ms], [shorter]] = [await figures(inContext!), await figures(without!)] as [[number, number], [number, number]];
    // Policy text of a tree with three questions and four cases: 4 + 3 * 7 words, each one token.
    expect(longer - shorter).toBe(25);
    expect(ms).toBeGreaterThan(0);
    for (const answer of [inContext!, without!]) expect(await answer.locator('.verdict').textContent()).toMatch(/^(right|wrong)$/);
    const cited = await inContext!.locator('mark').allTextContents();
    expect(cited[0]).toBe('1');
    expect((await inContext!.locator('.cited').evaluateAll((nodes) => nodes.map((n) => (n as HTMLElement).dataset['node']))).toSorted()).toEqual([...new Set(cited)].toSorted());

    // For everyone.
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '3-report');
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await axeViolations(page)).toEqual([]);
    await screenshot(page, '4-dark');
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    for (const part of ['look', 'train', 'report', 'compare']) await screenshot(page, `5-phone-${part}`, `#${part}`);

    const html = await download(page, 'report.html');
    const alone = await context.newPage();
    await alone.setViewportSize({ width: 360, height: 740 });
    await alone.setContent(html);
    expect(await axeViolations(alone)).toEqual([]);

    expect(complaints).toEqual([]);
    await context.close();
  }, 170_000);
});

describe('when something is missing', () => {
  it('says plainly that there is no WebGPU, and still shows the policies', async () => {
    const without = await openBrowser(false);
    const { page, complaints } = await openPage(without, site.address, { viewport: { width: 1280, height: 900 } });
    await page.goto(withConfig());
    await phase(page, 'no-gpu');
    expect(await page.getByRole('alert').textContent()).toContain('Use a current Chrome');
    expect(await page.getByRole('button', { name: 'Start' }).isDisabled()).toBe(true);
    await page.locator('.scene').nth(7).waitFor();
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

  it('refuses settings that make no run, and takes those of the demo', async () => {
    const { page, context, complaints } = await openPage(browser, site.address);
    await page.goto(`${site.address}?config=${encodeURIComponent('{"policies":0}')}`);
    await page.getByRole('alert').getByText('policies: is 0.').waitFor();
    expect(await page.getByLabel('Policies', { exact: true }).inputValue()).toBe('4');
    expect(complaints).toEqual([]);
    await context.close();
  });
});

interface Stage { readonly name: string; readonly accuracy: number; readonly low: number; readonly high: number; readonly n: number; readonly tokensPerSecond: number; readonly seconds: number }
interface Report { readonly inContext: Stage; readonly stages: readonly Stage[] }

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
