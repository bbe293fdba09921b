import { ActionIcon, Button } from '@mantine/core';
import { IconDownload, IconPlayerPauseFilled, IconPlayerPlayFilled, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { cache } from '../api/cache';
import { type Recording, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { useRecording } from '../api/queries';
import { useSession } from '../api/session';
import { t } from '../i18n/t';
import { Card, Failed, Loading } from '../ui/bits';
import { partyName } from '../ui/calls';
import { ask } from '../ui/confirm';
import { clock } from '../ui/format';
import { toast } from '../ui/toast';
import { Waveform } from '../ui/Waveform';

/** The sound of a call: each side has a wave form of its own, pauses are marked. */
export default function CallRecording({ id }: { id: string }) {
  const recording = useRecording(id);
  if (recording.isPending) return <Loading rows={4} />;
  if (recording.isError && !recording.data) return <Failed what={words(recording.error)} retry={() => void recording.refetch()} />;
  return <Player recording={recording.data} />;
}

export function Player({ recording: r }: { recording: Recording }) {
  const { admin } = useSession();
  const audio = useRef<HTMLAudioElement>(null);
  const [playing, setPlaying] = useState(false);
  const [at, setAt] = useState(0);
  const [problem, setProblem] = useState('');
  const path = { ...inAccount, recording: r.id };
  const peaks = useQuery({ queryKey: ['peaks', r.id], staleTime: Infinity, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/recordings/{recording}/peaks', { params: { path, query: { points: 400 } }, signal })) });
  const none = useMemo(() => [], []);
  const toggle = () => {
    const a = audio.current;
    if (!a) return;
    if (a.paused) a.play().catch((e: unknown) => { if (!(e instanceof DOMException && e.name === 'AbortError')) setProblem(t('player.failed')); });
    else a.pause();
  };
  const seek = (to: number) => {
    const bounded = Math.min(r.duration_s, Math.max(0, to));
    if (audio.current) audio.current.currentTime = bounded;
    setAt(bounded);
  };
  const remove = async () => {
    await ok(api.DELETE('/accounts/{account}/recordings/{recording}', { params: { path, header: ifMatch(r.version) } }));
    toast({ title: t('recording.deleted') });
    await cache.invalidateQueries({ queryKey: ['record'] });
  };
  const sides = [
    { side: 'left', name: t('player.left', { name: partyName(r.left) }), peaks: peaks.data?.left ?? none },
    { side: 'right', name: t('player.right', { name: partyName(r.right) }), peaks: peaks.data?.right ?? none },
  ];
  return (
    <Card title={t('call.recording')}>
      <div className="stack" style={{ gap: 14 }}>
        <audio ref={audio} src={r.audio_url} preload="metadata" onPlay={() => setPlaying(true)} onPause={() => setPlaying(false)} onTimeUpdate={(e) => setAt(e.currentTarget.currentTime)} onError={() => setProblem(t('player.failed'))} />
        <div className="player">
          <ActionIcon size={48} radius="xl" variant="filled" aria-label={t(playing ? 'player.pause' : 'player.play')} onClick={toggle}>
            {playing ? <IconPlayerPauseFilled size={22} aria-hidden /> : <IconPlayerPlayFilled size={22} aria-hidden />}
          </ActionIcon>
          <div className="grow stack" style={{ gap: 8 }}>
            {sides.map((s) => (
              <div key={s.side}>
                <div className="dim small"><bdi>{s.name}</bdi></div>
                <Waveform peaks={s.peaks} duration={r.duration_s} position={at} onSeek={seek} name={s.name} />
              </div>
            ))}
            {r.gaps.length > 0 && r.duration_s > 0 && (
              <div aria-hidden style={{ position: 'relative', height: 6, background: 'var(--line)', borderRadius: 3 }}>
                {r.gaps.map((g) => <span key={g.from_s} style={{ position: 'absolute', insetBlock: 0, insetInlineStart: `${(g.from_s / r.duration_s) * 100}%`, width: `${Math.max(0.5, ((g.to_s - g.from_s) / r.duration_s) * 100)}%`, background: 'var(--warn)', borderRadius: 3 }} />)}
              </div>
            )}
          </div>
        </div>
        <span className="dim">{t('player.of', { at: clock(at), total: clock(r.duration_s) })}</span>
        {problem && <p role="alert" style={{ color: 'var(--bad)' }}>{problem}</p>}
        <dl className="facts">
          <dt>{t('recording.rule')}</dt><dd><bdi>{r.rule}</bdi></dd>
          <dt>{t('recording.notice')}</dt><dd>{t(`recording.notice.${r.notice}`)}</dd>
          {r.gaps.length > 0 && <><dt>{t('recording.gaps')}</dt><dd><ul className="plain">{r.gaps.map((g) => <li key={g.from_s}>{t('player.gap', { from: clock(g.from_s), to: clock(g.to_s) })}</li>)}</ul></dd></>}
        </dl>
        <div className="row wrap">
          <Button size="compact-md" variant="subtle" color="gray" component="a" href={`${r.audio_url}?download=true`} download leftSection={<IconDownload size={16} aria-hidden />}>{t('recording.wav')}</Button>
          <Button size="compact-md" variant="subtle" color="gray" component="a" href={`${r.audio_url}.mp3`} download leftSection={<IconDownload size={16} aria-hidden />}>{t('recording.mp3')}</Button>
          {admin && <Button size="compact-md" variant="subtle" color="red.8" className="danger-quiet" style={{ marginInlineStart: 'auto' }} leftSection={<IconTrash size={16} aria-hidden />} onClick={() => ask({ title: t('recording.deleteTitle'), body: t('recording.deleteBody'), verb: t('recording.delete'), danger: true, run: remove })}>{t('recording.delete')}</Button>}
        </div>
      </div>
    </Card>
  );
}
