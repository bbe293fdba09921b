import { useEffect, useRef } from 'react';
import { useSession } from '../api/session';
import { navigate } from './router';

const key = 'branchline-keys';

/** Whether single-letter keys act (WCAG 2.1.4). */
export function lettersOn(): boolean {
  try {
    return localStorage.getItem(key) !== 'off';
  } catch {
    return true;
  }
}
export function setLetters(on: boolean) {
  try {
    if (on) localStorage.removeItem(key);
    else localStorage.setItem(key, 'off');
  } catch {
    // Without storage the keys stay on.
  }
}

/** True while the key belongs to a field or a dialog, not to the page. */
export function isTyping(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement | null;
  return Boolean(el?.closest?.('input,textarea,select,[contenteditable=true],[role=dialog],[role=alertdialog],[role=menu],[role=listbox]'));
}

const places: Record<string, { to: string; admin?: boolean }> = {
  h: { to: '/' },
  c: { to: '/calls' },
  v: { to: '/voicemail' },
  u: { to: '/users', admin: true },
  d: { to: '/devices', admin: true },
  s: { to: '/settings', admin: true },
};

export function useShortcuts(on: { palette: () => void; keys: () => void }) {
  const { admin } = useSession();
  const act = useRef(on);
  act.current = on;
  useEffect(() => {
    let g = 0;
    const down = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === 'k') {
        e.preventDefault();
        act.current.palette();
        return;
      }
      if (e.ctrlKey || e.metaKey || e.altKey || isTyping(e) || e.defaultPrevented || !lettersOn()) return;
      if (Date.now() - g < 1200) {
        const place = places[e.key];
        g = 0;
        if (place && (admin || !place.admin)) {
          e.preventDefault();
          navigate(place.to);
        }
        return;
      }
      if (e.key === 'g') g = Date.now();
      else if (e.key === '?') act.current.keys();
      else if (e.key === '/') {
        const box = document.querySelector<HTMLInputElement>('[data-list-search]');
        if (box) {
          e.preventDefault();
          box.focus();
        }
      } else if (e.key === 'c') {
        const create = document.querySelector<HTMLButtonElement>('[data-create]');
        if (create) {
          e.preventDefault();
          create.click();
        }
      }
    };
    addEventListener('keydown', down);
    return () => removeEventListener('keydown', down);
  }, [admin]);
}
