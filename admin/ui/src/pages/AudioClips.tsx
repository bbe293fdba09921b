import { ActionIcon, Button, Progress } from '@mantine/core';
import { IconDownload, IconTrash, IconUpload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { cache } from '../api/cache';
import { type AudioClip, account, api, base, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { keys, useClips } from '../api/queries';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead } from '../ui/bits';
import { PlayButton, upload } from '../ui/clips';
import { ask } from '../ui/confirm';
import { clock } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { toast } from '../ui/toast';
import { Wave } from '../ui/Waveform';

/** Sounds that people uploaded: music for those who wait. */
export default function AudioClips() {
  const clips = useClips();
  const picker = useRef<HTMLInputElement>(null);
  const [sent, setSent] = useState<number | null>(null);
  const [problem, setProblem] = useState('');
  const send = async (file: File | undefined) => {
    if (!file || sent !== null) return;
    setSent(0);
    setProblem('');
    try {
      const clip = await upload(`${base}/accounts/${account}/audio-clips`, file, setSent);
      toast({ title: t('clips.added'), message: clip.name });
    } catch (e) {
      setProblem(words(e));
    } finally {
      setSent(null);
      void cache.invalidateQueries({ queryKey: keys.clips });
    }
  };
  const button = <Button data-create loading={sent !== null} leftSection={<IconUpload size={17} aria-hidden />} onClick={() => picker.current?.click()}>{t('clips.add')}</Button>;
  return (
    <>
      <PageHead title={t('nav.clips')} docTitle={t('nav.clips')} actions={button} />
      <input ref={picker} type="file" hidden aria-label={t('clips.choose')} accept=".wav,.mp3,.flac,.ogg,.oga,.opus,audio/*" onChange={(e) => { void send(e.currentTarget.files?.[0]); e.currentTarget.value = ''; }} />
      <p className="dim">{t('clips.chooseWhat')}</p>
      {problem && <Note tone="bad">{problem}</Note>}
      {sent !== null && (
        <div className="stack" role="status" style={{ gap: 6, marginBlock: 12 }}>
          <Progress value={sent * 100} aria-label={t('clips.add')} />
          <span className="dim small">{sent < 1 ? t('clips.progress', { percent: Math.round(sent * 100) }) : t('clips.converting')}</span>
        </div>
      )}
      {clips.isPending ? <Loading rows={4} /> : clips.isError && !clips.data ? <Failed what={words(clips.error)} retry={() => void clips.refetch()} /> : clips.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('clips.empty')}</Empty></div>
      ) : (
        <section className="card" aria-label={t('nav.clips')}>
          <ul className="list">{clips.data.map((c) => <Clip key={c.id} clip={c} />)}</ul>
        </section>
      )}
    </>
  );
}

function Clip({ clip: c }: { clip: AudioClip }) {
  const path = { ...inAccount, clip: c.id };
  const peaks = useQuery({ queryKey: ['peaks', c.id], staleTime: Infinity, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/audio-clips/{clip}/peaks', { params: { path }, signal })) });
  const none = useMemo(() => [], []);
  const rename = async (name: string) => {
    try {
      await ok(api.PATCH('/accounts/{account}/audio-clips/{clip}', { params: { path, header: ifMatch(c.version) }, body: { name } }));
      await cache.invalidateQueries({ queryKey: keys.clips });
    } catch (e) {
      return words(e);
    }
    return undefined;
  };
  const remove = async () => {
    await ok(api.DELETE('/accounts/{account}/audio-clips/{clip}', { params: { path, header: ifMatch(c.version) } }));
    await cache.invalidateQueries({ queryKey: keys.clips });
  };
  return (
    <li className="row wrap" style={{ gap: 14, padding: '12px 18px' }}>
      <PlayButton url={c.audio_url} name={c.name} />
      <div className="grow" style={{ minWidth: '12rem' }}>
        <InlineEdit label={t('clips.name')} value={c.name} save={rename} />
        <div className="dim small">{clock(c.duration_s)} · {c.used_by.length ? t('clips.inUse', { names: c.used_by.map((u) => u.name).join(', ') }) : t('clips.unused')}</div>
      </div>
      <div style={{ flex: '1 1 14rem' }}><Wave peaks={peaks.data?.peaks ?? none} /></div>
      <ActionIcon component="a" variant="subtle" color="gray" size={36} href={`${c.audio_url}?download=true`} download aria-label={t('clips.download', { name: c.name })}><IconDownload size={17} aria-hidden /></ActionIcon>
      <ActionIcon variant="subtle" color="red.8" size={36} aria-label={t('clips.delete', { name: c.name })} onClick={() => ask({ title: t('clips.deleteTitle'), body: <T k="clips.deleteBody" v={{ name: <bdi>{c.name}</bdi> }} />, verb: t('action.delete'), danger: true, run: remove })}><IconTrash size={17} aria-hidden /></ActionIcon>
    </li>
  );
}
