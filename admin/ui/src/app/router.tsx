import { type AnchorHTMLAttributes, type MouseEvent, useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import { t } from '../i18n/t';

/**
 * The router: the address bar is the state. Paths and queries are read with
 * hooks, changed with `navigate`, and nothing else is remembered.
 */

type Listener = () => void;
const listeners = new Set<Listener>();
const guards = new Set<() => boolean>();

const current = () => location.pathname + location.search;
let shown = current();

function changed() {
  shown = current();
  for (const l of [...listeners]) l();
}

function mayLeave() {
  return [...guards].every((dirty) => !dirty()) || confirm(t('dialog.discard'));
}

addEventListener('popstate', () => {
  if (location.pathname === new URL(shown, location.href).pathname || mayLeave()) changed();
  else history.pushState(null, '', shown);
});

export interface NavigateOptions {
  replace?: boolean;
}

export function navigate(to: string, options: NavigateOptions = {}) {
  const next = new URL(to, location.href);
  const target = next.pathname + next.search;
  if (target === current()) return;
  if (next.pathname !== location.pathname && !mayLeave()) return;
  if (options.replace) history.replaceState(null, '', target);
  else history.pushState(null, '', target);
  if (!options.replace && next.pathname !== new URL(shown, location.href).pathname) scrollTo(0, 0);
  changed();
}

const subscribe = (l: Listener) => {
  listeners.add(l);
  return () => void listeners.delete(l);
};

export function useAddress(): { path: string; search: URLSearchParams } {
  const address = useSyncExternalStore(subscribe, () => shown);
  return useMemo(() => {
    const url = new URL(address, location.href);
    return { path: url.pathname, search: url.searchParams };
  }, [address]);
}

/** One value of the query, "" when absent. Setting "" removes it. */
export function useQueryParam(name: string, options: { push?: boolean } = {}): [string, (value: string) => void] {
  const { search } = useAddress();
  const push = options.push ?? false;
  const set = useCallback((value: string) => setQuery({ [name]: value }, push), [name, push]);
  return [search.get(name) ?? '', set];
}

/** Changes several values of the query at once. */
export function setQuery(values: Record<string, string>, push = false) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  navigate(url.pathname + url.search, { replace: !push });
}

/** The values of `pattern` (such as "/users/:id") in `path`, or null. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const want = pattern.split('/');
  const have = path.replace(/(.)\/$/, '$1').split('/');
  if (want.length !== have.length) return null;
  const values: Record<string, string> = {};
  for (let i = 0; i < want.length; i++) {
    const w = want[i]!;
    if (w.startsWith(':')) {
      try {
        values[w.slice(1)] = decodeURIComponent(have[i]!);
      } catch {
        return null;
      }
      if (!have[i]) return null;
    } else if (w !== have[i]) return null;
  }
  return values;
}

/** Asks before a page with unsaved text is left. */
export function useLeaveGuard(dirty: boolean) {
  useEffect(() => {
    if (!dirty) return;
    const guard = () => true;
    const unload = (e: BeforeUnloadEvent) => e.preventDefault();
    guards.add(guard);
    addEventListener('beforeunload', unload);
    return () => {
      guards.delete(guard);
      removeEventListener('beforeunload', unload);
    };
  }, [dirty]);
}

export interface LinkProps extends AnchorHTMLAttributes<HTMLAnchorElement> {
  to: string;
}

/** A real link that stays in the app on a plain click. */
export function Link({ to, onClick, ...rest }: LinkProps) {
  const click = (e: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(e);
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    navigate(to);
  };
  return <a href={to} onClick={click} {...rest} />;
}
