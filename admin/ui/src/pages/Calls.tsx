import { Button, Select, Tabs, TextInput } from '@mantine/core';
import { useMemo } from 'react';
import type { CallRecord } from '../api/client';
import { words } from '../api/problem';
import { type RecordFilter, useLiveCalls, useRecords, useUsers } from '../api/queries';
import { useSession } from '../api/session';
import { Link, setQuery, useAddress, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { useLive } from '../live/store';
import { Empty, Failed, Loading, PageHead, Pill, Time } from '../ui/bits';
import { LiveCallRow, OutcomePill, PartyText } from '../ui/calls';
import { clock } from '../ui/format';
import { type Column, SearchBox, Table, useSearchText } from '../ui/table';

export default function Calls() {
  const [tab, setTab] = useQueryParam('tab', { push: true });
  const count = useLive((s) => s.calls.size);
  return (
    <>
      <PageHead title={t('nav.calls')} docTitle={t('nav.calls')} />
      <Tabs value={tab === 'history' ? 'history' : 'now'} onChange={(v) => setTab(v ?? 'now')} keepMounted={false}>
        <Tabs.List mb="md" aria-label={t('nav.calls')}>
          <Tabs.Tab value="now">{count ? t('calls.nowCount', { count }) : t('calls.now')}</Tabs.Tab>
          <Tabs.Tab value="history">{t('calls.history')}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="now"><Now /></Tabs.Panel>
        <Tabs.Panel value="history"><History /></Tabs.Panel>
      </Tabs>
    </>
  );
}

function Now() {
  const calls = useLive((s) => s.calls);
  const first = useLiveCalls();
  const list = [...calls.values()].sort((a, b) => a.started_at.localeCompare(b.started_at));
  if (first.isError && !list.length) return <div className="card"><Failed what={words(first.error)} retry={() => void first.refetch()} /></div>;
  return (
    <section className="card" aria-label={t('calls.now')} aria-live="polite">
      {list.length === 0 ? <Empty>{t('calls.quiet')}</Empty> : <ul className="list big">{list.map((c) => <LiveCallRow key={c.id} call={c} hang />)}</ul>}
    </section>
  );
}

const columns: Column<CallRecord>[] = [
  { id: 'start', title: t('calls.start'), cell: (r) => <Link to={`/calls/${r.id}`} className="name"><Time at={r.started_at} /></Link> },
  { id: 'caller', title: t('calls.caller'), lead: true, cell: (r) => <PartyText party={r.caller} /> },
  { id: 'callee', title: t('calls.callee'), cell: (r) => <PartyText party={r.callee} otherwise={r.dialed} /> },
  { id: 'direction', title: t('calls.direction'), wide: true, cell: (r) => <Pill plain>{t(`direction.${r.direction}`)}</Pill> },
  { id: 'duration', title: t('calls.duration'), cell: (r) => (r.talk_s === null ? <span className="dim">{t('value.none')}</span> : clock(r.talk_s)) },
  { id: 'result', title: t('calls.result'), cell: (r) => <OutcomePill outcome={r.outcome} /> },
];

const outcomes: CallRecord['outcome'][] = ['answered', 'voicemail', 'no_answer', 'busy', 'cancelled', 'declined', 'unreachable', 'failed', 'interrupted', 'ongoing'];
const directions: CallRecord['direction'][] = ['internal', 'inbound', 'outbound'];

/** The start of a day, and of the day after, in the browser's clock. */
const dayStart = (d: string, plus = 0) => {
  const at = new Date(`${d}T00:00:00`);
  at.setDate(at.getDate() + plus);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
};

function History() {
  const { admin } = useSession();
  const { search } = useAddress();
  const q = useSearchText();
  const users = useUsers(admin);
  const get = (k: string) => search.get(k) ?? '';
  const [from, to, outcome, direction, user] = [get('from'), get('to'), get('outcome'), get('direction'), get('user')];
  const filter = useMemo<RecordFilter>(
    () => ({
      q: q || undefined,
      from: from ? dayStart(from) : undefined,
      to: to ? dayStart(to, 1) : undefined,
      outcome: outcomes.find((o) => o === outcome),
      direction: directions.find((d) => d === direction),
      user_id: user || undefined,
    }),
    [q, from, to, outcome, direction, user],
  );
  const records = useRecords(filter);
  const rows = records.data?.pages.flatMap((p) => p.items) ?? [];
  const filtered = Boolean(q || from || to || outcome || direction || user);
  const clear = () => setQuery({ q: '', from: '', to: '', outcome: '', direction: '', user: '' });
  return (
    <>
      <div className="toolbar">
        <SearchBox placeholder={t('calls.searchHint')} width="13.5rem" />
        <TextInput w={138} type="date" aria-label={t('filter.from')} title={t('filter.from')} value={from} max={to || undefined} onChange={(e) => setQuery({ from: e.currentTarget.value })} />
        <TextInput w={138} type="date" aria-label={t('filter.to')} title={t('filter.to')} value={to} min={from || undefined} onChange={(e) => setQuery({ to: e.currentTarget.value })} />
        <Select w={128} aria-label={t('calls.result')} placeholder={t('calls.result')} clearable allowDeselect clearButtonProps={{ 'aria-label': t('action.clear') }} value={outcome || null} onChange={(v) => setQuery({ outcome: v ?? '' })} data={outcomes.map((o) => ({ value: o, label: t(`outcome.${o}`) }))} />
        <Select w={118} aria-label={t('calls.direction')} placeholder={t('calls.direction')} clearable allowDeselect clearButtonProps={{ 'aria-label': t('action.clear') }} value={direction || null} onChange={(v) => setQuery({ direction: v ?? '' })} data={directions.map((d) => ({ value: d, label: t(`direction.${d}`) }))} />
        {admin && <Select w={138} searchable aria-label={t('calls.person')} placeholder={t('calls.person')} clearable allowDeselect clearButtonProps={{ 'aria-label': t('action.clear') }} value={user || null} onChange={(v) => setQuery({ user: v ?? '' })} data={(users.data ?? []).map((u) => ({ value: u.id, label: u.name }))} />}
        {filtered && <Button variant="subtle" onClick={clear}>{t('filter.clear')}</Button>}
      </div>
      {records.isPending ? <Loading rows={6} /> : records.isError && !rows.length ? <div className="card"><Failed what={words(records.error)} retry={() => void records.refetch()} /></div> : rows.length === 0 ? (
        <div className="card"><Empty action={filtered ? <Button variant="default" onClick={clear}>{t('filter.clear')}</Button> : undefined}>{t(filtered ? 'calls.noMatch' : 'calls.none')}</Empty></div>
      ) : (
        <>
          <Table name={t('calls.history')} columns={columns} rows={rows} rowKey={(r) => r.id} to={(r) => `/calls/${r.id}`} />
          {records.hasNextPage && <div className="pager"><Button variant="default" loading={records.isFetchingNextPage} onClick={() => void records.fetchNextPage()}>{t('table.more')}</Button></div>}
        </>
      )}
    </>
  );
}
