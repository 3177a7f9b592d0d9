/** @file Checks every relative link of every Markdown page: the file, the heading, and the name that a link to code promises. */
import { linkProblems, markdownPages } from './docs-pages.mjs';

const pages = markdownPages();
const problems = pages.flatMap((page) => linkProblems(page));
for (const problem of problems) console.error(problem);
console.log(`${pages.length} pages checked, ${problems.length} broken links`);
process.exitCode = problems.length === 0 && pages.length > 0 ? 0 : 1;
