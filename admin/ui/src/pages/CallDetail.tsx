import { Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Suspense, lazy } from 'react';
import { type CallRecord, api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { useQueryParam } from '../app/router';
import { has, t } from '../i18n/t';
import { useLive } from '../live/store';
import { Card, Failed, Loading, PageHead, Time } from '../ui/bits';
import { LiveCallRow, Lock, OutcomePill, Verified, partyName, partyNumber, sentence } from '../ui/calls';
import { clock, clockTime, fullTime, useSecond } from '../ui/format';

const Trace = lazy(() => import('./CallTrace'));
const Sound = lazy(() => import('./CallRecording'));
const Quality = lazy(() => import('./CallQuality'));

export default function CallDetail({ params }: { params: Record<string, string> }) {
  const id = params.id!;
  const path = { ...inAccount, call: id };
  const record = useQuery({ queryKey: ['record', id], queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/call-records/{call}', { params: { path }, signal })) });
  const route = useQuery({ queryKey: ['record', id, 'route'], queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/call-records/{call}/route', { params: { path }, signal })) });
  const live = useLive((s) => s.calls.get(id));
  const [tab, setTab] = useQueryParam('tab', { push: true });
  const back = { to: '/calls?tab=history', label: t('calls.history') };

  if (record.isPending) return <Loading rows={6} />;
  if (record.isError && !record.data) {
    return (
      <>
        <PageHead title={t('call.one')} docTitle={t('call.one')} back={back} />
        <Failed what={words(record.error)} retry={() => void record.refetch()} />
      </>
    );
  }
  const r = record.data;
  const title = t('call.between', { caller: partyName(r.caller), callee: partyName(r.callee, r.dialed) });
  return (
    <>
      <PageHead title={<h1><bdi>{title}</bdi></h1>} docTitle={title} back={back} aside={<OutcomePill outcome={r.outcome} />} />
      <p className="opening"><bdi>{sentence(r)}</bdi></p>
      {live && <section className="card" aria-label={t('calls.now')} style={{ marginBottom: 16 }}><ul className="list"><LiveCallRow call={live} hang /></ul></section>}
      <Tabs value={tab === 'sip' || tab === 'quality' || (tab === 'recording' && r.recording_id) ? tab : 'story'} onChange={(v) => setTab(v === 'story' ? '' : (v ?? ''))} keepMounted={false}>
        <Tabs.List mb="md" aria-label={t('call.one')}>
          <Tabs.Tab value="story">{t('call.story')}</Tabs.Tab>
          <Tabs.Tab value="sip">{t('call.sip')}</Tabs.Tab>
          {r.recording_id && <Tabs.Tab value="recording">{t('call.recording')}</Tabs.Tab>}
          <Tabs.Tab value="quality">{t('call.quality')}</Tabs.Tab>
        </Tabs.List>
        {r.recording_id && <Tabs.Panel value="recording"><Suspense fallback={<Loading rows={4} />}><Sound id={r.recording_id} /></Suspense></Tabs.Panel>}
        <Tabs.Panel value="sip"><Suspense fallback={<Loading rows={6} />}><Trace id={id} /></Suspense></Tabs.Panel>
        <Tabs.Panel value="quality"><Suspense fallback={<Loading rows={4} />}><Quality id={id} /></Suspense></Tabs.Panel>
        <Tabs.Panel value="story">
          <div className="home">
            <div className="stack" style={{ gap: 16 }}>
              <Story record={r} />
              <Card title={t('call.why')}>
                {route.isPending ? <Loading rows={2} /> : route.isError ? <Failed what={words(route.error)} retry={() => void route.refetch()} /> : route.data.reasons.length === 0 ? <p className="dim">{t('call.noWhy')}</p> : (
                  <ol className="stations">
                    {route.data.reasons.map((x, i) => <li key={i} className="station"><bdi>{x.detail}</bdi></li>)}
                  </ol>
                )}
              </Card>
            </div>
            <Card title={t('call.facts')}>
              <dl className="facts">
                <dt>{t('calls.caller')}</dt><dd><Party p={r.caller} /></dd>
                {r.caller.verstat && <><dt>{t('call.verstat')}</dt><dd><Verified caller={r.caller} /></dd></>}
                <dt>{t('calls.callee')}</dt><dd><Party p={r.callee} otherwise={r.dialed} /></dd>
                <dt>{t('call.dialed')}</dt><dd><bdi>{r.dialed}</bdi></dd>
                <dt>{t('calls.direction')}</dt><dd>{t(`direction.${r.direction}`)}</dd>
                <dt>{t('calls.start')}</dt><dd>{fullTime(r.started_at)}</dd>
                <dt>{t('call.answered')}</dt><dd>{r.answered_at ? fullTime(r.answered_at) : <span className="dim">{t('value.never')}</span>}</dd>
                <dt>{t('call.ended')}</dt><dd>{r.ended_at ? fullTime(r.ended_at) : <span className="dim">{t('value.notYet')}</span>}</dd>
                {r.hangup_by && <><dt>{t('call.hungUpBy')}</dt><dd>{has(`call.by.${r.hangup_by}`) ? t(`call.by.${r.hangup_by}` as 'call.by.caller') : r.hangup_by}</dd></>}
                {r.quality && <><dt>{t('call.quality')}</dt><dd>{r.quality.mos === null ? <span className="dim">{t('quality.unknown')}</span> : t('quality.figures', { mos: r.quality.mos, loss: r.quality.loss_pct, jitter: r.quality.jitter_ms })}{r.quality.faults > 0 && <> · {t('quality.faults', { count: r.quality.faults })}</>}</dd></>}
                {r.hangup_cause && <><dt>{t('call.cause')}</dt><dd><bdi>{r.hangup_cause}</bdi></dd></>}
              </dl>
            </Card>
          </div>
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Party({ p, otherwise }: { p: CallRecord['caller']; otherwise?: string }) {
  return <><bdi>{partyName(p, otherwise)}</bdi> <span className="dim"><bdi>{partyNumber(p)}</bdi></span> <Lock suite={p.encrypted} /></>;
}

/** The stretches of a call on one time axis, and the same as a list. */
function Story({ record: r }: { record: CallRecord }) {
  const now = useSecond();
  const start = Date.parse(r.started_at);
  const end = r.ended_at ? Date.parse(r.ended_at) : now;
  const span = Math.max(1000, end - start);
  const at = (time: string | null) => Math.min(1, Math.max(0, ((time ? Date.parse(time) : end) - start) / span));
  const name = (step: string) => (has(`step.${step}`) ? t(`step.${step}` as 'step.ringing') : step);
  if (!r.legs.length) return <Card title={t('call.story')}><p className="dim">{t('call.noStory')}</p></Card>;
  return (
    <Card title={t('call.story')}>
      <div className="story-picture" aria-hidden>
        {r.legs.map((l, i) => {
          const from = at(l.started_at);
          return <span key={i} className={`leg ${l.step}`} style={{ left: `${from * 100}%`, width: `${Math.max(0.8, (at(l.ended_at) - from) * 100)}%` }} title={name(l.step)} />;
        })}
      </div>
      <div className="row apart dim small" aria-hidden><span>{clockTime(r.started_at)}</span><span>{clock(span / 1000)}</span></div>
      <ol className="stations" style={{ marginTop: 16 }}>
        {r.legs.map((l, i) => (
          <li key={i} className={`station leg-${l.step}`}>
            <div className="row apart"><b>{name(l.step)}</b><span className="dim">{l.ended_at ? clock((Date.parse(l.ended_at) - Date.parse(l.started_at)) / 1000) : <Time at={l.started_at} />}</span></div>
            <div className="dim"><time dateTime={l.started_at}>{clockTime(l.started_at)}</time>{l.detail && <> · <bdi>{l.detail}</bdi></>}</div>
          </li>
        ))}
        {r.ended_at && <li className="station end"><div className="dim">{t('call.endedAt', { time: clockTime(r.ended_at) })}</div></li>}
      </ol>
    </Card>
  );
}
