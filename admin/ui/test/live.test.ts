import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { delay, listen } from '../src/live/socket';
import { type LiveCall, apply, emptyState, read, update } from '../src/live/store';

const call = (id: string, state = 'ringing'): LiveCall => ({ id, state, direction: 'internal', caller: { name: 'Ada' }, callee: { name: 'Bob' }, dialed: '102', started_at: '2026-03-02T10:00:00Z' });
const news = (type: string, data: unknown, seq = 1) => ({ type, time: '2026-03-02T10:00:00Z', seq, data });

describe('apply', () => {
  it('follows a call from ringing to its end', () => {
    let s = apply(emptyState, news('call.started', call('c1')));
    expect(s.calls.get('c1')?.state).toBe('ringing');
    s = apply(s, news('call.changed', call('c1', 'talking')));
    expect(s.calls.size).toBe(1);
    expect(s.calls.get('c1')?.state).toBe('talking');
    s = apply(s, news('call.ended', call('c1', 'ended')));
    expect(s.calls.size).toBe(0);
  });
  it('leaves the state alone when nothing changes', () => {
    expect(apply(emptyState, news('call.ended', call('unknown')))).toBe(emptyState);
    expect(apply(emptyState, news('something.new', {}))).toBe(emptyState);
  });
  it('never changes a state that somebody holds', () => {
    const s = apply(emptyState, news('call.started', call('c1')));
    expect(emptyState.calls.size).toBe(0);
    apply(s, news('call.ended', call('c1')));
    expect(s.calls.size).toBe(1);
  });
  it('keeps the newest change of an object, whatever order it comes in', () => {
    const o = (version: number, actor: string) => news('object.changed', { type: 'user', id: 'usr_1', version, deleted: false, actor });
    let s = apply(emptyState, o(5, 'ada'));
    s = apply(s, o(4, 'bob'));
    expect(s.changes.get('usr_1')).toMatchObject({ version: 5, actor: 'ada' });
  });
  it('forgets old changes', () => {
    let s = emptyState;
    for (let i = 0; i < 600; i++) s = apply(s, news('object.changed', { type: 'user', id: `usr_${i}`, version: 1, deleted: false, actor: '' }));
    expect(s.changes.size).toBe(500);
    expect(s.changes.has('usr_0')).toBe(false);
    expect(s.changes.has('usr_599')).toBe(true);
  });
});

describe('delay', () => {
  it('doubles from one second to thirty, with jitter', () => {
    expect(delay(0, 0.5)).toBe(1000);
    expect(delay(3, 0.5)).toBe(8000);
    expect(delay(20, 0.5)).toBe(30_000);
    expect(delay(0, 0)).toBe(750);
    expect(delay(20, 1)).toBeLessThanOrEqual(37_500);
  });
});

class Socket {
  static all: Socket[] = [];
  onopen?: () => void;
  onmessage?: (m: { data: string }) => void;
  onclose?: (e: { code: number }) => void;
  closed = false;
  constructor(readonly url: string) {
    Socket.all.push(this);
  }
  close() {
    this.closed = true;
  }
  say(o: unknown) {
    this.onmessage?.({ data: JSON.stringify(o) });
  }
}

describe('listen', () => {
  const onNews = vi.fn();
  const onGap = vi.fn();
  const onSignedOut = vi.fn();
  let stop: () => void;
  const last = () => Socket.all.at(-1)!;

  beforeEach(() => {
    vi.useFakeTimers();
    Socket.all = [];
    for (const f of [onNews, onGap, onSignedOut]) f.mockClear();
    update(() => emptyState);
    stop = listen({ url: (after) => `ws://x/events${after === undefined ? '' : `?after=${after}`}`, onNews, onGap, onSignedOut, open: (u) => new Socket(u) as unknown as WebSocket });
  });
  afterEach(() => {
    stop();
    vi.useRealTimers();
  });

  it('is live once it is open, and puts news into the store', () => {
    expect(read().link).toBe('connecting');
    last().onopen?.();
    expect(read().link).toBe('live');
    last().say(news('hello', {}, 7));
    last().say(news('call.started', call('c1'), 8));
    expect(read().calls.has('c1')).toBe(true);
    expect(onNews).toHaveBeenCalledTimes(1);
    expect(onGap).not.toHaveBeenCalled();
  });

  it('comes back after a break and goes on behind what it has seen', () => {
    last().onopen?.();
    last().say(news('call.started', call('c1'), 41));
    last().onclose?.({ code: 1006 });
    expect(read().link).toBe('connecting');
    vi.advanceTimersByTime(1300);
    expect(Socket.all).toHaveLength(2);
    expect(last().url).toBe('ws://x/events?after=41');
    last().onopen?.();
    expect(read().link).toBe('live');
    expect(onGap).toHaveBeenCalledTimes(1);
  });

  it('says Offline when it fails again and again', () => {
    for (let i = 0; i < 5; i++) {
      last().onclose?.({ code: 1006 });
      vi.advanceTimersByTime(40_000);
    }
    expect(read().link).toBe('offline');
  });

  it('asks for a fetch when news was lost', () => {
    last().onopen?.();
    last().say(news('lagged', {}, 90));
    expect(onGap).toHaveBeenCalledTimes(1);
    expect(onNews).not.toHaveBeenCalled();
  });

  it('stays closed when the session ended', () => {
    last().onopen?.();
    last().onclose?.({ code: 4401 });
    vi.advanceTimersByTime(60_000);
    expect(Socket.all).toHaveLength(1);
    expect(onSignedOut).toHaveBeenCalledTimes(1);
  });

  it('survives what is no news', () => {
    last().onopen?.();
    last().onmessage?.({ data: 'not json' });
    last().say(null);
    last().say({ type: 5 });
    expect(onNews).not.toHaveBeenCalled();
  });

  it('closes its socket at the end', () => {
    const ws = last();
    stop();
    ws.onclose?.({ code: 1005 });
    vi.advanceTimersByTime(60_000);
    expect(ws.closed).toBe(true);
    expect(Socket.all).toHaveLength(1);
  });
});
