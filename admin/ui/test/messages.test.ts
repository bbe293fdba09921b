import { describe, expect, it } from 'vitest';
import { en } from '../src/i18n/en';
import { parse, t, tParts } from '../src/i18n/t';

const sources = import.meta.glob('../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true }) as Record<string, string>;
const code = Object.entries(sources)
  .filter(([file]) => !file.endsWith('/en.ts') && !file.endsWith('.d.ts') && !file.endsWith('/events.ts'))
  .map(([, text]) => text)
  .join('\n');

describe('the catalogue', () => {
  it('holds only messages that can be read', () => {
    for (const text of Object.values(en)) expect(() => parse(text)).not.toThrow();
  });

  it('holds no message that nothing uses', () => {
    const families = [...code.matchAll(/`([a-zA-Z.]+\.)\$\{/g)].map((m) => m[1]!);
    const unused = Object.keys(en).filter((key) => !code.includes(`'${key}'`) && !code.includes(`"${key}"`) && !families.some((f) => key.startsWith(f)));
    expect(unused).toEqual([]);
  });

  it('has a word for every state that the contract names', () => {
    for (const o of ['ongoing', 'answered', 'voicemail', 'cancelled', 'busy', 'no_answer', 'unreachable', 'declined', 'failed', 'interrupted']) {
      expect(en).toHaveProperty([`outcome.${o}`]);
      expect(en).toHaveProperty([`sentence.${o}`]);
    }
    for (const k of ['deskphone', 'dect_base', 'dect_handset', 'softphone']) expect(en).toHaveProperty([`kind.${k}`]);
  });

  it('is in order, so that a key is found', () => {
    const keys = Object.keys(en).map((k) => k.split('.')[0]!);
    const groups = keys.filter((k, i) => k !== keys[i - 1]);
    expect(groups).toEqual([...new Set(groups)]);
  });
});

describe('t', () => {
  it('chooses the plural', () => {
    expect(t('users.count', { count: 1 })).toBe('1 user');
    expect(t('users.count', { count: 0 })).toBe('0 users');
    expect(t('users.count', { count: 1234 })).toBe('1,234 users');
  });
  it('prefers the exact case', () => {
    expect(t('provisioning.rotateBody', { count: 0 })).toContain('No phone uses it yet.');
    expect(t('provisioning.rotateBody', { count: 1 })).toContain('One phone needs the new URL.');
    expect(t('provisioning.rotateBody', { count: 7 })).toContain('7 phones need the new URL.');
  });
  it('puts values into a plural case', () => {
    expect(t('problem.noPhone', { count: 1, name: 'Ada' })).toBe('Ada has an extension but no phone.');
  });
  it('refuses a missing value', () => {
    expect(() => t('home.hello')).toThrow('value name is missing');
  });
  it('never reads markup or braces in values', () => {
    expect(t('home.hello', { name: '{x} <b>' })).toBe('Hello, {x} <b>');
  });
  it('gives parts for values that are no text', () => {
    const marker = { an: 'element' };
    expect(tParts<object>('users.noMatch', { text: marker })).toEqual(['No users match “', marker, '”.']);
  });
});

describe('parse', () => {
  it.each(['{', '{a', 'a}', '{a, plural, one {x}}', '{a, date}', '{a, plural, one x}'])('refuses %s', (bad) => {
    expect(() => parse(bad)).toThrow();
  });
});
