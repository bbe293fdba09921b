// A browser that fails the journey on anything a user would be hurt by: script
// errors, refused content, requests to other hosts, inaccessible or too wide pages.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'];
const looks = [
  { scheme: 'light', width: 1280, height: 800 },
  { scheme: 'dark', width: 1280, height: 800 },
  { scheme: 'light', width: 390, height: 844 },
  { scheme: 'dark', width: 390, height: 844 },
];

// Answers that a page asks for on purpose: not signed in yet, a refused field, a missing page.
const expected = /the server responded with a status of (401|403|404|409|412|422|429)/;

export async function openBrowser({ base, shots }) {
  if (shots) mkdirSync(shots, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
  });
  const problems = [];
  const context = async () => {
    const ctx = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', reducedMotion: 'reduce' });
    ctx.setDefaultTimeout(20_000);
    const page = await ctx.newPage();
    page.on('pageerror', (e) => problems.push(`script error: ${e.stack ?? e}`));
    page.on('console', (m) => {
      if (m.type() === 'error' && !expected.test(m.text()) && !/WebSocket/.test(m.text())) problems.push(`console: ${m.text()} at ${page.url()}`);
    });
    page.on('request', (r) => {
      const url = new URL(r.url());
      if (url.host !== new URL(base).host && !['data:', 'blob:'].includes(url.protocol)) problems.push(`request to ${r.url()}`);
    });
    return page;
  };
  /** Looks at what is on the screen in both themes and both sizes. */
  const look = async (page, name, { only } = {}) => {
    for (const l of looks) {
      if (only && l.width !== only) continue;
      await page.setViewportSize({ width: l.width, height: l.height });
      await page.emulateMedia({ colorScheme: l.scheme, reducedMotion: 'reduce' });
      await page.waitForFunction((s) => document.documentElement.getAttribute('data-mantine-color-scheme') === s, l.scheme);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) problems.push(`${name} is ${wide} px too wide at ${l.width} px`);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${l.scheme}-${l.width}.png`), fullPage: l.width < 500 });
      if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
      const found = await page.evaluate((t) => window.axe.run(document, { runOnly: t, resultTypes: ['violations'] }).then((r) => r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target.join(' ')} (${n.any[0]?.message ?? v.help})`).slice(0, 3).join(' | ')}`)), tags);
      for (const f of found) problems.push(`${name} (${l.scheme}, ${l.width} px): ${f}`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    console.log(`looked at ${name}`);
  };
  return { context, look, problems, close: () => browser.close() };
}
