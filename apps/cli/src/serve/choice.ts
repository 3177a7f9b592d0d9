/** @file One completion as it grows: cut at stop strings and at its own length, passed on piece by piece. */

/** A token of a completion and the log-probability it was drawn with. */
export interface ScoredToken {
  readonly id: number;
  readonly logp: number;
}

/** The most probable tokens at a place, the first first. */
export type TopTokens = readonly ScoredToken[];

/** What is new since the last piece. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly ScoredToken[];
  readonly finish: 'stop' | 'length' | undefined;
}

export interface ChoiceOptions {
  readonly decode: (tokens: Int32Array) => string;
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly onPiece: (piece: Piece) => void;
}

/** What a choice comes out as is a function of its tokens alone, however many of them a call of `update` brings. */
export class Choice {
  readonly #o: ChoiceOptions;
  #seen = 0;
  #sent = 0;
  text = '';
  readonly tokens: ScoredToken[] = [];
  /** For each of `tokens`, when they were asked for and the choice has finished. */
  top: readonly TopTokens[] | undefined;
  /** With the token that ended it. */
  completionTokens = 0;
  finish: 'stop' | 'length' | undefined;

  constructor(options: ChoiceOptions) {
    this.#o = options;
  }

  /** All tokens so far with their log-probabilities; `ended`: the last is a token that ends an answer. */
  update(tokens: Int32Array, logps: Float32Array, ended: boolean): void {
    if (this.finish !== undefined) return;
    const { decode, maxTokens, stop, onPiece } = this.#o;
    const last = Math.min(tokens.length, maxTokens);
    const endsItself = ended && tokens.length <= maxTokens;
    const body = endsItself ? last - 1 : last;
    const from = this.#seen;
    let text = this.text;
    // A stop string is looked for after every token, so that no token behind it is counted.
    for (let k = stop.length > 0 ? from + 1 : body; k <= body && k > from; k++) {
      text = decode(tokens.subarray(0, k));
      const cut = firstOf(text, stop);
      this.#seen = k;
      if (cut >= 0) {
        text = text.slice(0, cut);
        this.finish = 'stop';
        break;
      }
    }
    const taken = this.#seen;
    this.completionTokens = taken;
    if (this.finish === undefined && endsItself) {
      this.finish = 'stop';
      this.completionTokens = last;
    } else if (this.finish === undefined && last === maxTokens) this.finish = 'length';
    this.text = text;
    const fresh = Array.from({ length: taken - from }, (_, i) => ({ id: tokens[from + i]!, logp: logps[from + i]! }));
    this.tokens.push(...fresh);
    // What may be half a character or the beginning of a stop string waits.
    const safe = this.finish !== undefined ? text.length : Math.max(this.#sent, safeLength(text, stop));
    const piece = text.slice(this.#sent, safe);
    this.#sent = safe;
    if (piece !== '' || fresh.length > 0 || this.finish !== undefined) onPiece({ text: piece, tokens: fresh, finish: this.finish });
  }
}

function firstOf(text: string, stop: readonly string[]): number {
  return stop.reduce((first, s) => {
    const at = text.indexOf(s);
    return at >= 0 && (first < 0 || at < first) ? at : first;
  }, -1);
}

function safeLength(text: string, stop: readonly string[]): number {
  const whole = text.replace(/\uFFFD+$/, '');
  let held = 0;
  for (const s of stop) for (let n = Math.min(s.length - 1, whole.length); n > held; n--) if (whole.endsWith(s.slice(0, n))) held = n;
  return whole.length - held;
}
