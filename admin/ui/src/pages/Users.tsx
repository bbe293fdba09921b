import { Button, Modal, SegmentedControl, Select, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useEffect, useMemo, useState } from 'react';
import { cache } from '../api/cache';
import { type User, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { keys, useUsers } from '../api/queries';
import { useSession } from '../api/session';
import { Link, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Avatar, Empty, Failed, Loading, Note, PageHead, Pill, Time } from '../ui/bits';
import { SearchBox, Table, type Column, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { toast } from '../ui/toast';
import { SecretInput } from './Login';

const columns: Column<User>[] = [
  {
    id: 'name',
    title: t('users.name'),
    lead: true,
    by: (u) => u.name,
    cell: (u) => <span className="row"><Avatar name={u.name} /><Link className="name cut" to={`/users/${u.id}`}><bdi>{u.name}</bdi></Link></span>,
  },
  { id: 'email', title: t('users.email'), by: (u) => u.email ?? u.username ?? '', cell: (u) => <bdi className="cut" style={{ display: 'block' }} title={u.email ?? u.username ?? ''}>{u.email ?? u.username}</bdi> },
  { id: 'extension', title: t('users.extension'), by: (u) => u.extension ?? '', cell: (u) => u.extension ?? <span className="dim">{t('value.none')}</span> },
  { id: 'role', title: t('users.role'), by: (u) => u.role, cell: (u) => (u.role === 'admin' ? <Pill tone="accent" plain>{t('role.admin')}</Pill> : t('role.member')) },
  { id: 'devices', title: t('users.devices'), by: (u) => u.devices.length, cell: (u) => <DeviceCount user={u} /> },
  { id: 'created', title: t('users.created'), by: (u) => Date.parse(u.created_at), wide: true, cell: (u) => <span className="dim"><Time at={u.created_at} /></span> },
];

function DeviceCount({ user }: { user: User }) {
  if (!user.devices.length) return <span className="dim">{t('value.none')}</span>;
  const on = user.devices.filter((d) => d.online).length;
  return <span className="row" style={{ gap: 7, whiteSpace: 'nowrap' }}><span className={`dot ${on ? 'ok' : 'hollow'}`} aria-hidden />{on ? t('users.devicesOn', { on, count: user.devices.length }) : t('users.devicesOff', { count: user.devices.length })}</span>;
}

export default function Users() {
  const users = useUsers();
  const text = useSearchText().toLowerCase();
  const [, setQ] = useQueryParam('q');
  const [creating, setCreating] = useQueryParam('new');
  const [fresh, setFresh] = useState<User | null>(null);
  const sort = useSort('name');
  const found = useMemo(() => {
    const all = users.data ?? [];
    const hits = text ? all.filter((u) => `${u.name} ${u.email ?? ''} ${u.username ?? ''} ${u.extension ?? ''}`.toLowerCase().includes(text)) : all;
    const sorted = sortRows(hits, columns, sort[0], sort[1]);
    // A new user is on top until the list is left.
    const mine = fresh && sorted.find((u) => u.id === fresh.id);
    return mine ? [mine, ...sorted.filter((u) => u !== mine)] : sorted;
  }, [users.data, text, sort[0], sort[1], fresh]);
  const [rows, pager] = usePage(found);
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setCreating('1')}>{t('users.new')}</Button>;

  return (
    <>
      <PageHead title={t('nav.users')} docTitle={t('nav.users')} actions={button} />
      {users.isPending ? <Loading rows={6} /> : users.isError && !users.data ? <Failed what={words(users.error)} retry={() => void users.refetch()} /> : users.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('users.empty')}</Empty></div>
      ) : (
        <>
          <div className="toolbar">
            <SearchBox placeholder={t('users.searchHint')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('users.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={<Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button>}><T k="users.noMatch" v={{ text: <bdi>{text}</bdi> }} /></Empty></div>
          ) : <Table name={t('nav.users')} columns={columns} rows={rows} rowKey={(u) => u.id} to={(u) => `/users/${u.id}`} sort={sort} flash={fresh?.id} />}
          {pager}
        </>
      )}
      <Modal opened={Boolean(creating)} onClose={() => setCreating('')} title={t('users.new')}>
        <NewUser onDone={(u) => { setCreating(''); setFresh(u); }} />
      </Modal>
    </>
  );
}

/** A message that links to the object it collides with. */
export function Colliding({ message, id }: { message: string; id?: string }) {
  return <>{message}{id?.startsWith('usr_') && <> <Link to={`/users/${id}`}>{t('users.show')}</Link></>}</>;
}

