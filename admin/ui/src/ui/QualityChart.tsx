import { useId } from 'react';
import type { components } from '../api/schema';
import { t } from '../i18n/t';
import { clock, clockTime } from './format';

export type LegQuality = components['schemas']['LegQuality'];
type Way = 'from' | 'to';
type Figure = 'mos' | 'loss_pct' | 'jitter_ms';

const width = 600;
const height = 72;

/** The upper end of a scale, a round number. */
export function scaleTop(figure: Figure, values: number[]): number {
  if (figure === 'mos') return 4.5;
  const most = Math.max(0, ...values);
  return [5, 10, 20, 50, 100, 200, 500, 1000].find((n) => most <= n) ?? most;
}

/** The line of one direction; it breaks where nothing is known. */
export function path(values: (number | null)[], bottom: number, top: number): string {
  const step = width / Math.max(1, values.length - 1);
  let pen = 'M';
  const parts: string[] = [];
  values.forEach((v, i) => {
    if (v === null) {
      pen = 'M';
      return;
    }
    const y = height - (Math.min(top, Math.max(bottom, v)) - bottom) / (top - bottom) * height;
    parts.push(`${pen}${(i * step).toFixed(1)} ${y.toFixed(1)}`);
    if (pen === 'M' && (i + 1 === values.length || values[i + 1] === null)) parts.push('h2'); // a lone point
    pen = 'L';
  });
  return parts.join('');
}

/** One figure of a leg over time, both directions in one picture. */
export function QualityChart({ leg, figure }: { leg: LegQuality; figure: Figure }) {
  const id = useId();
  const read = (way: Way) => leg.samples.map((s) => (s[way].mos === null && figure !== 'mos' ? null : s[way][figure]));
  const ways = { from: read('from'), to: read('to') };
  const known = [...ways.from, ...ways.to].filter((v): v is number => v !== null);
  const name = t(`quality.${figure}`);
  if (!known.length) return null;
  const top = scaleTop(figure, known);
  const bottom = figure === 'mos' ? 1 : 0;
  const first = leg.samples[0]!.at;
  const last = leg.samples.at(-1)!.at;
  const worst = figure === 'mos' ? Math.min(...known) : Math.max(...known);
  return (
    <figure className="quality-chart" aria-labelledby={id}>
      <figcaption id={id} className="row apart small">
        <b>{name}</b>
        <span className="dim">{t('quality.worst', { value: t(`quality.value.${figure}`, { value: worst }) })}</span>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden>
        {figure === 'mos' && <rect className="fair" x="0" width={width} y={height - (3.6 - bottom) / (top - bottom) * height} height={(3.6 - bottom) / (top - bottom) * height} />}
        <path className="from" d={path(ways.from, bottom, top)} vectorEffect="non-scaling-stroke" />
        <path className="to" d={path(ways.to, bottom, top)} vectorEffect="non-scaling-stroke" />
      </svg>
      <div className="row apart dim small" aria-hidden><span>{clockTime(first)}</span><span>{clock((Date.parse(last) - Date.parse(first)) / 1000)}</span></div>
    </figure>
  );
}
