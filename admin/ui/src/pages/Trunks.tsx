import { Button, Modal, SegmentedControl, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { type FormEvent, useMemo, useState } from 'react';
import { cache } from '../api/cache';
import { type Trunk, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { keys, useTrunks } from '../api/queries';
import { Link, navigate, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead, Time } from '../ui/bits';
import { type Column, SearchBox, Table, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { toast } from '../ui/toast';
import { HostInput, PortInput, TransportSelect, TrunkState, place, rtt, trunkDown } from '../ui/trunks';
import { SecretInput } from './Login';

const columns: Column<Trunk>[] = [
  { id: 'name', title: t('trunks.name'), lead: true, by: (x) => x.name, cell: (x) => <Link className="name cut" to={`/trunks/${x.id}`}><bdi>{x.name}</bdi></Link> },
  { id: 'host', title: t('trunks.host'), by: (x) => x.host, cell: (x) => <span className="mono cut" title={place(x)}>{place(x)}</span> },
  { id: 'status', title: t('trunks.status'), by: (x) => (x.enabled ? (trunkDown(x) ? 0 : 1) : 2), cell: (x) => <span title={x.status.reason}><TrunkState trunk={x} /></span> },
  { id: 'rtt', title: t('trunks.rtt'), by: (x) => x.status.rtt_ms ?? Infinity, cell: (x) => rtt(x.status.rtt_ms) },
  { id: 'calls', title: t('trunks.calls'), by: (x) => x.status.calls, cell: (x) => (x.max_calls ? t('trunks.callsOf', { calls: x.status.calls, max: x.max_calls }) : x.status.calls) },
  { id: 'priority', title: t('trunks.priority'), by: (x) => x.priority, wide: true, cell: (x) => x.priority },
  { id: 'since', title: t('trunks.since'), by: (x) => Date.parse(x.status.since ?? '') || 0, wide: true, cell: (x) => <span className="dim"><Time at={x.status.since} /></span> },
];

export default function Trunks() {
  const trunks = useTrunks();
  const text = useSearchText().toLowerCase();
  const [, setQ] = useQueryParam('q');
  const [adding, setAdding] = useQueryParam('new');
  const sort = useSort('name');
  const found = useMemo(() => {
    const all = trunks.data ?? [];
    return sortRows(text ? all.filter((x) => `${x.name} ${x.host} ${x.auth.username}`.toLowerCase().includes(text)) : all, columns, sort[0], sort[1]);
  }, [trunks.data, text, sort[0], sort[1]]);
  const [rows, pager] = usePage(found);
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setAdding('1')}>{t('trunks.add')}</Button>;
  return (
    <>
      <PageHead title={t('nav.trunks')} docTitle={t('nav.trunks')} actions={button} />
      {trunks.isPending ? <Loading rows={4} /> : trunks.isError && !trunks.data ? <Failed what={words(trunks.error)} retry={() => void trunks.refetch()} /> : trunks.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('trunks.empty')}</Empty></div>
      ) : (
        <>
          <div className="toolbar">
            <SearchBox placeholder={t('trunks.searchHint')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('trunks.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={<Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button>}><T k="trunks.noMatch" v={{ text: <bdi>{text}</bdi> }} /></Empty></div>
          ) : <Table name={t('nav.trunks')} columns={columns} rows={rows} rowKey={(x) => x.id} to={(x) => `/trunks/${x.id}`} sort={sort} />}
          {pager}
        </>
      )}
      <Modal opened={Boolean(adding)} onClose={() => setAdding('')} title={t('trunks.add')}><NewTrunk /></Modal>
    </>
  );
}

function NewTrunk() {
  const [name, setName] = useState('');
  const [host, setHost] = useState('');
  const [port, setPort] = useState<number | null>(null);
  const [transport, setTransport] = useState<Trunk['transport']>(null);
  const [how, setHow] = useState<'register' | 'address'>('register');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const send = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    setBusy(true);
    setErrors({});
    setProblem('');
    try {
      const made = await ok(api.POST('/accounts/{account}/trunks', {
        params: { path: inAccount },
        body: { name: name.trim() || host, host, port, transport, register: how === 'register', auth: { username: username.trim(), ...(password ? { password } : {}) } },
      }));
      cache.setQueryData(keys.trunk(made.id), made);
      void cache.invalidateQueries({ queryKey: keys.trunks });
      toast({ title: t('trunks.added'), message: made.name });
      navigate(`/trunks/${made.id}`);
    } catch (err) {
      if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
      else setProblem(words(err));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={send} noValidate>
      {problem && <Note tone="bad">{problem}</Note>}
      <HostInput label={t('trunks.host')} description={t('trunks.hostWhat')} placeholder="sip.carrier.example" value={host} onChange={setHost} error={errors.host} focus />
      <div className="pair">
        <TransportSelect value={transport} onChange={setTransport} error={errors.transport} />
        <PortInput value={port} onChange={setPort} error={errors.port} />
      </div>
      <div>
        <SegmentedControl fullWidth aria-label={t('trunks.how')} value={how} onChange={(v) => setHow(v as 'register' | 'address')} data={[{ value: 'register', label: t('trunks.byRegistration') }, { value: 'address', label: t('trunks.byAddress') }]} />
        <p className="dim small" style={{ marginTop: 6 }}>{t(how === 'register' ? 'trunks.byRegistrationWhat' : 'trunks.byAddressWhat')}</p>
      </div>
      <div className="pair">
        <TextInput label={t(how === 'register' ? 'sip.username' : 'trunks.usernameOptional')} value={username} onChange={(e) => setUsername(e.currentTarget.value)} error={errors['auth.username']} autoComplete="off" spellCheck={false} autoCapitalize="none" maxLength={128} />
        <SecretInput label={t(how === 'register' ? 'sip.password' : 'trunks.passwordOptional')} value={password} onChange={(e) => setPassword(e.currentTarget.value)} error={errors['auth.password']} autoComplete="new-password" maxLength={128} />
      </div>
      <TextInput label={t('trunks.name')} placeholder={host} value={name} onChange={(e) => setName(e.currentTarget.value)} error={errors.name} maxLength={80} autoComplete="off" />
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button type="submit" loading={busy}>{t('trunks.add')}</Button></div>
    </form>
  );
}