export function fieldErrors(e: unknown): Record<string, ReactNode> {
  if (!(e instanceof Problem)) return {};
  const out: Record<string, ReactNode> = { ...e.fields };
  const list = (e.body.errors ?? []) as { field: string; message: string; with?: string }[];
  for (const x of Array.isArray(list) ? list : []) if (x.with) out[x.field] = <Colliding message={x.message} id={x.with} />;
  return out;
}

const emailLike = /^[^\s@]+@[^\s@]+$/;

function NewUser({ onDone }: { onDone: (u: User) => void }) {
  const { account } = useSession();
  const [by, setBy] = useState<'email' | 'username'>('email');
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [extension, setExtension] = useState<string | null>(null);
  const [role, setRole] = useState<'member' | 'admin'>('member');
  const [errors, setErrors] = useState<Record<string, ReactNode>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const next = useQuery({ queryKey: ['next-extension'], staleTime: 0, gcTime: 0, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/users/next-extension', { params: { path: inAccount }, signal })) });
  const ext = extension ?? next.data?.extension ?? '';
  useEffect(() => setErrors({}), [by]);

  const send = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    const wrong: Record<string, ReactNode> = {};
    if (!name.trim()) wrong.name = t('users.nameRequired');
    if (by === 'email' ? !emailLike.test(email.trim()) : email.trim() && !emailLike.test(email.trim())) wrong.email = t('users.emailWrong');
    if (by === 'username' && !/^[a-z0-9._-]{3,32}$/.test(username)) wrong.username = t('users.usernameWrong');
    if (password && [...password].length < 12) wrong.password = t('password.short');
    if (by === 'username' && !password) wrong.password = t('users.passwordRequired');
    if (ext && !new RegExp(`^\\d{${account.extension_length}}$`).test(ext)) wrong.extension = t('users.extensionWrong', { count: account.extension_length });
    setErrors(wrong);
    setProblem('');
    if (Object.keys(wrong).length) return;
    setBusy(true);
    try {
      const made = await ok(api.POST('/accounts/{account}/users', {
        params: { path: inAccount },
        body: {
          name: name.trim(),
          email: email.trim() || null,
          role,
          extension: ext || null,
          ...(by === 'username' ? { username } : {}),
          ...(password ? { password } : {}),
        },
      }));
      cache.setQueryData<User[]>(keys.users, (all) => (all ? [...all.filter((u) => u.id !== made.id), made] : all));
      void cache.invalidateQueries({ queryKey: keys.users });
      toast({ title: t('users.created.title'), message: t('users.created.message', { name: made.name }) });
      onDone(made);
    } catch (err) {
      const fields = fieldErrors(err);
      setErrors(fields);
      if (!Object.keys(fields).length) setProblem(words(err));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={send} noValidate>
      {problem && <Note tone="bad">{problem}</Note>}
      <SegmentedControl fullWidth aria-label={t('users.by')} value={by} onChange={(v) => setBy(v as 'email' | 'username')} data={[{ value: 'email', label: t('users.byEmail') }, { value: 'username', label: t('users.byUsername') }]} />
      <TextInput label={t('users.name')} data-autofocus value={name} onChange={(e) => setName(e.currentTarget.value)} error={errors.name} maxLength={80} autoComplete="off" />
      {by === 'username' && <TextInput label={t('users.username')} value={username} onChange={(e) => setUsername(e.currentTarget.value.toLowerCase())} error={errors.username} autoComplete="off" spellCheck={false} autoCapitalize="none" />}
      <TextInput label={t(by === 'email' ? 'users.email' : 'users.emailOptional')} type="email" value={email} onChange={(e) => setEmail(e.currentTarget.value)} error={errors.email} autoComplete="off" />
      <SecretInput label={t(by === 'email' ? 'users.temporaryOptional' : 'users.temporary')} description={t('users.temporaryHint')} value={password} onChange={(e) => setPassword(e.currentTarget.value)} error={errors.password} autoComplete="new-password" />
      <div className="pair">
        <TextInput label={t('users.extension')} inputMode="numeric" value={ext} onChange={(e) => setExtension(e.currentTarget.value.replace(/\D/g, ''))} error={errors.extension} maxLength={6} autoComplete="off" />
        <Select label={t('users.role')} value={role} onChange={(v) => setRole((v ?? 'member') as 'member' | 'admin')} data={[{ value: 'member', label: t('role.member') }, { value: 'admin', label: t('role.admin') }]} error={errors.role} />
      </div>
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button type="submit" loading={busy}>{t('users.create')}</Button></div>
    </form>
  );
}
