/** @file The page: one worker draws examples, one trains; this thread only shows what they say. */
import { DEMO_CONFIG, type RunConfig } from '@trimpi/pipeline';
import { adapterAdvice, failureAdvice, type Advice } from './advice.ts';
import { BringView } from './bring-view.ts';
import { CompareView } from './compare-view.ts';
import { configFromAddress } from './config.ts';
import { baseUrl } from './bases.ts';
import { byId, el } from './dom.ts';
import { GtaView } from './gta-view.ts';
import { LookView } from './look-view.ts';
import { ProgressView } from './progress-view.ts';
import type { Failure, FromLook, FromTrain, StageResult, ToLook, ToTrain } from './protocol.ts';
import { ReportView } from './report-view.ts';
import { RunsView } from './runs-view.ts';
import { SamplesView } from './samples-view.ts';
import { SettingsView } from './settings-view.ts';
import { sure } from './sure.ts';

/** Pictures in the part Look. */
const SCENES = 12;

/** Where the run stands; buttons and form follow from it. `saved` is a run that can go on. */
type Phase = 'loading' | 'no-gpu' | 'ready' | 'running' | 'pausing' | 'saved' | 'finished';

const start = byId<HTMLButtonElement>('start');
const pause = byId<HTMLButtonElement>('pause');
const fresh = byId<HTMLButtonElement>('fresh');
const status = byId('status');
const notice = byId('notice');
const adapterLine = byId('adapter');

const progress = new ProgressView();
const report = new ReportView();
const look = new LookView((choice) => lookWorker?.postMessage({ type: 'more', ...choice } satisfies ToLook, []));
const samples = new SamplesView();
const runs = new RunsView((id) => void sure('The settings, accuracies and rewards of this run are deleted from this browser.', 'Delete the run').then((yes) => yes && tell({ type: 'forget', id })));
let phase: Phase = 'loading';
/** What stands at the top as long as the page is open: the address's settings, the GPU. */
let standing: readonly Advice[] = [];
/** Stages of the run that are done. */
let done: readonly StageResult[] = [];
/** What stopped the run, until the next start. */
let failure: Failure | undefined;
let lookWorker: Worker | undefined;
let gta: GtaView | undefined;
const initial = initialConfig();
const settings = new SettingsView(initial, begin, drawExamples);
const compare = new CompareView(() => ({ config: settings.current(), base: settings.base() }), () => phase === 'running' || phase === 'pausing');
const bring = new BringView(() => settings.current());
let trainWorker = openTrainWorker();

drawExamples(initial);

pause.addEventListener('click', () => {
  tell({ type: 'pause' });
  setPhase('pausing');
  say('Pausing: the current step is finished and everything is saved.');
});
fresh.addEventListener('click', () => {
  done = [];
  setPhase('ready');
  say('Choose the settings and press Start. What is saved is discarded then.');
  start.focus();
});

function initialConfig(): RunConfig {
  try {
    return configFromAddress(location.search);
  } catch (cause) {
    standing = [{ title: `${(cause as Error).message} The settings of the demo are taken instead.`, steps: [] }];
    showNotice(...standing);
    return DEMO_CONFIG;
  }
}

// ---- Look

function drawExamples(config: RunConfig): void {
  lookWorker?.terminate();
  look.clear();
  lookWorker = new Worker(new URL('./worker/look.ts', import.meta.url), { type: 'module', name: 'look' });
  lookWorker.addEventListener('message', ({ data }: MessageEvent<FromLook>) => {
    look.show(data);
    // Until then the page is so short that everything is in sight.
    if (data.type === 'drawn' || data.type === 'failed') gta ??= new GtaView();
  });
  lookWorker.postMessage({ type: 'look', config, scenes: SCENES } satisfies ToLook, []);
  compare.refresh();
}

// ---- Train

function openTrainWorker(): Worker {
  const worker = new Worker(new URL('./worker/train.ts', import.meta.url), { type: 'module', name: 'train' });
  worker.addEventListener('message', ({ data }: MessageEvent<FromTrain>) => hear(data));
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    setPhase('no-gpu');
    say('The script that trains could not be loaded. Check the connection and load the page again.');
  });
  worker.postMessage({ type: 'open' } satisfies ToTrain, []);
  return worker;
}

function tell(message: ToTrain): void {
  trainWorker.postMessage(message, []);
}

function begin(config: RunConfig): void {
  const isNew = phase === 'ready';
  void navigator.storage?.persist?.();
  failure = undefined;
  showNotice(...standing);
  report.clear();
  samples.clear();
  // What a run that goes on has shown stays.
  if (isNew) progress.begin(config, [], []);
  setPhase('running');
  say('Loading the base model.');
  const base = settings.base();
  tell({ type: 'start', config, fresh: isNew, base, url: baseUrl(base) });
}

