import { QueryClientProvider } from '@tanstack/react-query';
import { fireEvent, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cache } from '../src/api/cache';
import type { AudioClip, Recording } from '../src/api/client';
import { keys } from '../src/api/queries';
import AudioClips from '../src/pages/AudioClips';
import { Player } from '../src/pages/CallRecording';
import { upload } from '../src/ui/clips';
import { show } from './wrap';

vi.mock('../src/api/session', () => ({ useSession: () => ({ admin: true, me: { id: 'usr_1' } }) }));

const clip: AudioClip = {
  id: 'clp_1', version: 3, name: 'Morning raga', duration_s: 75, size: 100, loudness_db: -20, peaks_url: '', audio_url: '/audio',
  used_by: [{ type: 'account', id: 'acc_1', name: 'Acme' }, { type: 'user', id: 'usr_1', name: 'Bob' }],
  created_at: '2026-03-02T10:00:00Z', updated_at: '2026-03-02T10:00:00Z',
};

const party = (name: string) => ({ user_id: null, device_id: null, name, extension: '', number: '' });
const recording = {
  id: 'rec_1', version: 2, call_id: 'cal_1', started_at: '2026-03-02T10:00:00Z', duration_s: 60, size: 100, left: party('Alice'), right: party('Bob'),
  rule: 'The account records inbound calls', notice: 'tone', notice_at_s: 0, gaps: [{ from_s: 10, to_s: 20 }], audio_url: '/rec/audio', peaks_url: '/rec/peaks',
} as Recording;

/** The request of an upload, as far as the page uses it. */
class FakeRequest {
  static last: FakeRequest;
  upload: { onprogress?: (e: { lengthComputable: boolean; loaded: number; total: number }) => void } = {};
  onload?: () => void;
  onerror?: () => void;
  status = 0;
  response: unknown = null;
  responseType = '';
  sent?: FormData;
  constructor() { FakeRequest.last = this; }
  open() {}
  send(form: FormData) { this.sent = form; }
}

beforeEach(() => {
  cache.clear();
  cache.setQueryData(['peaks', clip.id], { duration_s: 75, peaks: [0.1, 0.9] });
  cache.setQueryData(['peaks', recording.id], { duration_s: 60, left: [0.1, 0.9], right: [0.5, 0.5] });
  vi.stubGlobal('XMLHttpRequest', FakeRequest);
  vi.stubGlobal('fetch', vi.fn(() => new Promise(() => {})));
});
afterEach(() => vi.unstubAllGlobals());

describe('upload', () => {
  it('tells how far it is and what came of it', async () => {
    const seen: number[] = [];
    const done = upload('/api', new File(['x'], 'a.wav'), (s) => seen.push(s));
    FakeRequest.last.upload.onprogress!({ lengthComputable: true, loaded: 5, total: 10 });
    Object.assign(FakeRequest.last, { status: 201, response: clip });
    FakeRequest.last.onload!();
    expect(await done).toBe(clip);
    expect(seen).toEqual([0.5]);
    expect((FakeRequest.last.sent!.get('file') as File).name).toBe('a.wav');
  });
  it('says why a file was refused', async () => {
    const done = upload('/api', new File(['x'], 'a.txt'), () => {});
    Object.assign(FakeRequest.last, { status: 422, response: { detail: 'This is no WAV, MP3, FLAC or Ogg file.' } });
    FakeRequest.last.onload!();
    await expect(done).rejects.toThrow('This is no WAV');
  });
});

describe('Audio clips', () => {
  it('shows what plays a clip, and the progress of an upload', async () => {
    cache.setQueryData(keys.clips, [clip]);
    const { container } = show(<QueryClientProvider client={cache}><AudioClips /></QueryClientProvider>);
    expect(screen.getByText(/Plays for Acme, Bob/)).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Play Morning raga' })).toBeTruthy();
    expect(container.querySelector('.waveform path')?.getAttribute('d')).toMatch(/^M/);
    fireEvent.change(container.querySelector('input[type=file]')!, { target: { files: [new File(['x'], 'b.mp3')] } });
    FakeRequest.last.upload.onprogress!({ lengthComputable: true, loaded: 4, total: 10 });
    await waitFor(() => expect(screen.getByText('40 % sent')).toBeTruthy());
    Object.assign(FakeRequest.last, { status: 422, response: { detail: 'The file is damaged.' } });
    FakeRequest.last.onload!();
    await waitFor(() => expect(screen.getByText('The file is damaged.')).toBeTruthy());
  });
});

describe('Recording', () => {
  it('has a wave form for each side, and tells where it was paused', () => {
    show(<QueryClientProvider client={cache}><Player recording={recording} /></QueryClientProvider>);
    expect(screen.getByRole('slider', { name: 'Alice, left' })).toBeTruthy();
    expect(screen.getByRole('slider', { name: 'Bob, right' })).toBeTruthy();
    expect(screen.getByText('Paused from 0:10 to 0:20')).toBeTruthy();
    expect(screen.getByText('The account records inbound calls')).toBeTruthy();
    expect(screen.getByRole('link', { name: 'MP3' }).getAttribute('href')).toBe('/rec/audio.mp3');
    fireEvent.keyDown(screen.getByRole('slider', { name: 'Bob, right' }), { key: 'ArrowRight' });
    expect(screen.getByText('0:05 of 1:00')).toBeTruthy();
  });
});
