/** @file Refuses imports that run upwards or in a circle. */
import { findBreaches, readSources } from './lib/imports.mjs';
import { ROOT } from './lib/run.mjs';

const { sources, declared } = readSources(ROOT);
const breaches = findBreaches(sources, declared);
for (const breach of breaches) console.error(breach);
if (sources.size === 0) console.error('no sources found');
console.log(`${sources.size} files checked, ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 && sources.size > 0 ? 0 : 1;
