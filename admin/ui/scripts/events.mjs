// Writes the names of all operations, as the activity log has them, from the contract.
import { readFileSync, writeFileSync } from 'node:fs';

const reads = new Set();
const writes = new Set();
let method = '';
for (const line of readFileSync('../openapi.yaml', 'utf8').split('\n')) {
  const m = /^ {4}(get|post|put|patch|delete):/.exec(line);
  if (m) method = m[1];
  const a = /^ {6}x-activity: ([\w.]+)/.exec(line);
  if (a) (method === 'get' ? reads : writes).add(a[1]);
}
const list = (names) => [...names].sort().map((n) => `  '${n}',\n`).join('');
writeFileSync(
  'src/ui/events.ts',
  `// Generated from admin/openapi.yaml by "npm run api"; not edited by hand.

const reads: readonly string[] = [
${list(reads)}];

const writes: readonly string[] = [
${list(writes)}];

/** All events of the activity log that the API can cause. */
export const eventNames: readonly string[] = [...reads, ...writes].sort();

const isReadOf = new Set(reads);
export const isRead = (event: string) => isReadOf.has(event);
`,
);
