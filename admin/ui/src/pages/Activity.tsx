import { Button, Checkbox, Popover, Select, TextInput } from '@mantine/core';
import { useEffect, useMemo, useState } from 'react';
import { cache } from '../api/cache';
import type { Activity } from '../api/client';
import { words } from '../api/problem';
import { type ActivityFilter, keys, useActivity } from '../api/queries';
import { setQuery, useAddress } from '../app/router';
import { t } from '../i18n/t';
import { read, update, useLive } from '../live/store';
import { Empty, Failed, Loading, Pill } from '../ui/bits';
import { CopyButton } from '../ui/CopyButton';
import { clockTime, fullTime, shortDate } from '../ui/format';
import { eventNames, isRead } from '../ui/events';

const outcomes = ['success', 'failure', 'denied'] as const;
const tone = { success: 'ok', failure: 'warn', denied: 'bad' } as const;

const dayStart = (d: string, plus = 0) => {
  const at = new Date(`${d}T00:00:00`);
  at.setDate(at.getDate() + plus);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
};

/** A text filter: in the address a moment after the typing. */
function TextFilter({ name, label }: { name: string; label: string }) {
  const { search } = useAddress();
  const value = search.get(name) ?? '';
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => setQuery({ [name]: text }), 250);
    return () => clearTimeout(timer);
  }, [text, value, name]);
  return <TextInput size="xs" aria-label={label} placeholder={t('filter.starts')} value={text} onChange={(e) => setText(e.currentTarget.value)} spellCheck={false} autoComplete="off" />;
}

