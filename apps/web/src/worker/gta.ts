/** @file The worker that draws GTAPolicy: its tools, its rules, and test examples until every rule has one. Messages: `FromGta`. */
import { gtaPolicy, type GtaPolicyExample, TOOLS } from '@trimpi/datasets';
import type { FromGta, GtaCallView, PictureView } from '../protocol.ts';
import { failureOf } from './failure.ts';
import { rgbaOf } from './views.ts';

/** Test examples that are looked at, and how many are shown beyond those that a rule needs. */
const LOOKED_AT = 150;
const SHOWN = 8;

const post = (message: FromGta, transfer: Transferable[] = []) => (self as unknown as Worker).postMessage(message, transfer);

try {
  draw();
} catch (cause) {
  post({ type: 'failed', failure: failureOf(cause) });
}

function draw(): void {
  const data = gtaPolicy({ seed: 'look', train: 0, test: LOOKED_AT });
  const { bullets, tips, versions } = data.rules;
  post({
    type: 'policy',
    text: data.policyText,
    tools: TOOLS.map(({ name, description, arguments: list }) => ({
      name, description,
      arguments: list.map((a) => (a.required ? a.name : `${a.name} (optional)`)),
      versions: versions[name] ?? 0,
      rules: bullets.filter((b) => b.tool === name).map(({ id, text }) => ({ id, text })),
    })),
    tips: tips.map(({ id, text }) => ({ id, text })),
  });
  const waiting = new Set([...bullets, ...tips].map((r) => r.id));
  for (let i = 0, shown = 0; i < LOOKED_AT && (waiting.size > 0 || shown < SHOWN); i++) {
    const example = data.example('test', i);
    const rules = [...new Set(example.rulesUsed.map((r) => r.replace(/#.*$/, '')))];
    if (shown >= SHOWN && !rules.some((r) => waiting.has(r))) continue;
    rules.forEach((r) => waiting.delete(r));
    shown++;
    const call = callView(example, rules);
    post({ type: 'call', call }, call.pictures.map((p) => p.rgba.buffer));
  }
  post({ type: 'drawn' });
}

function callView({ images, imageNames, userQuery, profile, history, gold }: GtaPolicyExample, rules: readonly string[]): GtaCallView {
  const pictures = images.map(({ width, height, rgb }, i): PictureView => ({ width, height, rgba: rgbaOf(rgb), name: imageNames[i] ?? '' }));
  return { pictures, query: userQuery, profile: Object.entries(profile).map(([k, v]) => `${k} ${v}`).join(', '), calls: Math.floor(history.length / 2), gold: `${gold.name}(${JSON.stringify(gold.arguments)})`, rules };
}
