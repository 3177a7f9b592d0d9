import type { RunEvent } from '@trimpi/pipeline';
import { Presets, SingleBar } from 'cli-progress';

/** Shows the events of a run: a bar for what is under way on a terminal, lines elsewhere. */
export class Progress {
  #bar: SingleBar | undefined;
  #what = '';
  #lastLine = 0;
  readonly #terminal = process.stdout.isTTY === true;

  show(event: RunEvent): void {
    switch (event.type) {
      case 'note':
        this.#print(event.text);
        break;
      case 'stage':
        this.#print(`\n${event.title}${event.steps > 0 ? ` (${event.steps} steps${event.firstStep > 0 ? `, going on after step ${event.firstStep}` : ''})` : ''}`);
        break;
      case 'step':
        this.#update('step', event.step, event.of, `${event.value}, ${event.tokensPerSecond.toFixed(0)} tokens/s, ${duration(event.secondsLeft)} left`);
        break;
      case 'progress':
        this.#update(event.what, event.done, event.of, '');
        break;
      case 'evaluated':
        this.#print(`${event.title}: ${percent(event.accuracy)} right on ${event.n} unseen questions (95 % interval ${percent(event.low)} to ${percent(event.high)})`);
        break;
      default:
        event satisfies never;
    }
  }

  end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #update(what: string, done: number, of: number, text: string): void {
    if (!this.#terminal) {
      // A line every five seconds, and the last one.
      if (done < of && Date.now() - this.#lastLine < 5000) return;
      this.#lastLine = Date.now();
      console.log(`  ${what} ${done}/${of}${text === '' ? '' : `: ${text}`}`);
      return;
    }
    if (this.#bar === undefined || this.#what !== what) {
      this.end();
      this.#what = what;
      this.#bar = new SingleBar({ format: '  {what} {bar} {value}/{total} {text}', hideCursor: true, clearOnComplete: true }, Presets.shades_classic);
      this.#bar.start(of, done, { what, text });
    } else {
      this.#bar.setTotal(of);
      this.#bar.update(done, { text });
    }
    if (done >= of) this.end();
  }

  #print(text: string): void {
    this.end();
    console.log(text);
  }
}

function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`;
}

export function duration(seconds: number): string {
  const s = Math.round(seconds);
  return s < 90 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}
