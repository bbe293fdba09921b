import { useSyncExternalStore } from 'react';
import { locale, t } from '../i18n/t';

/** The account's time zone, in which all times are shown. */
let zone: string | undefined;
export function setZone(name: string | undefined) {
  try {
    new Intl.DateTimeFormat(locale, { timeZone: name });
    zone = name;
  } catch {
    zone = undefined;
  }
}

/** Dates look as the person's own English has them: 24 hours where that is usual. */
const own = (typeof navigator === 'undefined' ? [] : (navigator.languages ?? [])).find((l) => l.split('-')[0] === locale) ?? locale;

const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });

export function fullTime(at: Date | string): string {
  return new Intl.DateTimeFormat(own, { dateStyle: 'medium', timeStyle: 'medium', timeZone: zone }).format(new Date(at));
}
export function clockTime(at: Date | string): string {
  return new Intl.DateTimeFormat(own, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZone: zone }).format(new Date(at));
}
export function shortDate(at: Date | string): string {
  const d = new Date(at);
  const year = d.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';
  return new Intl.DateTimeFormat(own, { day: 'numeric', month: 'short', year, timeZone: zone }).format(d);
}

/** Relative under 24 hours, a date beyond. */
export function ago(at: Date | string, now: number): string {
  const s = Math.round((new Date(at).getTime() - now) / 1000);
  const a = Math.abs(s);
  if (a < 10) return t('time.now');
  if (a < 60) return relative.format(s, 'second');
  if (a < 3600) return relative.format(Math.trunc(s / 60), 'minute');
  if (a < 86400) return relative.format(Math.trunc(s / 3600), 'hour');
  return shortDate(at);
}

/** "0:07", "4:12", "1:02:03". */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600);
  return h ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

/** "80:5e:c0:12:34:56" from twelve digits. */
export const formatMac = (mac: string) => (mac.length === 12 ? mac.match(/../g)!.join(':') : mac);

/** Twelve lower-case hex digits from any usual spelling, or null. */
export function parseMac(s: string): string | null {
  const hex = s.toLowerCase().replace(/[:\-. ]/g, '');
  return /^[0-9a-f]{12}$/.test(hex) && !/^(0{12}|f{12})$/.test(hex) ? hex : null;
}

// One second hand for all running durations, one slow hand for "3 min ago".
function hand(period: number) {
  const listeners = new Set<() => void>();
  let now = Date.now();
  let timer: ReturnType<typeof setInterval> | undefined;
  return {
    subscribe(l: () => void) {
      if (!timer) {
        now = Date.now();
        timer = setInterval(() => {
          now = Date.now();
          for (const x of [...listeners]) x();
        }, period);
      }
      listeners.add(l);
      return () => {
        listeners.delete(l);
        if (!listeners.size) {
          clearInterval(timer);
          timer = undefined;
        }
      };
    },
    read: () => now,
  };
}
const second = hand(1000);
const slow = hand(20_000);
export const useSecond = () => useSyncExternalStore(second.subscribe, second.read);
export const useSlowNow = () => useSyncExternalStore(slow.subscribe, slow.read);
