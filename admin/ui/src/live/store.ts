import { useSyncExternalStore } from 'react';

/** The one live store: what the event stream tells, and how it is doing. */

export type LinkState = 'live' | 'connecting' | 'offline';

export interface Party {
  user_id?: string;
  device_id?: string;
  name?: string;
  extension?: string;
  number?: string;
  held?: boolean;
  codec?: string;
  encrypted?: string;
}

export interface LiveCall {
  id: string;
  state: string;
  direction: string;
  caller: Party;
  callee: Party;
  dialed: string;
  started_at: string;
  answered_at?: string | null;
  outcome?: string;
  mos?: number;
  faults?: unknown[];
}

export interface Change {
  type: string;
  id: string;
  version: number;
  deleted: boolean;
  actor: string;
  time: string;
}

export interface LiveState {
  link: LinkState;
  calls: ReadonlyMap<string, LiveCall>;
  /** The newest change of each object, for "Changed by …". */
  changes: ReadonlyMap<string, Change>;
  /** Activity entries since the log was last read. */
  activity: number;
  /** Whether each line is registered, as far as the stream has said. */
  lines: ReadonlyMap<string, boolean>;
}

/** One message of the stream. */
export interface News {
  type: string;
  time: string;
  seq?: number;
  data: unknown;
}

const maxChanges = 500;

export const emptyState: LiveState = { link: 'connecting', calls: new Map(), changes: new Map(), activity: 0, lines: new Map() };

/** The state after a piece of news. Pure, so that it can be tested. */
export function apply(state: LiveState, news: News): LiveState {
  switch (news.type) {
    case 'call.started':
    case 'call.changed':
    case 'call.trouble': {
      const call = news.data as LiveCall;
      return { ...state, calls: new Map(state.calls).set(call.id, call) };
    }
    case 'call.ended': {
      const call = news.data as LiveCall;
      if (!state.calls.has(call.id)) return state;
      const calls = new Map(state.calls);
      calls.delete(call.id);
      return { ...state, calls };
    }
    case 'registration.changed': {
      const r = news.data as { line_id: string; online: boolean };
      return { ...state, lines: new Map(state.lines).set(r.line_id, r.online) };
    }
    case 'object.changed': {
      const o = news.data as Omit<Change, 'time'>;
      const known = state.changes.get(o.id);
      if (known && known.version > o.version) return state;
      const changes = new Map(state.changes);
      changes.delete(o.id);
      changes.set(o.id, { ...o, time: news.time });
      if (changes.size > maxChanges) changes.delete(changes.keys().next().value!);
      return { ...state, changes };
    }
    case 'activity.added':
      return { ...state, activity: state.activity + 1 };
    default:
      return state;
  }
}

let state = emptyState;
const listeners = new Set<() => void>();

export function update(f: (s: LiveState) => LiveState) {
  const next = f(state);
  if (next === state) return;
  state = next;
  for (const l of [...listeners]) l();
}

export const read = () => state;

const subscribe = (l: () => void) => {
  listeners.add(l);
  return () => void listeners.delete(l);
};

/** One piece of the live state; renders again only when that piece changes. */
export function useLive<T>(pick: (s: LiveState) => T): T {
  return useSyncExternalStore(subscribe, () => pick(state));
}

/** The calls of the house as one server answer tells them; replaces what we had. */
export function setCalls(calls: LiveCall[]) {
  update((s) => ({ ...s, calls: new Map(calls.map((c) => [c.id, c])) }));
}
