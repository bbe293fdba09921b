import { Button, Loader, Skeleton, Tooltip } from '@mantine/core';
import { IconAlertTriangle, IconChevronLeft, IconInfoCircle } from '@tabler/icons-react';
import { type ReactNode, useEffect, useState } from 'react';
import { Link } from '../app/router';
import { t } from '../i18n/t';
import { ago, clock, fullTime, useSecond, useSlowNow } from './format';

/** Sets the document's title: page, account, product. */
export function useTitle(page: string) {
  useEffect(() => {
    document.title = [page, titleAccount, 'Branchline'].filter(Boolean).join(' · ');
  }, [page]);
}
let titleAccount = '';
export function setTitleAccount(name: string) {
  titleAccount = name;
}

export function PageHead({ title, back, actions, aside, docTitle }: { title: ReactNode; back?: { to: string; label: string }; actions?: ReactNode; aside?: ReactNode; docTitle: string }) {
  useTitle(docTitle);
  return (
    <>
      {back && (
        <Link className="back" to={back.to}><IconChevronLeft size={16} aria-hidden />{back.label}</Link>
      )}
      <div className="page-head">
        {typeof title === 'string' ? <h1>{title}</h1> : title}
        {aside}
        {actions && <div className="actions">{actions}</div>}
      </div>
    </>
  );
}

export function Card({ title, action, children, flush, foot, id }: { title: string; action?: ReactNode; children: ReactNode; flush?: boolean; foot?: ReactNode; id?: string }) {
  return (
    <section className="card" aria-label={title} id={id}>
      <div className="card-head"><h2>{title}</h2>{action && <div className="row">{action}</div>}</div>
      {flush ? children : <div className="card-body">{children}</div>}
      {foot && <div className="card-foot">{foot}</div>}
    </section>
  );
}

export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'accent' | 'quiet';

export function Pill({ tone = 'quiet', children, hollow, beat, plain }: { tone?: Tone; children: ReactNode; hollow?: boolean; beat?: boolean; plain?: boolean }) {
  return <span className={['pill', tone, hollow && 'hollow', beat && 'beat', plain && 'plain'].filter(Boolean).join(' ')}>{children}</span>;
}

/** A time as people say it, with the full time on hover. */
export function Time({ at }: { at: string | null | undefined }) {
  const now = useSlowNow();
  if (!at) return <span className="dim">{t('value.none')}</span>;
  return <time dateTime={at} title={fullTime(at)} style={{ whiteSpace: 'nowrap' }}>{ago(at, now)}</time>;
}

/** A duration that runs while it is looked at. */
export function Running({ since }: { since: string }) {
  const now = useSecond();
  return <span style={{ fontVariantNumeric: 'tabular-nums' }}>{clock((now - new Date(since).getTime()) / 1000)}</span>;
}

const tones = 6;
export function Avatar({ name, big }: { name: string; big?: boolean }) {
  const words = name.trim().split(/\s+/);
  const initials = [words[0], words.length > 1 ? words[words.length - 1] : ''].map((w) => [...(w ?? '')][0] ?? '').join('').toUpperCase();
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)!) >>> 0;
  return <span className={`avatar t${h % tones}${big ? ' big' : ''}`} aria-hidden>{initials}</span>;
}

/** Nothing yet: what this is and how to begin. */
export function Empty({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <svg className="picture" viewBox="0 0 88 40" fill="none" stroke="currentColor" strokeWidth="2.5" strokeLinecap="round" aria-hidden>
        <path d="M8 20h22c14 0 12-12 26-12h20M30 20c14 0 12 12 26 12h20" />
        <circle cx="8" cy="20" r="4.5" fill="var(--surface)" /><circle cx="78" cy="8" r="4.5" fill="var(--surface)" /><circle cx="78" cy="32" r="4.5" fill="var(--surface)" />
      </svg>
      <p>{children}</p>
      {action}
    </div>
  );
}

export function Note({ tone = 'info', children, action }: { tone?: 'info' | 'warn' | 'bad' | 'ok'; children: ReactNode; action?: ReactNode }) {
  const Icon = tone === 'info' || tone === 'ok' ? IconInfoCircle : IconAlertTriangle;
  return (
    <div className={`note ${tone}`} role={tone === 'bad' ? 'alert' : undefined}>
      <Icon size={18} aria-hidden />
      <div className="grow">{children}</div>
      {action}
    </div>
  );
}

/** What failed, in words, and "Try again". */
export function Failed({ what, retry }: { what: string; retry: () => void }) {
  return <div style={{ padding: '1rem' }}><Note tone="bad" action={<Button size="compact-sm" variant="default" onClick={retry}>{t('action.tryAgain')}</Button>}>{what}</Note></div>;
}

/** True after 150 ms, so that quick answers show no skeleton. */
function useLate() {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return late;
}

export function Loading({ rows = 4 }: { rows?: number }) {
  const late = useLate();
  return (
    <div style={{ padding: '1rem', display: 'grid', gap: 12 }} aria-busy="true">
      <span className="hidden-at-once">{t('state.loading')}</span>
      {late && Array.from({ length: rows }, (_, i) => <Skeleton key={i} height={18} width={`${92 - ((i * 17) % 40)}%`} radius="sm" />)}
    </div>
  );
}

export function Spinner() {
  return useLate() ? <Loader size="sm" /> : null;
}

/** A control that cannot be used, saying why. */
export function Why({ reason, children }: { reason?: string; children: ReactNode }) {
  return reason ? <Tooltip label={reason} multiline maw={280} events={{ hover: true, focus: true, touch: true }}><span tabIndex={0} aria-label={reason}>{children}</span></Tooltip> : <>{children}</>;
}
