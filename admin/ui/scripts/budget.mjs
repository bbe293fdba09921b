// Fails when a first page or a later chunk of dist weighs more than it may, in
// gzip. It reads what ships, so that it needs no build before it.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const firstLoad = 300_000;
const laterChunk = 40_000;
/** The pages that people see first, beside the sign-in. */
const firstPages = ['Home', 'Users'];

const assets = readdirSync('dist/assets').filter((f) => /\.(js|css)$/.test(f));
const code = (file) => readFileSync(join('dist/assets', file), 'utf8');
const size = (file) => readFileSync(join('dist', `${file}.gz`)).length;

const statically = /(?:from|import)\s*["'`]\.\/([\w.-]+\.js)["'`]/g;
const dynamically = /import\(\s*["'`]\.\/([\w.-]+\.js)["'`]/g;

/** A file and all that it needs before it can run. */
function needs(file, out = new Set()) {
  if (out.has(file)) return out;
  out.add(file);
  for (const [, next] of code(file).matchAll(statically)) needs(next, out);
  return out;
}

const html = readFileSync('dist/index.html', 'utf8');
const entries = [...html.matchAll(/assets\/([\w.-]+\.js)/g)].map((m) => m[1]);
if (!entries.length) throw new Error('dist/index.html names no script');
const base = new Set();
for (const e of entries) needs(e, base);
const inAssets = (files) => [...files].reduce((n, f) => n + size(join('assets', f)), 0);
const styles = assets.filter((f) => f.endsWith('.css'));
const first = inAssets(base) + inAssets(styles) + ['index.html', 'theme.js', 'favicon.svg'].reduce((n, f) => n + size(f), 0);

const kb = (n) => `${(n / 1000).toFixed(1)} kB`;
let failed = false;
const check = (name, n, limit) => {
  failed ||= n > limit;
  console.log(`${n > limit ? 'OVER' : ' ok '}  ${name.padEnd(28)} ${kb(n).padStart(9)} of ${kb(limit)}`);
};

check('first load of /login', first, firstLoad);
const later = new Set([...assets].filter((f) => f.endsWith('.js')).flatMap((f) => [...code(f).matchAll(dynamically)].map((m) => m[1])));
if (later.size < 10) throw new Error(`found ${later.size} later chunks only`);
for (const file of [...later].sort()) {
  const own = inAssets([...needs(file)].filter((f) => !base.has(f)));
  const name = file.replace(/-[\w-]{8}\.js$/, '');
  if (firstPages.includes(name)) check(`first load of ${name}`, first + own, firstLoad);
  check(name, own, laterChunk);
}
if (failed) process.exit(1);
