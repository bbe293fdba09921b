import { Button, Modal, MultiSelect, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import { cache } from '../api/cache';
import { type Mailbox, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type MailboxPatch, keys, saveMailbox, useMailboxes, useUsers } from '../api/queries';
import { Link, setQuery, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead, Pill } from '../ui/bits';
import { ask } from '../ui/confirm';
import { useDraft } from '../ui/draft';
import { type Column, Table, sortRows, useSort } from '../ui/table';
import { toast } from '../ui/toast';
import { SecretInput } from './Login';

const columns: Column<Mailbox>[] = [
  { id: 'name', title: t('users.name'), lead: true, by: (m) => m.name, cell: (m) => <bdi className="name cut">{m.name}</bdi> },
  { id: 'extension', title: t('users.extension'), by: (m) => m.extension ?? '', cell: (m) => m.extension ?? <span className="dim">{t('value.none')}</span> },
  { id: 'members', title: t('groups.members'), by: (m) => m.member_ids.length, cell: (m) => t('groups.memberCount', { count: m.member_ids.length }) },
  { id: 'messages', title: t('mailboxes.messages'), by: (m) => m.counts.new, cell: (m) => (m.counts.new ? <Pill tone="warn">{t('nav.newMessages', { count: m.counts.new })}</Pill> : <span className="dim">{t('mailboxes.saved', { count: m.counts.old })}</span>) },
];

const blank: Mailbox = { id: '', version: 0, name: '', extension: null, member_ids: [], has_pin: false, counts: { new: 0, old: 0 }, created_at: '', updated_at: '' };

export default function Mailboxes() {
  const boxes = useMailboxes();
  const [open, setOpen] = useQueryParam('id');
  const [fresh, setFresh] = useState('');
  const sort = useSort('name');
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setOpen('new')}>{t('mailboxes.add')}</Button>;
  const shown = open === 'new' ? blank : boxes.data?.find((m) => m.id === open);
  return (
    <>
      <PageHead title={t('nav.mailboxes')} docTitle={t('nav.mailboxes')} actions={button} />
      {boxes.isPending ? <Loading rows={3} /> : boxes.isError && !boxes.data ? <Failed what={words(boxes.error)} retry={() => void boxes.refetch()} /> : boxes.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('mailboxes.empty')}</Empty></div>
      ) : <Table name={t('nav.mailboxes')} columns={columns} rows={sortRows(boxes.data, columns, sort[0], sort[1])} rowKey={(m) => m.id} to={(m) => `/mailboxes?id=${m.id}`} sort={sort} flash={fresh} />}
      <Modal opened={Boolean(shown)} onClose={() => setQuery({ id: '' })} title={shown?.id ? shown.name : t('mailboxes.add')}>
        {shown && <MailboxForm key={shown.id} box={shown} onDone={(m) => { setQuery({ id: '' }); if (m) setFresh(m.id); }} />}
      </Modal>
    </>
  );
}

function MailboxForm({ box, onDone }: { box: Mailbox; onDone: (m?: Mailbox) => void }) {
  const users = useUsers();
  const send = async (patch: MailboxPatch) => {
    if (box.id) return onDone(await saveMailbox(box.id, patch));
    const { name, extension, member_ids, pin } = { ...box, pin: undefined, ...patch } as Mailbox & { pin?: string };
    const made = await ok(api.POST('/accounts/{account}/mailboxes', { params: { path: inAccount }, body: { name, extension, member_ids, ...(pin ? { pin } : {}) } }));
    cache.setQueryData<Mailbox[]>(keys.mailboxes, (all) => (all ? [...all, made] : all));
    void cache.invalidateQueries({ queryKey: keys.mailboxes });
    toast({ title: t('mailboxes.added'), message: made.name });
    onDone(made);
  };
  const form = useDraft<Mailbox, MailboxPatch>(box, send);
  const v = form.value as Mailbox & { pin?: string };
  const remove = () =>
    ask({
      title: t('mailboxes.delete'),
      body: <T k="mailboxes.deleteBody" v={{ name: <b><bdi>{box.name}</bdi></b> }} />,
      verb: t('mailboxes.delete'),
      run: async () => {
        await ok(api.DELETE('/accounts/{account}/mailboxes/{mailbox}', { params: { path: { ...inAccount, mailbox: box.id } }, headers: ifMatch(box.version) }));
        cache.setQueryData<Mailbox[]>(keys.mailboxes, (all) => all?.filter((x) => x.id !== box.id));
        toast({ title: t('mailboxes.deleted'), message: box.name });
        onDone();
      },
    });
  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={form.submit} noValidate>
      {form.problem && <Note tone="bad">{form.problem}</Note>}
      <TextInput label={t('users.name')} value={v.name} onChange={(e) => form.set({ name: e.currentTarget.value })} error={form.errors.name} maxLength={80} autoComplete="off" data-autofocus />
      <TextInput label={t('users.extension')} inputMode="numeric" value={v.extension ?? ''} onChange={(e) => form.set({ extension: e.currentTarget.value || null })} error={form.errors.extension} maxLength={6} autoComplete="off" />
      <MultiSelect label={t('groups.members')} description={t('mailboxes.membersWhat')} searchable nothingFoundMessage={t('palette.none')} value={v.member_ids} onChange={(member_ids) => form.set({ member_ids })} error={form.errors.member_ids} data={(users.data ?? []).map((u) => ({ value: u.id, label: u.name }))} />
      <SecretInput label={t('pin.label')} inputMode="numeric" autoComplete="off" maxLength={10} placeholder={box.has_pin ? t('pin.set') : t('pin.none')} value={v.pin ?? ''} onChange={(e) => form.set({ pin: e.currentTarget.value.replace(/\D/g, '') })} error={form.errors.pin} />
      <div className="row apart wrap">
        {box.id ? <span className="row wrap"><Button variant="outline" color="red.8" className="danger" onClick={remove}>{t('mailboxes.delete')}</Button><Button component={Link} to={`/voicemail?box=${box.id}`} variant="default">{t('mailboxes.listen')}</Button></span> : <span />}
        <Button type="submit" loading={form.busy} disabled={!form.dirty}>{box.id ? t('action.save') : t('mailboxes.add')}</Button>
      </div>
    </form>
  );
}
