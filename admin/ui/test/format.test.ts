import { describe, expect, it } from 'vitest';
import { match, navigate } from '../src/app/router';
import { ago, clock, formatMac, parseMac } from '../src/ui/format';
import { strength } from '../src/pages/Setup';

describe('format', () => {
  it.each([[0, '0:00'], [7, '0:07'], [252.9, '4:12'], [3723, '1:02:03'], [-5, '0:00']])('clock(%d) is %s', (s, want) => expect(clock(s)).toBe(want));
  it.each(['805ec0123456', '80:5e:c0:12:34:56', '80-5E-C0-12-34-56', '805e.c012.3456', ' 80 5e c0 12 34 56'])('reads the MAC address %s', (s) => expect(parseMac(s)).toBe('805ec0123456'));
  it.each(['', '80:5e', '80:5e:c0:12:34:5g', '000000000000', 'ff:ff:ff:ff:ff:ff'])('refuses the MAC address %s', (s) => expect(parseMac(s)).toBeNull());
  it('shows a MAC address in pairs', () => expect(formatMac('805ec0123456')).toBe('80:5e:c0:12:34:56'));
  it('is relative under a day', () => {
    const now = Date.parse('2026-03-02T10:00:00Z');
    expect(ago('2026-03-02T09:59:58Z', now)).toBe('just now');
    expect(ago('2026-03-02T09:55:00Z', now)).toBe('5 min. ago');
    expect(ago('2026-03-01T08:00:00Z', now)).not.toContain('ago');
  });
});

describe('router', () => {
  it('matches paths', () => {
    expect(match('/users/:id', '/users/usr_1')).toEqual({ id: 'usr_1' });
    expect(match('/users/:id', '/users/')).toBeNull();
    expect(match('/users', '/users/')).toEqual({});
    expect(match('/users/:id', '/users/%E0%A4%A')).toBeNull();
    expect(match('/', '/')).toEqual({});
    expect(match('/users', '/devices')).toBeNull();
  });
  it('keeps the address', () => {
    navigate('/users?q=ada');
    expect(location.pathname + location.search).toBe('/users?q=ada');
  });
});

describe('strength', () => {
  it('is said in words', () => {
    expect(strength('short')).toBe('short');
    expect(strength('aaaaaaaaaaaaaaaaaaaa')).toBe('fair');
    expect(strength('correct horse battery')).toBe('strong');
    expect(strength('abcdefgh1234')).toBe('fair');
  });
});