function hear(message: FromTrain): void {
  switch (message.type) {
    case 'opened':
      opened(message);
      return;
    case 'loading':
      if (message.done === message.of) say('The base model is loaded; drawing and encoding the pictures.');
      return;
    case 'event': {
      const { event } = message;
      if (event.type === 'evaluated' && event.stage !== 'in-context') done = [...done, { ...event, stage: event.stage }];
      // The stage before has saved its weights.
      if (event.type === 'stage') compare.refresh();
      const sentence = progress.show(event);
      if (sentence !== undefined && phase !== 'pausing') say(sentence);
      return;
    }
    case 'memory':
      progress.memory(message.bytes);
      return;
    case 'sample':
      samples.show(message.sample);
      return;
    case 'runs':
      runs.show(message.runs);
      return;
    case 'paused':
      progress.rest('paused');
      setPhase('saved');
      say('Paused; everything is saved. Resume when you like, also after loading the page again.');
      return;
    case 'finished':
      setPhase('finished');
      say('Complete. The report is below.');
      compare.refresh();
      report.show(message.report);
      return;
    case 'failed':
      failure = message.failure;
      progress.rest('stopped');
      showNotice(failureAdvice(failure));
      if (failure.code === 'device-lost') {
        // With its device gone the run may wait for ever: a new worker takes up what was saved.
        trainWorker.terminate();
        trainWorker = openTrainWorker();
      } else tell({ type: 'open' });
      return;
    default:
      return message satisfies never;
  }
}

function opened({ adapter, keepsFiles, saved, curves }: Extract<FromTrain, { type: 'opened' }>): void {
  const noGpu = 'message' in adapter;
  if (failure === undefined) {
    standing = [...standing, ...adapterAdvice(adapter)];
    showNotice(...standing);
  }
  adapterLine.textContent = noGpu ? 'No GPU for this page.' : `GPU: ${adapter.name}${adapter.software ? ' (on the processor)' : ''}`;
  if (!keepsFiles) adapterLine.append('. This browser keeps no files for the page: a run is lost when the page is closed or loaded again.');
  if (saved === undefined) {
    setPhase(noGpu ? 'no-gpu' : 'ready');
    say(noGpu ? 'Training needs WebGPU; see above.' : failure === undefined ? 'Ready.' : 'Stopped before anything was saved; see the message at the top.');
  } else if ('message' in saved) {
    setPhase(noGpu ? 'no-gpu' : 'saved');
    say(`A run is saved here, but its state cannot be read (${saved.message}). Discard it to start anew.`);
  } else {
    done = saved.done;
    settings.show(saved.config, saved.base);
    if (failure === undefined) drawExamples(saved.config);
    progress.begin(saved.config, done, curves);
    if (saved.finished !== undefined) {
      report.show(saved.finished);
      setPhase('finished');
      say('The last run is complete. Its report is below.');
    } else {
      setPhase(noGpu ? 'no-gpu' : 'saved');
      say(failure === undefined ? `A run is saved here (done: ${done.map((s) => s.title).join('; ') || 'no stage yet'}). Press Resume to go on.` : 'Stopped; see the message at the top. Press Resume to go on from what was saved.');
    }
  }
}

// ---- What the page says

function setPhase(next: Phase): void {
  const focused = document.activeElement === start || document.activeElement === pause || document.activeElement === fresh;
  phase = next;
  settings.lock(next !== 'ready' && next !== 'no-gpu');
  start.disabled = next !== 'ready' && next !== 'saved';
  start.textContent = next === 'saved' ? 'Resume' : 'Start';
  start.hidden = next === 'finished';
  pause.disabled = next !== 'running';
  pause.hidden = next === 'finished';
  fresh.hidden = next !== 'saved' && next !== 'finished';
  fresh.textContent = next === 'finished' ? 'New run' : 'Discard and start over';
  document.body.dataset['phase'] = next;
  bring.trained(next === 'finished');
  // A button that can no longer be pressed would take the keyboard's place with it.
  if (focused) [pause, start, fresh].find((b) => !b.disabled && !b.hidden)?.focus();
}

function say(text: string): void {
  status.textContent = text;
}

function showNotice(...advice: readonly Advice[]): void {
  notice.hidden = advice.length === 0;
  notice.replaceChildren(...advice.flatMap(({ title, steps }) => [el('p', {}, el('strong', {}, title)), ...(steps.length > 0 ? [el('ul', {}, ...steps.map((s) => el('li', {}, s)))] : [])]));
}
