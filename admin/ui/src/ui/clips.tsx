import { ActionIcon, Select } from '@mantine/core';
import { IconPlayerPlayFilled, IconPlayerStopFilled } from '@tabler/icons-react';
import { useEffect, useRef, useState } from 'react';
import { autosave } from '../api/cache';
import type { AudioClip } from '../api/client';
import { useClips } from '../api/queries';
import { t } from '../i18n/t';

/** Plays one sound, and stops it. */
export function PlayButton({ url, name }: { url: string; name: string }) {
  const audio = useRef<HTMLAudioElement | null>(null);
  const [playing, setPlaying] = useState(false);
  useEffect(() => () => audio.current?.pause(), []);
  const toggle = () => {
    if (playing) {
      audio.current?.pause();
      setPlaying(false);
      return;
    }
    const a = new Audio(url);
    audio.current = a;
    a.onended = () => setPlaying(false);
    setPlaying(true);
    a.play().catch(() => setPlaying(false));
  };
  return (
    <ActionIcon variant="light" radius="xl" size={36} aria-label={t(playing ? 'player.stop' : 'clips.play', { name })} onClick={toggle}>
      {playing ? <IconPlayerStopFilled size={16} aria-hidden /> : <IconPlayerPlayFilled size={16} aria-hidden />}
    </ActionIcon>
  );
}

/** A clip of the account, or none. */
export function ClipSelect({ label, description, value, none, save }: { label: string; description: string; value: string | null; none: string; save: (id: string | null) => Promise<unknown> }) {
  const clips = useClips();
  const chosen = clips.data?.find((c) => c.id === value);
  return (
    <div className="row" style={{ alignItems: 'flex-end' }}>
      <Select
        className="grow"
        label={label}
        description={description}
        allowDeselect={false}
        value={value ?? ''}
        onChange={(v) => (v ?? '') !== (value ?? '') && void autosave(() => save(v || null))}
        data={[{ value: '', label: none }, ...(clips.data ?? []).map((c) => ({ value: c.id, label: c.name }))]}
      />
      {chosen && <PlayButton url={chosen.audio_url} name={chosen.name} />}
    </div>
  );
}

/** Sends a file with its progress, which fetch does not tell. */
export function upload(url: string, file: File, progress: (share: number) => void): Promise<AudioClip> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', url);
    request.responseType = 'json';
    request.upload.onprogress = (e) => e.lengthComputable && progress(e.loaded / e.total);
    request.onerror = () => reject(new Error(t('toast.error')));
    request.onload = () => {
      if (request.status === 201) resolve(request.response as AudioClip);
      else reject(new Error((request.response as { detail?: string } | null)?.detail ?? t('toast.error')));
    };
    const form = new FormData();
    form.append('file', file);
    request.send(form);
  });
}
