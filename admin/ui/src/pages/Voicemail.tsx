import { ActionIcon, Button, SegmentedControl, Select, Tooltip } from '@mantine/core';
import { IconChevronLeft, IconDownload, IconMailOpened, IconPhoneOutgoing, IconPlayerPauseFilled, IconPlayerPlayFilled, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { autosave, cache } from '../api/cache';
import { type Message, api, base, account, inAccount } from '../api/client';
import { isProblem, ok, words } from '../api/problem';
import { keys, useMessages, useUsers } from '../api/queries';
import { useSession } from '../api/session';
import { Link, setQuery, useQueryParam } from '../app/router';
import { isTyping, lettersOn } from '../app/shortcuts';
import { t } from '../i18n/t';
import { Empty, Failed, Loading, PageHead, Time } from '../ui/bits';
import { clock } from '../ui/format';
import { dismiss, toast } from '../ui/toast';
import { Waveform } from '../ui/Waveform';

type Box = { items: Message[]; counts: { new: number; old: number } };

const who = (m: Message) => m.caller.name || m.caller.number || t('party.unknown');

function patchList(change: (all: Message[]) => Message[]) {
  cache.setQueriesData<Box>({ queryKey: keys.messages }, (b) => {
    if (!b) return b;
    const items = change(b.items);
    const fresh = items.filter((m) => !m.read).length;
    return { items, counts: { new: fresh, old: items.length - fresh } };
  });
}

async function setRead(m: Message, read: boolean) {
  const before = cache.getQueriesData<Box>({ queryKey: keys.messages });
  patchList((all) => all.map((x) => (x.id === m.id ? { ...x, read } : x)));
  try {
    const after = await ok(api.PATCH('/accounts/{account}/voicemail-messages/{message}', { params: { path: { ...inAccount, message: m.id } }, body: { read } }));
    patchList((all) => all.map((x) => (x.id === m.id ? after : x)));
  } catch (e) {
    for (const [key, box] of before) cache.setQueryData(key, box);
    throw e;
  }
}

/** Messages that were deleted on the screen and are not yet on the server. */
const leaving = new Set<string>();

function useDelete() {
  const [, redraw] = useState(0);
  return useCallback((m: Message) => {
    leaving.add(m.id);
    redraw((n) => n + 1);
    const send = async () => {
      removeEventListener('pagehide', atOnce);
      if (!leaving.has(m.id)) return;
      try {
        await ok(api.DELETE('/accounts/{account}/voicemail-messages/{message}', { params: { path: { ...inAccount, message: m.id } } }));
        patchList((all) => all.filter((x) => x.id !== m.id));
      } catch (e) {
        if (!isProblem(e, 404)) toast({ title: t('toast.error'), message: words(e), bad: true });
      }
      leaving.delete(m.id);
      void cache.invalidateQueries({ queryKey: keys.messages });
    };
    // Leaving the page is no undo.
    const atOnce = () => void fetch(`${base}/accounts/${account}/voicemail-messages/${m.id}`, { method: 'DELETE', keepalive: true, credentials: 'same-origin' });
    addEventListener('pagehide', atOnce);
    const id = toast({
      title: t('voicemail.deleted'),
      message: who(m),
      stay: 10_000,
      gone: () => void send(),
      action: {
        label: t('action.undo'),
        run: () => {
          removeEventListener('pagehide', atOnce);
          leaving.delete(m.id);
          dismiss(id, true);
          redraw((n) => n + 1);
          void cache.invalidateQueries({ queryKey: keys.messages });
        },
      },
    });
  }, []);
}

export default function Voicemail() {
  const { me, admin } = useSession();
  const [box] = useQueryParam('box');
  const users = useUsers(admin);
  const messages = useMessages(box);
  const [id, setId] = useQueryParam('id');
  const [only, setOnly] = useQueryParam('show');
  const remove = useDelete();
  const all = (messages.data?.items ?? []).filter((m) => !leaving.has(m.id));
  const list = only === 'new' ? all.filter((m) => !m.read || m.id === id) : all;
  const chosen = list.find((m) => m.id === id);
  const index = chosen ? list.indexOf(chosen) : -1;

  // Wide screens show the first message at once; small ones begin with the list.
  const wide = matchMedia('(min-width: 48.01rem)').matches;
  const first = list[0]?.id;
  useEffect(() => {
    if (wide && !chosen && first) setQuery({ id: first });
  }, [wide, chosen, first]);

  const go = useCallback((n: number) => {
    const m = list[n];
    if (m) setQuery({ id: m.id });
  }, [list]);
  const removeChosen = useCallback(() => {
    if (!chosen) return;
    const next = list[index + 1] ?? list[index - 1];
    setQuery({ id: next?.id ?? '' });
    remove(chosen);
  }, [chosen, list, index, remove]);

  useEffect(() => {
    const down = (e: globalThis.KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || isTyping(e) || !lettersOn()) return;
      if (e.key === 'n') go(index + 1);
      else if (e.key === 'p') go(index - 1);
      else if (e.key === 'd') removeChosen();
      else return;
      e.preventDefault();
    };
    addEventListener('keydown', down);
    return () => removeEventListener('keydown', down);
  }, [go, index, removeChosen]);

  const fresh = all.filter((m) => !m.read).length;
  return (
    <>
      <PageHead title={t('nav.voicemail')} docTitle={t('nav.voicemail')} aside={<span className="dim" role="status">{t('voicemail.counts', { fresh, count: all.length })}</span>} />
      {messages.isPending ? <Loading rows={5} /> : messages.isError && !messages.data ? <Failed what={words(messages.error)} retry={() => void messages.refetch()} /> : (
        <div className={chosen ? 'inbox reading' : 'inbox'}>
          <div className="stack inbox-list">
            {admin && (users.data?.length ?? 0) > 1 && (
              <Select
                aria-label={t('voicemail.box')}
                searchable
                allowDeselect={false}
                value={box || me.id}
                onChange={(v) => setQuery({ box: v && v !== me.id ? v : '', id: '' })}
                data={(users.data ?? []).map((u) => ({ value: u.id, label: u.id === me.id ? t('voicemail.boxMine') : t('voicemail.boxOf', { name: u.name }) }))}
              />
            )}
            <SegmentedControl aria-label={t('voicemail.filter')} value={only === 'new' ? 'new' : 'all'} onChange={(v) => setOnly(v === 'new' ? 'new' : '')} data={[{ value: 'all', label: t('voicemail.all') }, { value: 'new', label: t('voicemail.new') }]} />
            <section className="card" aria-label={t('voicemail.list')}>
              {list.length === 0 ? <Empty>{t(only === 'new' ? 'voicemail.noneNew' : 'voicemail.none')}</Empty> : (
                <ul className="messages">
                  {list.map((m) => (
                    <li key={m.id}>
                      <button type="button" className={`message${m.read ? '' : ' fresh'}`} aria-current={m.id === id ? 'true' : undefined} onClick={() => setId(m.id)}>
                        <span className="row apart"><span className="cut who"><bdi>{who(m)}</bdi></span><span className="dim"><Time at={m.received_at} /></span></span>
                        <span className="row apart dim"><span className="cut"><bdi>{m.caller.name ? m.caller.number : ''}</bdi></span><span>{clock(m.duration_s)}</span></span>
                        {!m.read && <span className="hidden-at-once">{t('voicemail.isNew')}</span>}
                      </button>
                    </li>
                  ))}
                </ul>
              )}
            </section>
          </div>
          {chosen ? (
            <div className="stack reader">
              <button type="button" className="back only-small as-link" onClick={() => setId('')}><IconChevronLeft size={16} aria-hidden />{t('voicemail.backToList')}</button>
              <Reader key={chosen.id} message={chosen} onDelete={removeChosen} />
            </div>
          ) : list.length > 0 && <div className="card only-wide"><Empty>{t('voicemail.choose')}</Empty></div>}
        </div>
      )}
    </>
  );
}

