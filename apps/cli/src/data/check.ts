import { type Finding, type OwnPolicy, scoreTargets } from '@trimpi/datasets';
import { checkDataset, loadScorer } from '@trimpi/datasets/node';
import { Progress } from '../progress.ts';
import { interruptible } from '../interrupt.ts';
import { readOwnFolder } from './own.ts';

export async function check(dir: string, { json }: { readonly json?: boolean }): Promise<void> {
  const progress = json === true ? undefined : new Progress();
  const report = await interruptible(async (_signal, stop) => {
    try {
      let total = 0;
      return await checkDataset(dir, (done) => {
        stop();
        total = done;
        if (total % 1000 === 0) progress?.show({ type: 'progress', what: 'examples checked', done, of: done });
      });
    } finally {
      progress?.end();
    }
  });
  if (json === true) console.log(JSON.stringify(report));
  else {
    printFindings(dir, report.findings);
    const counts = Object.entries(report.examples).map(([split, n]) => `${n} ${split}`).join(', ');
    console.log(report.ok ? `${dir}: ${report.kind}, ${counts || 'no examples'}: all hashes, labels and images are right, and the splits share nothing.` : `\n${dir}: ${plural(report.findings.length, 'finding')}.`);
  }
  process.exitCode = report.ok ? 0 : 1;
}

export async function checkPolicy(folder: string, { json, strict }: { readonly json?: boolean; readonly strict?: boolean }): Promise<void> {
  const policy = await readOwnFolder(folder);
  const findings = [...policy.findings, ...(await functionFindings(folder, policy))];
  const errors = findings.filter((f) => f.severity === 'error').length;
  const warnings = findings.length - errors;
  const ok = errors === 0 && (strict !== true || warnings === 0);
  const count = (split: string) => policy.rows.filter((row) => row.split === split).length;
  const summary = { name: policy.name, scorer: policy.scorer.type, train: count('train'), test: count('test'), policyImages: policy.policyImages.length };
  if (json === true) console.log(JSON.stringify({ ok, ...summary, findings }));
  else {
    printFindings(folder, findings);
    console.log(`${findings.length > 0 ? '\n' : ''}${summary.name}: ${plural(summary.train, 'training example')}, ${plural(summary.test, 'test example')}, scorer ${summary.scorer}; ${plural(errors, 'error')}, ${plural(warnings, 'warning')}.`);
  }
  process.exitCode = ok ? 0 : 1;
}

/** What the function of a module scorer says of the rows' own responses; those of scorers that are data are findings of the folder. */
async function functionFindings(folder: string, policy: OwnPolicy): Promise<Finding[]> {
  if (policy.scorer.type !== 'module') return [];
  try {
    return scoreTargets(policy, await loadScorer(folder, policy));
  } catch (cause) {
    return [{ file: 'scorer.json', line: 1, severity: 'error', message: `${policy.scorer.module} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}` }];
  }
}

/** As compilers do (`file:line: severity: message`), so that editors jump to the place. */
function printFindings(dir: string, findings: readonly Finding[]): void {
  for (const { file, line, severity, message } of findings) console.log(`${dir.replace(/\/$/, '')}/${file}${line > 0 ? `:${line}` : ''}: ${severity}: ${message}`);
}

const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