function EventFilter({ chosen }: { chosen: string[] }) {
  const [find, setFind] = useState('');
  const set = (names: string[]) => setQuery({ event: names.join(',') });
  const toggle = (names: readonly string[]) => {
    const all = names.every((n) => chosen.includes(n));
    set(all ? chosen.filter((c) => !names.includes(c)) : [...new Set([...chosen, ...names])]);
  };
  const reads = eventNames.filter(isRead);
  const writes = eventNames.filter((n) => !isRead(n));
  return (
    <Popover width={290} position="bottom-start" trapFocus shadow="md">
      <Popover.Target>
        <Button size="compact-sm" variant="default" fullWidth justify="space-between" aria-label={t('activity.filterEvent')}>{chosen.length ? t('activity.chosen', { count: chosen.length }) : t('activity.any')}</Button>
      </Popover.Target>
      <Popover.Dropdown>
        <div className="stack" style={{ gap: 8 }}>
          <div className="row" style={{ gap: 6 }}>
            <Button size="compact-sm" variant="light" onClick={() => toggle(reads)}>{t('activity.reads')}</Button>
            <Button size="compact-sm" variant="light" onClick={() => toggle(writes)}>{t('activity.writes')}</Button>
            {chosen.length > 0 && <Button size="compact-sm" variant="subtle" onClick={() => set([])}>{t('action.clear')}</Button>}
          </div>
          <TextInput size="xs" aria-label={t('action.search')} placeholder={t('action.search')} value={find} onChange={(e) => setFind(e.currentTarget.value)} />
          <div className="event-list" role="group" aria-label={t('activity.event')} tabIndex={0}>
            {eventNames.filter((n) => n.includes(find.trim().toLowerCase())).map((n) => <Checkbox key={n} size="xs" label={<span className="mono">{n}</span>} checked={chosen.includes(n)} onChange={() => set(chosen.includes(n) ? chosen.filter((c) => c !== n) : [...chosen, n])} />)}
          </div>
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}

export default function ActivityTab() {
  const { search } = useAddress();
  const get = (k: string) => search.get(k) ?? '';
  const [from, to, event, resource, actor, outcome, ip] = [get('from'), get('to'), get('event'), get('resource'), get('actor'), get('outcome'), get('ip')];
  const chosen = useMemo(() => event.split(',').filter(Boolean), [event]);
  const filter = useMemo<ActivityFilter>(
    () => ({
      from: from ? dayStart(from) : undefined,
      to: to ? dayStart(to, 1) : undefined,
      event: chosen.length ? chosen : undefined,
      resource: resource || undefined,
      actor: actor || undefined,
      outcome: outcomes.find((o) => o === outcome),
      ip: ip || undefined,
    }),
    [from, to, chosen, resource, actor, outcome, ip],
  );
  const log = useActivity(filter);
  const arrived = useLive((s) => s.activity);
  const [seen, setSeen] = useState(() => read().activity);
  const fresh = arrived - seen;
  const rows = log.data?.pages.flatMap((p) => p.items) ?? [];
  const filtered = Boolean(from || to || event || resource || actor || outcome || ip);
  const clear = () => setQuery({ from: '', to: '', event: '', resource: '', actor: '', outcome: '', ip: '' });
  const [open, setOpen] = useState('');

  // What came while the first page was on its way is in it.
  useEffect(() => {
    if (log.dataUpdatedAt) setSeen(read().activity);
  }, [log.dataUpdatedAt]);
  useEffect(() => () => update((s) => ({ ...s, activity: 0 })), []);

  return (
    <>
      <div className="toolbar" style={{ minHeight: '2.25rem' }}>
        {fresh > 0 && <Button size="compact-md" variant="light" onClick={() => { setSeen(arrived); void cache.resetQueries({ queryKey: keys.activity }); }}>{t('activity.fresh', { count: fresh })}</Button>}
        {filtered && <Button size="compact-md" variant="default" style={{ marginInlineStart: 'auto' }} onClick={clear}>{t('filter.clear')}</Button>}
      </div>
      <div className="card table-frame" role="region" aria-label={t('settings.activity')} tabIndex={0}>
        <table className="table as-cards activity" aria-label={t('settings.activity')}>
          <thead>
            <tr>{(['time', 'event', 'resource', 'actor', 'outcome', 'ip'] as const).map((c) => <th key={c} scope="col">{t(`activity.${c}`)}</th>)}<th><span className="hidden-at-once">{t('activity.actions')}</span></th></tr>
            <tr className="filters">
              <td>
                <span className="stack" style={{ gap: 4 }}>
                  <TextInput size="xs" type="date" aria-label={t('filter.from')} title={t('filter.from')} value={from} max={to || undefined} onChange={(e) => setQuery({ from: e.currentTarget.value })} />
                  <TextInput size="xs" type="date" aria-label={t('filter.to')} title={t('filter.to')} value={to} min={from || undefined} onChange={(e) => setQuery({ to: e.currentTarget.value })} />
                </span>
              </td>
              <td><EventFilter chosen={chosen} /></td>
              <td><TextFilter name="resource" label={t('activity.filterResource')} /></td>
              <td><TextFilter name="actor" label={t('activity.filterActor')} /></td>
              <td><Select size="xs" aria-label={t('activity.filterOutcome')} placeholder={t('activity.any')} clearable allowDeselect clearButtonProps={{ 'aria-label': t('action.clear') }} value={outcome || null} onChange={(v) => setQuery({ outcome: v ?? '' })} data={[...outcomes]} /></td>
              <td><TextFilter name="ip" label={t('activity.filterIp')} /></td>
              <td />
            </tr>
          </thead>
          <tbody>
            {rows.map((a) => <Row key={a.id} entry={a} open={open === a.id} onToggle={() => setOpen(open === a.id ? '' : a.id)} />)}
          </tbody>
        </table>
        {log.isPending ? <Loading rows={6} /> : log.isError && !rows.length ? <Failed what={words(log.error)} retry={() => void log.refetch()} /> : rows.length === 0 ? <Empty>{t(filtered ? 'activity.noMatch' : 'activity.none')}</Empty> : null}
      </div>
      {log.hasNextPage && <div className="pager"><Button variant="default" loading={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>{t('table.more')}</Button></div>}
    </>
  );
}

function Row({ entry: a, open, onToggle }: { entry: Activity; open: boolean; onToggle: () => void }) {
  const json = useMemo(() => JSON.stringify(a, null, 2), [a]);
  const today = new Date(a.time).toDateString() === new Date().toDateString();
  return (
    <>
      <tr className="clickable entry" onClick={(e) => { if (!(e.target as HTMLElement).closest('button')) onToggle(); }}>
        <td data-label={t('activity.time')}><button type="button" className="as-link plain" aria-expanded={open} aria-label={t('activity.details', { time: fullTime(a.time) })} onClick={onToggle}><time dateTime={a.time} title={fullTime(a.time)}>{today ? clockTime(a.time) : t('activity.when', { date: shortDate(a.time), time: clockTime(a.time) })}</time></button></td>
        <td data-label={t('activity.event')} className="mono">{a.event}</td>
        <td data-label={t('activity.resource')}><span className="mono cut block" title={a.resource}><bdi>{a.resource}</bdi></span></td>
        <td data-label={t('activity.actor')}><span className="cut block" title={a.actor.name}><bdi>{a.actor.name}</bdi></span></td>
        <td data-label={t('activity.outcome')}><Pill tone={tone[a.outcome]}>{a.outcome}</Pill></td>
        <td data-label={t('activity.ip')} className="mono">{a.ip}</td>
        <td className="copy"><CopyButton what={t('activity.asJson')} value={json} /></td>
      </tr>
      {open && <tr className="entry-detail"><td colSpan={7}><pre className="config" tabIndex={0} role="region" aria-label={t('activity.asJson')}>{json}</pre></td></tr>}
    </>
  );
}
