/** @file `trimpi generate`, `chat` and `export`: a checkpoint folder at work. */
import { type Command, Option } from 'commander';
import { UsageError } from '../errors.ts';
import { exportForTrainer, type TrainerExport } from '../export/trainers.ts';
import { collect, examples, integer, number, oneOf, POSITIONS } from '../options.ts';
import { chat } from './chat.ts';
import type { Bits } from './load.ts';
import { exportModel, exportModelOnnx, type ExportOptions, type OnnxExport } from './export.ts';
import { generateOnce } from './generate.ts';

/** For `--bits`. */
export function bitsOption(text: string): Bits {
  return Number(oneOf('4', '8', '16')(text)) as Bits;
}

function sampling(command: Command): Command {
  return command
    .requiredOption('--model <dir>', 'checkpoint folder: config.json, safetensors, tokenizer')
    .option('--adapter <dir>', 'LoRA adapter folder (PEFT)')
    .option('--bits <n>', 'keep the weights in 4, 8 or 16 bits on the device (default: full precision)', bitsOption)
    .option('--system <text>', "system message (default: the chat template's own)")
    .option('--max-new-tokens <n>', 'length at which an answer ends', integer(1, 32_768), 256)
    .option(...POSITIONS)
    .option('--temperature <t>', '0: always the most probable token', number(0, 10), 0)
    .option('--top-p <p>', 'keep the most probable tokens with this share', number(1e-6, 1), 1)
    .option('--top-k <k>', 'keep so many tokens; 0: all', integer(0, 1_000_000), 0)
    .option('--repetition-penalty <x>', 'divide the logits of tokens that came before; 1: not', number(0.01, 100), 1)
    .option('--seed <n>', 'the answer is a function of it', integer(0), 0);
}

export function modelCommands(program: Command): void {
  sampling(program.command('generate').description('one answer of a model, streamed to the terminal'))
    .requiredOption('--prompt <text>', 'the question; - reads it from standard input')
    .option('--image <file>', 'PNG, JPEG or WebP; may be given several times', collect)
    .option('--json', 'one JSON object at the end instead of a stream')
    .addHelpText('after', examples("trimpi generate --model runs/demo/model --image scene.png --prompt 'policy tevi rasi ?'", 'trimpi generate --model models/qwen --adapter runs/mine/adapter --image a.jpg --image b.jpg --prompt - < question.txt', 'trimpi generate --model models/qwen --prompt Hello --temperature 0.7 --top-p 0.9 --seed 3 --json'))
    .action(generateOnce);

  sampling(program.command('chat').description('a conversation in the terminal; /image FILE adds a picture to the next message'))
    .option('--json', 'every answer as a line of JSON')
    .addHelpText('after', `${examples('trimpi chat --model models/qwen', 'trimpi chat --model models/qwen --adapter runs/mine/adapter --temperature 0.7')}\n\nIn the chat: /image FILE, /clear (start over), /help, /exit. Ctrl-C stops an answer.`)
    .action(chat);

  program
    .command('export')
    .description('a merged checkpoint (safetensors), an adapter (peft), ONNX files (onnx), or data and rewards for other trainers (trl, verl)')
    .option('--model <dir>', 'checkpoint folder, for safetensors, peft and onnx')
    .option('--adapter <dir>', 'LoRA adapter folder (PEFT), for safetensors and peft; merged in for onnx')
    .option('--data <dir>', 'a folder that trimpi data wrote, or your own policy folder, for trl and verl')
    .requiredOption('--out <dir>', 'folder to write; it is there whole or not at all')
    .option('--to <format>', 'safetensors: the merged checkpoint; peft: the adapter alone, checked against the model; onnx: vision encoder, embeddings and decoder; trl, verl: Parquet files and reward.py', oneOf(...TARGETS), 'safetensors')
    .addOption(new Option('--format <format>', 'another name for --to').argParser(oneOf(...TARGETS)).hideHelp())
    .option('--ops <ops>', 'onnx: standard operators, or those of ONNX Runtime too (fused)', oneOf('standard', 'fused'))
    .option('--bits <n>', 'onnx: 32, 16 or 4 (matrices of the decoder in 4, the others in 16)', oneOf('32', '16', '4'))
    .option('--with-policy', 'put the policy into every prompt (trl, verl)')
    .option('--overwrite', 'replace a folder that is not empty')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', examples('trimpi export --model models/qwen --adapter runs/mine/adapter --to safetensors --out models/qwen-mine', 'trimpi export --model models/qwen --adapter runs/mine/adapter --to peft --out adapters/mine', 'trimpi export --model models/qwen --adapter runs/mine/adapter --to onnx --bits 4 --out onnx/mine', 'trimpi export --data data/clevr --to trl --out trl/clevr', 'trimpi export --data data/gta --to verl --out verl/gta'))
    .action(exportAny);
}

const TARGETS = ['safetensors', 'peft', 'onnx', 'trl', 'verl'] as const;

type ExportAny = Omit<ExportOptions, 'model' | 'adapter' | 'to'> & Omit<TrainerExport, 'data' | 'to'> & Pick<OnnxExport, 'ops'> & { readonly bits?: '32' | '16' | '4'; readonly model?: string; readonly adapter?: string; readonly data?: string; readonly to: (typeof TARGETS)[number]; readonly format?: (typeof TARGETS)[number] };

async function exportAny({ model, adapter, data, to: named, format, ops, bits, ...options }: ExportAny): Promise<void> {
  const to = format ?? named;
  if (to !== 'onnx' && (ops !== undefined || bits !== undefined)) throw new UsageError(`--${ops === undefined ? 'bits' : 'ops'} is for --to onnx. Leave it out, or export to onnx.`);
  if (to === 'trl' || to === 'verl') {
    if (data === undefined || model !== undefined || adapter !== undefined) throw new UsageError(`--to ${to} exports data. Give --data, and neither --model nor --adapter.`);
    await exportForTrainer({ data, to, ...options });
    return;
  }
  const needs = to === 'onnx' ? '--model (and --adapter, if one is to be merged in)' : '--model and --adapter';
  if (model === undefined || (adapter === undefined && to !== 'onnx') || data !== undefined || options.withPolicy !== undefined) throw new UsageError(`--to ${to} exports a model. Give ${needs}, and neither --data nor --with-policy.`);
  if (to === 'onnx') await exportModelOnnx({ model, ...(adapter === undefined ? {} : { adapter }), ...(ops === undefined ? {} : { ops }), ...(bits === undefined ? {} : { bits: Number(bits) as 32 | 16 | 4 }), ...options });
  else await exportModel({ model, adapter: adapter!, to, ...options });
}
