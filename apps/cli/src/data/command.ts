/** @file `trimpi data`: writes, shows, checks and exports datasets. */
import type { Command } from 'commander';
import { examples, integer, integers, oneOf } from '../options.ts';
import { check, checkPolicy } from './check.ts';
import { exportData } from './export.ts';
import { show } from './show.ts';
import { writeClevr, writeGta } from './write.ts';

export function dataCommand(program: Command): void {
  const data = program
    .command('data')
    .description('datasets: write, show, check, export')
    .addHelpText('after', examples('trimpi data clevr-policy --variant t --n 6 --policies 10 --count 100 --seed 1 --out data/clevr', 'trimpi data show data/clevr', 'trimpi data check data/clevr', 'trimpi data export data/clevr --format trl-grpo --file parquet --out data/clevr-trl'));

  data
    .command('clevr-policy')
    .description('ClevrPolicy: decision trees over CLEVR scenes, with images of our own renderer')
    .requiredOption('--out <dir>', 'folder to write; it is there whole or not at all')
    .option('--variant <t|m>', 't: policies in words; m: some conditions shown as image crops', oneOf('t', 'm'), 't')
    .option('--n <depths>', 'depth of the trees, 1 to 8; several with commas (default: 6; 4 with --style compact)', integers(1, 8))
    .option('--policies <k>', 'policies for each depth', integer(1, 500), 10)
    .option('--count <n>', 'training examples', integer(0, 1e8), 100)
    .option('--test-count <n>', 'test examples', integer(0, 1e8), 0)
    .option('--seed <n>', 'everything is a function of it', integer(0), 0)
    .option('--tree <kind>', 'paper: as in the paper; reachable: no leaf contradicts itself; rich: counts, comparisons, relations', oneOf('paper', 'reachable', 'rich'), 'paper')
    .option('--style <style>', 'canonical: prose; compact: a closed vocabulary for small models', oneOf('canonical', 'compact'), 'canonical')
    .option('--sampling <how>', 'balanced: every leaf equally often; natural: random scenes', oneOf('balanced', 'natural'), 'balanced')
    .option('--queries <how>', 'one wording of the question, or several (none in both splits)', oneOf('canonical', 'paraphrased'), 'canonical')
    .option('--width <px>', 'image width', integer(16, 4096), 224)
    .option('--height <px>', 'image height', integer(16, 4096), 168)
    .option('--no-images', 'draw no images')
    .option('--overwrite', 'replace a folder that is not empty')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', examples('trimpi data clevr-policy --variant t --n 6 --policies 10 --count 100 --seed 1 --out data/clevr', 'trimpi data clevr-policy --variant m --n 2,4,6 --policies 10 --count 20000 --test-count 2000 --width 480 --height 320 --out data/clevr-m'))
    .action(writeClevr);

  data
    .command('gta-policy')
    .description('GTAPolicy: tool calls under a rule document, with user profile, history and drawn images')
    .requiredOption('--out <dir>', 'folder to write; it is there whole or not at all')
    .option('--count <n>', 'training instances', integer(0, 1e8), 100)
    .option('--test-count <n>', 'test instances', integer(0, 1e8), 0)
    .option('--seed <n>', 'everything is a function of it', integer(0), 0)
    .option('--policy <which>', "paper: the paper's 24 rules; small, medium, large: generated ones", oneOf('paper', 'small', 'medium', 'large'), 'paper')
    .option('--tokens <n>', 'generated rules are added until the document has about so many tokens', integer(500, 50_000))
    .option('--no-images', 'draw no images')
    .option('--overwrite', 'replace a folder that is not empty')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', examples('trimpi data gta-policy --count 451 --test-count 106 --seed 1 --out data/gta', 'trimpi data gta-policy --policy large --tokens 20000 --count 200 --out data/gta-large'))
    .action(writeGta);

  data
    .command('show')
    .description('examples in the terminal; a contact sheet (PNG) and the policy tree (SVG) as files')
    .argument('<dir>', 'a folder that trimpi data wrote, or your own policy folder')
    .option('--count <n>', 'how many examples', integer(1, 200), 12)
    .option('--split <split>', 'only train or test', oneOf('train', 'test'))
    .option('--policy <id>', 'only examples of this policy, by id or name')
    .option('--out <dir>', 'folder of the pictures (default: <dir>/show)')
    .option('--json', 'the examples as JSON')
    .addHelpText('after', examples('trimpi data show data/clevr', 'trimpi data show data/clevr --split test --count 24 --out look', 'trimpi data show my-policy --json | jq .examples[0]'))
    .action(show);

  data
    .command('check')
    .description('hashes, labels (by an independent evaluator), images, and that train and test share nothing; exit code 1 on findings')
    .argument('<dir>', 'a folder that trimpi data wrote')
    .option('--json', 'one JSON object')
    .addHelpText('after', examples('trimpi data check data/clevr', 'trimpi data check data/gta --json'))
    .action(check);

  data
    .command('check-policy')
    .description('your own policy folder (policy.md, examples.jsonl, scorer.json): problems with file and line; exit code 1 on errors')
    .argument('<folder>', 'the folder that holds policy.md')
    .option('--strict', 'warnings count as errors')
    .option('--json', 'one JSON object')
    .addHelpText('after', examples('trimpi data check-policy my-policy', 'trimpi data check-policy my-policy --strict --json'))
    .action(checkPolicy);

  data
    .command('export')
    .description("the columns of other trainers: Hugging Face datasets, TRL, EasyR1")
    .argument('<dir>', 'a folder that trimpi data wrote, or your own policy folder')
    .requiredOption('--out <dir>', 'folder to write: train and test files, images beside (JSONL) or inside (Parquet)')
    .option('--format <columns>', 'plain: Hugging Face datasets; trl-grpo, trl-sft, easyr1', oneOf('plain', 'trl-grpo', 'trl-sft', 'easyr1'), 'plain')
    .option('--file <type>', 'jsonl or parquet', oneOf('jsonl', 'parquet'), 'jsonl')
    .option('--with-policy', 'put the policy into every prompt')
    .option('--overwrite', 'replace a folder that is not empty')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', examples('trimpi data export data/clevr --out hf/clevr', 'trimpi data export data/clevr --format easyr1 --file parquet --out easyr1/clevr', 'trimpi data export my-policy --format trl-sft --with-policy --out trl/mine'))
    .action(exportData);
}