const speeds = [0.8, 1, 1.25, 1.5, 2];
const speedKey = 'branchline-speed';

function Reader({ message: m, onDelete }: { message: Message; onDelete: () => void }) {
  const { me } = useSession();
  const audio = useRef<HTMLAudioElement>(null);
  const [playing, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const [problem, setProblem] = useState('');
  const [speed, setSpeed] = useState(() => Number(sessionStorage.getItem(speedKey)) || 1);
  const peaks = useQuery({
    queryKey: ['peaks', m.id],
    staleTime: Infinity,
    queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/voicemail-messages/{message}/peaks', { params: { path: { ...inAccount, message: m.id }, query: { points: 192 } }, signal })),
  });
  const duration = peaks.data?.duration_s || m.duration_s;
  const src = `${base}/accounts/${account}/voicemail-messages/${m.id}/audio`;
  const none = useMemo(() => [], []);

  useEffect(() => {
    if (audio.current) {
      audio.current.playbackRate = speed;
      audio.current.preservesPitch = true;
    }
    sessionStorage.setItem(speedKey, String(speed));
  }, [speed]);

  // The hand moves with the frames while it plays.
  useEffect(() => {
    if (!playing) return;
    let frame = requestAnimationFrame(function tick() {
      if (audio.current) setAt(audio.current.currentTime);
      frame = requestAnimationFrame(tick);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing]);

  const toggle = useCallback(() => {
    const a = audio.current;
    if (!a) return;
    if (a.paused) {
      setProblem('');
      a.playbackRate = speed;
      a.play().catch((e: unknown) => {
        if (!(e instanceof DOMException && e.name === 'AbortError')) setProblem(t('player.failed'));
      });
    } else a.pause();
  }, [speed]);
  const seek = useCallback((to: number) => {
    const a = audio.current;
    const bounded = Math.min(duration, Math.max(0, to));
    if (a) a.currentTime = bounded;
    setAt(bounded);
  }, [duration]);

  useEffect(() => {
    const down = (e: globalThis.KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || isTyping(e) || !lettersOn()) return;
      const on = (e.target as HTMLElement | null)?.closest?.('button,a,[role=slider],[role=radio]');
      if (e.key === ' ' && !on) toggle();
      else if (e.key === 'ArrowLeft' && !on) seek((audio.current?.currentTime ?? 0) - 5);
      else if (e.key === 'ArrowRight' && !on) seek((audio.current?.currentTime ?? 0) + 5);
      else return;
      e.preventDefault();
    };
    addEventListener('keydown', down);
    return () => removeEventListener('keydown', down);
  }, [toggle, seek]);

  const callBack = async () => {
    try {
      await ok(api.POST('/accounts/{account}/calls', { params: { path: inAccount }, body: { from_user_id: me.id, to: m.caller.number } }));
      toast({ title: t('voicemail.calling'), message: t('voicemail.callingHow') });
    } catch (e) {
      toast({ title: t('toast.error'), message: words(e), bad: true });
    }
  };

  return (
    <section className="card" aria-label={t('voicemail.from', { name: who(m) })}>
      <div className="card-body stack" style={{ gap: 18 }}>
        <div className="row apart wrap">
          <div className="grow">
            <h2 className="reader-title cut"><bdi>{who(m)}</bdi></h2>
            <div className="dim row wrap" style={{ gap: 6 }}>
              {m.caller.name && m.caller.number && <><bdi>{m.caller.number}</bdi><span aria-hidden>·</span></>}
              <Time at={m.received_at} />
              {m.call_id && <><span aria-hidden>·</span><Link to={`/calls/${m.call_id}`}>{t('voicemail.showCall')}</Link></>}
            </div>
          </div>
        </div>
        <audio
          ref={audio}
          src={src}
          preload="metadata"
          onPlay={() => { setPlaying(true); if (!m.read) void setRead(m, true).catch(() => {}); }}
          onPause={() => setPlaying(false)}
          onEnded={() => { setPlaying(false); setAt(0); }}
          onError={() => setProblem(t('player.failed'))}
        />
        <div className="player">
          <ActionIcon size={48} radius="xl" variant="filled" aria-label={t(playing ? 'player.pause' : 'player.play')} onClick={toggle}>
            {playing ? <IconPlayerPauseFilled size={22} aria-hidden /> : <IconPlayerPlayFilled size={22} aria-hidden />}
          </ActionIcon>
          <Waveform peaks={peaks.data?.peaks ?? none} duration={duration} position={at} onSeek={seek} />
        </div>
        <div className="row apart wrap">
          <span className="dim">{t('player.of', { at: clock(at), total: clock(duration) })}</span>
          <SegmentedControl size="xs" aria-label={t('player.speed')} value={String(speed)} onChange={(v) => setSpeed(Number(v))} data={speeds.map((s) => ({ value: String(s), label: t('player.times', { n: s }) }))} />
        </div>
        {problem && <p role="alert" style={{ color: 'var(--bad)' }}>{problem}</p>}
        {m.summary && <div><h3 className="small dim">{t('voicemail.summary')}</h3><p><bdi>{m.summary}</bdi></p></div>}
        {m.transcript && <div><h3 className="small dim">{t('voicemail.transcript')}</h3><p><bdi>{m.transcript}</bdi></p></div>}
      </div>
      <div className="card-foot" style={{ justifyContent: 'flex-start', flexWrap: 'wrap' }}>
        {/^[0-9*#+]+$/.test(m.caller.number) && <Button size="compact-md" variant="light" leftSection={<IconPhoneOutgoing size={16} aria-hidden />} onClick={() => void callBack()}>{t('voicemail.callBack')}</Button>}
        <Button size="compact-md" variant="subtle" color="gray" component="a" href={`${src}?download=true`} download leftSection={<IconDownload size={16} aria-hidden />}>{t('voicemail.download')}</Button>
        <Button size="compact-md" variant="subtle" color="gray" leftSection={<IconMailOpened size={16} aria-hidden />} onClick={() => void autosave(() => setRead(m, !m.read))}>{t(m.read ? 'voicemail.markNew' : 'voicemail.markRead')}</Button>
        <Tooltip label={t('voicemail.deleteHint')}><Button size="compact-md" variant="subtle" color="red.8" className="danger-quiet" style={{ marginInlineStart: 'auto' }} leftSection={<IconTrash size={16} aria-hidden />} onClick={onDelete}>{t('action.delete')}</Button></Tooltip>
      </div>
    </section>
  );
}
