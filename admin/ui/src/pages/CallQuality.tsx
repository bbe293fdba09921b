import { useQuery } from '@tanstack/react-query';
import { api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import type { components } from '../api/schema';
import { t } from '../i18n/t';
import { Card, Empty, Failed, Loading, Note, Pill, type Tone } from '../ui/bits';
import { type LegQuality, QualityChart } from '../ui/QualityChart';
import { clock, clockTime } from '../ui/format';

type Fault = components['schemas']['AudioFault'];
type Flow = components['schemas']['FlowQuality'];

/** How a call sounds: figures and a picture of each leg, and what went wrong in words. */
export default function CallQuality({ id }: { id: string }) {
  const quality = useQuery({
    queryKey: ['record', id, 'quality'],
    queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/call-records/{call}/quality', { params: { path: { ...inAccount, call: id } }, signal })),
    refetchInterval: (q) => (q.state.data?.running ? 15_000 : false), // the news come faster, as long as somebody asks
  });
  if (quality.isPending) return <Loading rows={4} />;
  if (quality.isError && !quality.data) return <Failed what={words(quality.error)} retry={() => void quality.refetch()} />;
  const { legs, faults } = quality.data;
  if (!legs.length && !faults.length) return <div className="card"><Empty>{t('quality.none')}</Empty></div>;
  return (
    <div className="stack" style={{ gap: 16 }}>
      {faults.map((f, i) => <FaultNote key={i} fault={f} />)}
      {legs.map((l, i) => <Leg key={i} leg={l} />)}
    </div>
  );
}

export function moodOf(mos: number | null): { tone: Tone; key: 'quality.good' | 'quality.fair' | 'quality.poor' | 'quality.unknown' } {
  if (mos === null) return { tone: 'quiet', key: 'quality.unknown' };
  if (mos >= 4) return { tone: 'ok', key: 'quality.good' };
  return mos >= 3.6 ? { tone: 'warn', key: 'quality.fair' } : { tone: 'bad', key: 'quality.poor' };
}

export function FaultNote({ fault: f }: { fault: Fault }) {
  const span = f.ended_at ? t('quality.lasted', { time: clockTime(f.began_at), span: clock((Date.parse(f.ended_at) - Date.parse(f.began_at)) / 1000) }) : t('quality.since', { time: clockTime(f.began_at) });
  return (
    <Note tone={f.ended_at ? 'warn' : 'bad'}>
      <b>{t(`quality.silent.${f.direction}`, { side: t(`quality.side.${f.side}`) })}</b> <span className="dim">{span}</span>
      <div>{t(`fault.${f.class}`)} {f.address && <bdi className="mono">{f.address}</bdi>}</div>
      <div className="dim">{f.repaired ? t('quality.repaired') : t(`remedy.${f.class}`)}</div>
    </Note>
  );
}

function Leg({ leg }: { leg: LegQuality }) {
  return (
    <Card title={t('quality.leg', { side: t(`quality.side.${leg.side}`), name: leg.name })} action={<span className="dim small">{leg.codec}{leg.round_trip_ms !== null && <> · {t('quality.roundTrip', { value: leg.round_trip_ms })}</>}</span>}>
      <dl className="facts">
        <dt><span className="swatch from" aria-hidden /> {t('quality.from')}</dt><dd><FlowText flow={leg.from} /></dd>
        <dt><span className="swatch to" aria-hidden /> {t('quality.to')}</dt><dd><FlowText flow={leg.to} /></dd>
      </dl>
      {leg.samples.length > 0 && (
        <div className="quality-charts">
          <QualityChart leg={leg} figure="mos" />
          <QualityChart leg={leg} figure="loss_pct" />
          <QualityChart leg={leg} figure="jitter_ms" />
        </div>
      )}
    </Card>
  );
}

function FlowText({ flow }: { flow: Flow }) {
  const mood = moodOf(flow.mos);
  if (flow.mos === null) return <span className="dim">{t('quality.unknown')}</span>;
  return (
    <span className="row wrap">
      <Pill tone={mood.tone}>{t(mood.key)}</Pill>
      <span>{t('quality.figures', { mos: flow.mos, loss: flow.loss_pct, jitter: flow.jitter_ms })}</span>
    </span>
  );
}
