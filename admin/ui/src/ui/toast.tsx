import { Button, CloseButton } from '@mantine/core';
import { IconAlertTriangle, IconCheck } from '@tabler/icons-react';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { t } from '../i18n/t';

export interface Toast {
  title: string;
  message?: string;
  bad?: boolean;
  /** A button such as "Undo" or "Try again". */
  action?: { label: string; run: () => void };
  /** How long it stays, in milliseconds; errors stay until closed. */
  stay?: number;
  /** Called when it goes without its action. */
  gone?: () => void;
}

interface Shown extends Toast {
  id: number;
}

let next = 1;
let shown: Shown[] = [];
const listeners = new Set<() => void>();
const set = (list: Shown[]) => {
  shown = list;
  for (const l of listeners) l();
};

/** Shows a toast; at most three at a time, the oldest makes room. */
export function toast(what: Toast): number {
  const id = next++;
  const list = [...shown, { ...what, id }];
  while (list.length > 3) list.shift()?.gone?.();
  set(list);
  return id;
}

export function dismiss(id: number, acted = false) {
  const it = shown.find((s) => s.id === id);
  set(shown.filter((s) => s.id !== id));
  if (it && !acted) it.gone?.();
}

export const saved = () => toast({ title: t('toast.saved') });

export function Toasts() {
  const list = useSyncExternalStore(
    (l) => {
      listeners.add(l);
      return () => void listeners.delete(l);
    },
    () => shown,
  );
  return (
    <section className="toasts" aria-label={t('toast.region')} role="region" tabIndex={-1}>
      <div role="status" aria-live="polite" className="stack" style={{ gap: 8 }}>
        {list.filter((x) => !x.bad).map((x) => <One key={x.id} toast={x} />)}
      </div>
      <div role="alert" aria-live="assertive" className="stack" style={{ gap: 8 }}>
        {list.filter((x) => x.bad).map((x) => <One key={x.id} toast={x} />)}
      </div>
    </section>
  );
}

function One({ toast: it }: { toast: Shown }) {
  const [held, setHeld] = useState(false);
  const left = useRef(it.stay ?? (it.bad ? Infinity : 5000));
  useEffect(() => {
    if (held || left.current === Infinity) return;
    const since = Date.now();
    const timer = setTimeout(() => dismiss(it.id), left.current);
    return () => {
      clearTimeout(timer);
      left.current = Math.max(1000, left.current - (Date.now() - since));
    };
  }, [held, it.id]);
  return (
    <div className={it.bad ? 'toast bad' : 'toast'} onMouseEnter={() => setHeld(true)} onMouseLeave={() => setHeld(false)} onFocus={() => setHeld(true)} onBlur={() => setHeld(false)}>
      {it.bad ? <IconAlertTriangle size={18} aria-hidden /> : <IconCheck size={18} aria-hidden />}
      <div className="grow">
        <b>{it.title}</b>
        {it.message && <div className="dim">{it.message}</div>}
      </div>
      {it.action && (
        <Button size="compact-sm" variant="light" onClick={() => { dismiss(it.id, true); it.action!.run(); }}>{it.action.label}</Button>
      )}
      <CloseButton aria-label={t('action.close')} size="sm" onClick={() => dismiss(it.id)} />
    </div>
  );
}
