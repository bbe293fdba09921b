import { Button, Switch } from '@mantine/core';
import { IconBulb } from '@tabler/icons-react';
import { useMemo } from 'react';
import { api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { keys, useLamps } from '../api/queries';
import { cache } from '../api/cache';
import type { components } from '../api/schema';
import { Link, useQueryParam } from '../app/router';
import { has, t } from '../i18n/t';
import { Empty, Failed, Loading, PageHead, Pill, Time, type Tone } from '../ui/bits';
import { type Column, SearchBox, Table, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { toast } from '../ui/toast';

type Lamp = components['schemas']['Lamp'];

const tones: Record<string, Tone> = { idle: 'quiet', calling: 'warn', ringing: 'warn', busy: 'bad', held: 'info' };

function State({ state, beat }: { state: string; beat?: boolean }) {
  if (!state) return <span className="dim">{t('lamps.nothing')}</span>;
  const tone = tones[state] ?? 'accent';
  return <Pill tone={tone} hollow={state === 'idle'} beat={beat && state === 'ringing'}>{has(`lamps.state.${state}`) ? t(`lamps.state.${state}` as 'lamps.state.idle') : state}</Pill>;
}

async function tell(l: Lamp) {
  try {
    await ok(api.POST('/accounts/{account}/lamps/{lamp}/repair', { params: { path: { ...inAccount, lamp: l.id } } }));
    toast({ title: t('lamps.told'), message: l.device_name });
    void cache.invalidateQueries({ queryKey: keys.lamps });
  } catch (e) {
    toast({ title: t('toast.error'), message: words(e), bad: true });
  }
}

const watched = (l: Lamp) => l.watched_name || l.watched;

const columns: Column<Lamp>[] = [
  { id: 'phone', title: t('lamps.phone'), lead: true, by: (l) => l.device_name, cell: (l) => <Link className="name cut" to={`/devices/${l.device_id}`} title={l.source}><bdi>{l.device_name}</bdi></Link> },
  { id: 'watches', title: t('lamps.watches'), by: watched, cell: (l) => <span className="cut" title={l.watched}>{l.watched_user_id ? <Link to={`/users/${l.watched_user_id}`}><bdi>{watched(l)}</bdi></Link> : <bdi>{watched(l)}</bdi>} <span className="dim">{l.watched_extension}</span></span> },
  { id: 'package', title: t('lamps.kind'), by: (l) => l.package, wide: true, cell: (l) => <span className="dim">{has(`lamps.package.${l.package}`) ? t(`lamps.package.${l.package}` as 'lamps.package.dialog') : l.package}</span> },
  { id: 'believed', title: t('lamps.believed'), by: (l) => l.believed, cell: (l) => <State state={l.believed} beat /> },
  {
    id: 'shows',
    title: t('lamps.shows'),
    by: (l) => (l.right ? 1 : 0),
    cell: (l) => (l.right ? <span className="row"><span className="dot ok" aria-hidden />{t('lamps.same')}</span> : <span className="row wrap"><State state={l.sent} />{!l.acknowledged && <Pill tone="bad" plain>{t('lamps.notHeard')}</Pill>}</span>),
  },
  { id: 'since', title: t('lamps.since'), by: (l) => Date.parse(l.since ?? l.sent_at ?? '') || 0, wide: true, cell: (l) => <span className="dim"><Time at={l.since ?? l.sent_at} /></span> },
  { id: 'repairs', title: t('lamps.repairs'), by: (l) => l.repairs, wide: true, cell: (l) => (l.repairs ? l.repairs : <span className="dim">0</span>) },
  { id: 'tell', title: t('lamps.action'), cell: (l) => <Button size="compact-sm" variant="subtle" color="gray" aria-label={t('lamps.tellNamed', { phone: l.device_name, name: watched(l) })} onClick={() => void tell(l)}>{t('lamps.tell')}</Button> },
];

/** What each lamp of each phone shows, and what it ought to show. */
export default function Lamps() {
  const lamps = useLamps();
  const text = useSearchText().toLowerCase();
  const [wrong, setWrong] = useQueryParam('wrong');
  const [, setQ] = useQueryParam('q');
  const sort = useSort('phone');
  const all = lamps.data?.items ?? [];
  const right = all.filter((l) => l.right).length;
  const found = useMemo(() => sortRows(all.filter((l) => (!wrong || !l.right) && (!text || `${l.device_name} ${watched(l)} ${l.watched_extension}`.toLowerCase().includes(text))), columns, sort[0], sort[1]), [all, wrong, text, sort[0], sort[1]]);
  const [rows, pager] = usePage(found);
  return (
    <>
      <PageHead title={t('nav.lamps')} docTitle={t('nav.lamps')} />
      <p className="opening dim">{t('lamps.what')}</p>
      {lamps.isPending ? <Loading rows={5} /> : lamps.isError && !lamps.data ? <Failed what={words(lamps.error)} retry={() => void lamps.refetch()} /> : all.length === 0 ? (
        <div className="card"><Empty>{t('lamps.empty')}</Empty></div>
      ) : (
        <>
          <section className="card" aria-label={t('lamps.sum')} style={{ marginBottom: 16 }}>
            <div className="card-body stack" style={{ gap: 8 }}>
              <div className="row wrap"><IconBulb size={22} aria-hidden /><span className="figure">{right}<small> {t('home.of', { count: all.length })}</small></span><span className="dim">{t('lamps.right')}</span><span className="dim" style={{ marginInlineStart: 'auto' }}>{t('lamps.repaired', { count: lamps.data?.repairs ?? 0 })}</span></div>
              <span className="gauge" aria-hidden><i style={{ width: `${(100 * right) / all.length}%` }} /></span>
            </div>
          </section>
          <div className="toolbar">
            <SearchBox placeholder={t('lamps.searchHint')} />
            <Switch label={t('lamps.onlyWrong')} checked={Boolean(wrong)} onChange={(e) => setWrong(e.currentTarget.checked ? '1' : '')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('lamps.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={text ? <Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button> : undefined}>{t(text ? 'lamps.noMatch' : 'lamps.allRight')}</Empty></div>
          ) : <Table name={t('nav.lamps')} columns={columns} rows={rows} rowKey={(l) => l.id} sort={sort} />}
          {pager}
        </>
      )}
    </>
  );
}
