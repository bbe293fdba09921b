import { Button, Modal, NumberInput, Select, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { cache } from '../api/cache';
import { type RingGroup, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type RingGroupPatch, keys, saveRingGroup, useRingGroups } from '../api/queries';
import { setQuery, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead, Pill } from '../ui/bits';
import { ask } from '../ui/confirm';
import { DestinationFields } from '../ui/destination';
import { useDraft } from '../ui/draft';
import { type Column, SearchBox, Table, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { Targets } from '../ui/targets';
import { toast } from '../ui/toast';
import { destinationError } from './PhoneNumbers';

const strategies = ['simultaneous', 'sequential', 'round_robin', 'random', 'least_recent'] as const;

const columns: Column<RingGroup>[] = [
  { id: 'name', title: t('users.name'), lead: true, by: (g) => g.name, cell: (g) => <bdi className="name cut">{g.name}</bdi> },
  { id: 'extension', title: t('users.extension'), by: (g) => g.extension ?? '', cell: (g) => g.extension ?? <span className="dim">{t('value.none')}</span> },
  { id: 'strategy', title: t('groups.strategy'), by: (g) => g.strategy, cell: (g) => <Pill plain>{t(`groups.strategy.${g.strategy}`)}</Pill> },
  { id: 'members', title: t('groups.members'), by: (g) => g.members.length, cell: (g) => t('groups.memberCount', { count: g.members.length }) },
  { id: 'fallback', title: t('groups.fallback'), by: (g) => g.fallback_label, wide: true, cell: (g) => <bdi className="cut">{g.fallback_label}</bdi> },
];

const blank: RingGroup = { id: '', version: 0, name: '', extension: null, strategy: 'simultaneous', members: [{ type: 'user', id: '' }], timeout_s: 20, caller_prefix: '', fallback: { type: 'hangup' }, fallback_label: '', created_at: '', updated_at: '' };

export default function RingGroups() {
  const groups = useRingGroups();
  const text = useSearchText().toLowerCase();
  const [, setQ] = useQueryParam('q');
  const [open, setOpen] = useQueryParam('id');
  const [fresh, setFresh] = useState('');
  const sort = useSort('name');
  const found = useMemo(() => {
    const all = groups.data ?? [];
    return sortRows(text ? all.filter((g) => `${g.name} ${g.extension ?? ''}`.toLowerCase().includes(text)) : all, columns, sort[0], sort[1]);
  }, [groups.data, text, sort[0], sort[1]]);
  const [rows, pager] = usePage(found);
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setOpen('new')}>{t('groups.add')}</Button>;
  const shown = open === 'new' ? blank : groups.data?.find((g) => g.id === open);
  return (
    <>
      <PageHead title={t('nav.ringGroups')} docTitle={t('nav.ringGroups')} actions={button} />
      {groups.isPending ? <Loading rows={4} /> : groups.isError && !groups.data ? <Failed what={words(groups.error)} retry={() => void groups.refetch()} /> : groups.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('groups.empty')}</Empty></div>
      ) : (
        <>
          <div className="toolbar">
            <SearchBox placeholder={t('groups.searchHint')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('groups.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={<Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button>}><T k="groups.noMatch" v={{ text: <bdi>{text}</bdi> }} /></Empty></div>
          ) : <Table name={t('nav.ringGroups')} columns={columns} rows={rows} rowKey={(g) => g.id} to={(g) => `/ring-groups?id=${g.id}`} sort={sort} flash={fresh} />}
          {pager}
        </>
      )}
      <Modal opened={Boolean(shown)} onClose={() => setQuery({ id: '' })} title={shown?.id ? shown.name : t('groups.add')} size="lg">
        {shown && <GroupForm key={shown.id} group={shown} onDone={(g) => { setQuery({ id: '' }); if (g) setFresh(g.id); }} />}
      </Modal>
    </>
  );
}

function GroupForm({ group, onDone }: { group: RingGroup; onDone: (g?: RingGroup) => void }) {
  const send = async (patch: RingGroupPatch) => {
    if (group.id) return onDone(await saveRingGroup(group.id, patch));
    const { name, extension, strategy, members, timeout_s, caller_prefix, fallback } = { ...group, ...patch };
    const made = await ok(api.POST('/accounts/{account}/ring-groups', { params: { path: inAccount }, body: { name, extension, strategy, members, timeout_s, caller_prefix: caller_prefix ?? '', fallback } }));
    cache.setQueryData<RingGroup[]>(keys.ringGroups, (all) => (all ? [...all, made] : all));
    void cache.invalidateQueries({ queryKey: keys.ringGroups });
    toast({ title: t('groups.added'), message: made.name });
    onDone(made);
  };
  const form = useDraft<RingGroup, RingGroupPatch>(group, send);
  const v = form.value;
  const remove = () =>
    ask({
      title: t('groups.delete'),
      body: <T k="groups.deleteBody" v={{ name: <b><bdi>{group.name}</bdi></b> }} />,
      verb: t('groups.delete'),
      run: async () => {
        await ok(api.DELETE('/accounts/{account}/ring-groups/{group}', { params: { path: { ...inAccount, group: group.id } }, headers: ifMatch(group.version) }));
        cache.setQueryData<RingGroup[]>(keys.ringGroups, (all) => all?.filter((x) => x.id !== group.id));
        toast({ title: t('groups.deleted'), message: group.name });
        onDone();
      },
    });
  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={form.submit} noValidate>
      {form.problem && <Note tone="bad">{form.problem}</Note>}
      <div className="grid2">
        <TextInput label={t('users.name')} value={v.name} onChange={(e) => form.set({ name: e.currentTarget.value })} error={form.errors.name} maxLength={80} autoComplete="off" data-autofocus />
        <TextInput label={t('users.extension')} inputMode="numeric" value={v.extension ?? ''} onChange={(e) => form.set({ extension: e.currentTarget.value || null })} error={form.errors.extension} maxLength={6} autoComplete="off" />
        <Select label={t('groups.strategy')} value={v.strategy} onChange={(s) => s && form.set({ strategy: s as RingGroup['strategy'] })} error={form.errors.strategy} data={strategies.map((s) => ({ value: s, label: t(`groups.strategy.${s}`) }))} />
        <NumberInput label={t('findMe.timeout')} description={v.strategy === 'simultaneous' ? undefined : t('groups.each')} suffix={t('ring.seconds')} min={5} max={300} clampBehavior="none" allowDecimal={false} hideControls value={v.timeout_s} onChange={(n) => form.set({ timeout_s: Number(n) })} error={form.errors.timeout_s} />
        <TextInput label={t('groups.prefix')} description={t('groups.prefixWhat')} value={v.caller_prefix ?? ''} onChange={(e) => form.set({ caller_prefix: e.currentTarget.value })} error={form.errors.caller_prefix} maxLength={20} autoComplete="off" />
      </div>
      <fieldset className="step"><legend>{t('groups.members')}</legend><Targets name="members" value={v.members} onChange={(members) => form.set({ members })} errors={form.errors} /></fieldset>
      <fieldset className="step"><legend>{t('groups.fallbackWhat')}</legend><DestinationFields value={v.fallback} onChange={(fallback) => form.set({ fallback })} error={form.errors.fallback ?? destinationError(form.errors)} /></fieldset>
      <div className="row apart wrap">
        {group.id ? <Button variant="outline" color="red.8" className="danger" onClick={remove}>{t('groups.delete')}</Button> : <span />}
        <Button type="submit" loading={form.busy} disabled={!form.dirty}>{group.id ? t('action.save') : t('groups.add')}</Button>
      </div>
    </form>
  );
}
