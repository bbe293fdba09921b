import { type News, apply, update } from './store';

const firstDelay = 1000;
const longestDelay = 30_000;

/** The close code of a session that ended. */
const signedOut = 4401;

/** How long to wait before the nth new try: 1 s, doubling to 30 s, with jitter. */
export function delay(tries: number, random = Math.random()): number {
  return Math.min(longestDelay, firstDelay * 2 ** tries) * (0.75 + 0.5 * random);
}

export interface SocketOptions {
  /** Where the stream is; `after` is the last number that was seen. */
  url: (after?: number) => string;
  /** Called for every piece of news, after the store has it. */
  onNews: (news: News) => void;
  /** Called when news may have been missed: what is on screen must be fetched anew. */
  onGap: () => void;
  onSignedOut: () => void;
  open?: (url: string) => WebSocket;
}

/** Keeps one event stream open until the returned function is called. */
export function listen({ url, onNews, onGap, onSignedOut, open = (u) => new WebSocket(u) }: SocketOptions): () => void {
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  let seen: number | undefined;
  let ended = false;
  const link = (to: 'live' | 'connecting' | 'offline') => update((s) => (s.link === to ? s : { ...s, link: to }));

  const connect = () => {
    timer = undefined;
    const again = seen !== undefined;
    if (tries <= 2) link('connecting');
    const ws = open(url(seen));
    socket = ws;
    ws.onopen = () => {
      tries = 0;
      link('live');
      if (again) onGap();
    };
    ws.onmessage = (m: MessageEvent) => {
      let news: News;
      try {
        news = JSON.parse(String(m.data)) as News;
      } catch {
        return;
      }
      if (typeof news?.type !== 'string') return;
      if (typeof news.seq === 'number') seen = news.seq;
      if (news.type === 'hello') return;
      if (news.type === 'lagged') return onGap();
      update((s) => apply(s, news));
      onNews(news);
    };
    ws.onclose = (e) => {
      if (ended || socket !== ws) return;
      socket = undefined;
      if (e.code === signedOut) {
        link('offline');
        onSignedOut();
        return;
      }
      link(navigator.onLine === false || tries > 2 ? 'offline' : 'connecting');
      timer = setTimeout(connect, delay(tries++));
    };
  };
  const online = () => {
    if (timer) {
      clearTimeout(timer);
      connect();
    }
  };
  const offline = () => link('offline');
  addEventListener('online', online);
  addEventListener('offline', offline);
  connect();
  return () => {
    ended = true;
    removeEventListener('online', online);
    removeEventListener('offline', offline);
    clearTimeout(timer);
    socket?.close();
  };
}
