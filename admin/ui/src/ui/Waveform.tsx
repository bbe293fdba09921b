import { useMemo, useRef, type KeyboardEvent, type PointerEvent } from 'react';
import { t } from '../i18n/t';
import { clock } from './format';

/** Reduces peaks to n bars, each the loudest of its part; silence stays visible. */
export function bars(peaks: readonly number[], n: number): number[] {
  if (!peaks.length) return Array.from({ length: n }, () => 0.04);
  const top = Math.max(...peaks, 0.05);
  return Array.from({ length: n }, (_, i) => {
    const from = Math.floor((i * peaks.length) / n);
    const to = Math.max(from + 1, Math.floor(((i + 1) * peaks.length) / n));
    let loudest = 0;
    for (let k = from; k < to && k < peaks.length; k++) loudest = Math.max(loudest, peaks[k]!);
    return Math.max(0.04, Math.min(1, loudest / top));
  });
}

export interface WaveformProps {
  peaks: readonly number[];
  /** Seconds. */
  duration: number;
  position: number;
  onSeek: (seconds: number) => void;
  /** Whose sound it is, where there is more than one. */
  name?: string;
}

const count = 96;
const height = 56;

const drawn = (peaks: readonly number[]) =>
  bars(peaks, count)
    .map((p, i) => {
      const h = p * (height - 6);
      return `M${(i + 0.5) * 4} ${((height - h) / 2).toFixed(1)}v${h.toFixed(1)}`;
    })
    .join('');

/** The sound as a picture, and nothing more. */
export function Wave({ peaks }: { peaks: readonly number[] }) {
  const path = useMemo(() => drawn(peaks), [peaks]);
  return <div className="waveform" aria-hidden><svg viewBox={`0 0 ${count * 4} ${height}`} preserveAspectRatio="none"><path d={path} /></svg></div>;
}

/** The sound as a picture; the played part is coloured, a click or an arrow key seeks. */
export function Waveform({ peaks, duration, position, onSeek, name }: WaveformProps) {
  const box = useRef<HTMLDivElement>(null);
  const path = useMemo(() => drawn(peaks), [peaks]);
  const share = duration > 0 ? Math.min(1, position / duration) : 0;
  const seekAt = (e: PointerEvent<HTMLDivElement>) => {
    const r = e.currentTarget.getBoundingClientRect();
    if (r.width > 0) onSeek(Math.min(1, Math.max(0, (e.clientX - r.left) / r.width)) * duration);
  };
  const key = (e: KeyboardEvent) => {
    const to = { ArrowLeft: position - 5, ArrowDown: position - 5, ArrowRight: position + 5, ArrowUp: position + 5, Home: 0, End: duration }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    onSeek(Math.min(duration, Math.max(0, to)));
  };
  return (
    <div
      ref={box}
      className="waveform"
      role="slider"
      tabIndex={0}
      aria-label={name ?? t('player.position')}
      aria-valuemin={0}
      aria-valuemax={Math.round(duration)}
      aria-valuenow={Math.round(position)}
      aria-valuetext={t('player.of', { at: clock(position), total: clock(duration) })}
      onPointerDown={(e) => { e.currentTarget.setPointerCapture?.(e.pointerId); seekAt(e); }}
      onPointerMove={(e) => { if (e.buttons === 1) seekAt(e); }}
      onKeyDown={key}
    >
      <svg viewBox={`0 0 ${count * 4} ${height}`} preserveAspectRatio="none" aria-hidden><path d={path} /></svg>
      <div className="played" style={{ width: `${share * 100}%` }}>
        <svg viewBox={`0 0 ${count * 4} ${height}`} preserveAspectRatio="none" style={{ width: share > 0 ? `${100 / share}%` : undefined }} aria-hidden><path d={path} /></svg>
      </div>
    </div>
  );
}
