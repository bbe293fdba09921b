import { QueryClient, type QueryKey } from '@tanstack/react-query';
import { t } from '../i18n/t';
import { saved, toast } from '../ui/toast';
import { Problem, isProblem, words } from './problem';

let sessionEnded: () => void = () => {};
export function onSessionEnd(f: () => void) {
  sessionEnded = f;
}

const noRetry = new Set([400, 401, 403, 404, 409, 412, 422, 429]);

export const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 20_000,
      retry: (n, e) => n < 2 && !(e instanceof Problem && noRetry.has(e.status)),
      retryDelay: (n) => 400 * 2 ** n,
    },
  },
});
cache.getQueryCache().subscribe((e) => {
  if (e.type === 'updated' && e.action.type === 'error' && isProblem(e.action.error, 401)) sessionEnded();
});

/** The object after a merge patch (RFC 7396). */
export function mergePatch<T>(target: T, patch: unknown): T {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch as T;
  const out: Record<string, unknown> = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [k, v] of Object.entries(patch)) {
    if (v === undefined) continue;
    out[k] = v === null ? null : mergePatch(out[k], v);
  }
  return out as T;
}

/** A refused change of an object that someone else changed meanwhile. */
export interface Conflict {
  id: string;
  keepMine: () => Promise<unknown>;
}
const conflicts = new Map<string, Conflict>();
const listeners = new Set<() => void>();
export const conflictOf = (id: string) => conflicts.get(id);
export function onConflict(l: () => void) {
  listeners.add(l);
  return () => void listeners.delete(l);
}
function setConflict(id: string, c?: Conflict) {
  if (c) conflicts.set(id, c);
  else if (!conflicts.delete(id)) return;
  for (const l of [...listeners]) l();
}
export const forgetConflict = (id: string) => setConflict(id);

export interface Change<T, P> {
  key: QueryKey;
  id: string;
  patch: P;
  /** Sends it; `version` is undefined when the change shall win whatever happened. */
  send: (patch: P, version?: number) => Promise<T>;
  /** Lists that show the object. */
  lists: QueryKey[];
}

/**
 * Changes an object: on the screen at once, on the server next, back again when
 * the server refuses. Throws what the server said.
 */
export async function change<T extends { version: number }, P>(c: Change<T, P>, force = false): Promise<T> {
  const before = cache.getQueryData<T>(c.key);
  await cache.cancelQueries({ queryKey: c.key });
  if (before) cache.setQueryData<T>(c.key, mergePatch(before, c.patch));
  try {
    const after = await c.send(c.patch, force ? undefined : before?.version);
    cache.setQueryData<T>(c.key, after);
    setConflict(c.id);
    for (const queryKey of c.lists) void cache.invalidateQueries({ queryKey });
    return after;
  } catch (e) {
    if (before) cache.setQueryData<T>(c.key, before);
    if (isProblem(e, 401)) sessionEnded();
    if (isProblem(e, 412)) setConflict(c.id, { id: c.id, keepMine: () => autosave(() => change(c, true)) });
    throw e;
  }
}

/** Runs a change that saves by itself: says "Saved", or what failed with "Try again". */
export async function autosave(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    saved();
    return true;
  } catch (e) {
    if (isProblem(e, 412)) return false;
    toast({ title: t('toast.error'), message: words(e), bad: true, action: { label: t('action.tryAgain'), run: () => void autosave(run) } });
    return false;
  }
}

/** The message for one field of a refused change, or for the change as a whole. */
export function refusal(e: unknown, field: string): string {
  if (isProblem(e, 412)) return t('conflict.short');
  if (e instanceof Problem) return e.fields[field] ?? e.message;
  return words(e);
}
