// Fails when a first page or a later chunk weighs more than portal.md allows, in gzip.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const firstLoad = 300_000;
const laterChunk = 40_000;

const manifest = JSON.parse(readFileSync('node_modules/.branchline/manifest.json', 'utf8'));
const size = (file) => readFileSync(join('dist', `${file}.gz`)).length;

/** Every file that an entry needs before it can run. */
function files(key, seen = new Set(), out = new Set()) {
  if (seen.has(key)) return out;
  seen.add(key);
  const chunk = manifest[key];
  out.add(chunk.file);
  for (const css of chunk.css ?? []) out.add(css);
  for (const i of chunk.imports ?? []) files(i, seen, out);
  return out;
}

const entry = Object.keys(manifest).find((k) => manifest[k].isEntry);
const base = new Set([...files(entry), 'index.html', 'theme.js', 'favicon.svg']);
const sum = (set) => [...set].reduce((n, f) => n + size(f), 0);
const kb = (n) => `${(n / 1000).toFixed(1)} kB`;
let failed = false;
const check = (name, n, limit) => {
  const over = n > limit;
  failed ||= over;
  console.log(`${over ? 'OVER' : ' ok '}  ${name.padEnd(34)} ${kb(n).padStart(9)} of ${kb(limit)}`);
};

check('/login', sum(base), firstLoad);
for (const key of Object.keys(manifest).filter((k) => manifest[k].isDynamicEntry).sort()) {
  const own = [...files(key)].filter((f) => !base.has(f));
  const name = key.replace(/^src\//, '');
  if (name.endsWith('pages/Users.tsx') || name.endsWith('pages/Home.tsx')) check(`first load with ${name}`, sum(base) + sum(own), firstLoad);
  check(name, sum(own), laterChunk);
}
if (failed) process.exit(1);
