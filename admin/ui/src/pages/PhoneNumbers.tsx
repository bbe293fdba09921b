import { Button, Modal, Select, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { type FormEvent, useMemo, useState } from 'react';
import { cache } from '../api/cache';
import { type Destination, type PhoneNumber, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { keys, useNumbers, useTrunks } from '../api/queries';
import { Link, setQuery, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead, Pill } from '../ui/bits';
import { DestinationFields } from '../ui/destination';
import { type Column, SearchBox, Table, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { toast } from '../ui/toast';

const columns: Column<PhoneNumber>[] = [
  { id: 'number', title: t('numbers.number'), lead: true, by: (n) => n.number, cell: (n) => <Link className="name mono" to={`/phone-numbers/${n.id}`}>{n.number}</Link> },
  { id: 'label', title: t('numbers.label'), by: (n) => n.label, cell: (n) => (n.label ? <bdi className="cut">{n.label}</bdi> : <span className="dim">{t('value.none')}</span>) },
  { id: 'destination', title: t('numbers.destination'), by: (n) => n.destination_label, cell: (n) => <bdi className="cut">{n.destination_label}</bdi> },
  { id: 'trunk', title: t('numbers.trunk'), by: (n) => n.trunk_name ?? '', cell: (n) => (n.trunk_id ? <Link to={`/trunks/${n.trunk_id}`}><bdi>{n.trunk_name}</bdi></Link> : <span className="dim">{t('numbers.anyTrunk')}</span>) },
  { id: 'kind', title: t('numbers.kind'), by: (n) => n.kind, wide: true, cell: (n) => <Pill plain>{t(`numbers.kind.${n.kind}`)}</Pill> },
  { id: 'status', title: t('numbers.status'), by: (n) => n.status, cell: (n) => <Pill tone={n.status === 'active' ? 'ok' : 'warn'}>{n.status}</Pill> },
];

export default function PhoneNumbers() {
  const numbers = useNumbers();
  const text = useSearchText().toLowerCase();
  const [, setQ] = useQueryParam('q');
  const [adding, setAdding] = useQueryParam('new');
  const [fresh, setFresh] = useState('');
  const sort = useSort('number');
  const found = useMemo(() => {
    const all = numbers.data ?? [];
    const digits = text.replace(/[\s()./-]/g, '');
    return sortRows(text ? all.filter((n) => `${n.label} ${n.destination_label} ${n.trunk_name ?? ''}`.toLowerCase().includes(text) || (digits && n.number.includes(digits))) : all, columns, sort[0], sort[1]);
  }, [numbers.data, text, sort[0], sort[1]]);
  const [rows, pager] = usePage(found);
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setAdding('1')}>{t('numbers.add')}</Button>;
  return (
    <>
      <PageHead title={t('numbers.title')} docTitle={t('nav.numbers')} actions={button} />
      {numbers.isPending ? <Loading rows={4} /> : numbers.isError && !numbers.data ? <Failed what={words(numbers.error)} retry={() => void numbers.refetch()} /> : numbers.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('numbers.empty')}</Empty></div>
      ) : (
        <>
          <div className="toolbar">
            <SearchBox placeholder={t('numbers.searchHint')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('numbers.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={<Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button>}><T k="numbers.noMatch" v={{ text: <bdi>{text}</bdi> }} /></Empty></div>
          ) : <Table name={t('numbers.mine')} columns={columns} rows={rows} rowKey={(n) => n.id} to={(n) => `/phone-numbers/${n.id}`} sort={sort} flash={fresh} />}
          {pager}
        </>
      )}
      <Modal opened={Boolean(adding)} onClose={() => setQuery({ new: '', trunk: '' })} title={t('numbers.add')}>
        <NewNumber onDone={(n) => { setQuery({ new: '', trunk: '' }); setFresh(n.id); }} />
      </Modal>
    </>
  );
}

export function TrunkSelect({ value, onChange, error }: { value: string | null; onChange: (id: string | null) => void; error?: string }) {
  const trunks = useTrunks();
  return <Select label={t('numbers.trunk')} description={t('numbers.trunkWhat')} value={value ?? ''} onChange={(v) => onChange(v || null)} error={error} data={[{ value: '', label: t('numbers.anyTrunk') }, ...(trunks.data ?? []).map((x) => ({ value: x.id, label: x.name }))]} />;
}

/** The message for a destination, whichever of its fields the server names. */
export const destinationError = (errors: Record<string, string>) => errors.destination ?? errors['destination.id'] ?? errors['destination.number'] ?? errors['destination.type'];

function NewNumber({ onDone }: { onDone: (n: PhoneNumber) => void }) {
  const [from] = useQueryParam('trunk');
  const [number, setNumber] = useState('');
  const [label, setLabel] = useState('');
  const [trunk, setTrunk] = useState<string | null>(from || null);
  const [destination, setDestination] = useState<Destination>({ type: 'user', id: '' });
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
      const made = await ok(api.POST('/accounts/{account}/numbers', { params: { path: inAccount }, body: { number: number.trim(), label: label.trim(), trunk_id: trunk, destination } }));
      cache.setQueryData<PhoneNumber[]>(keys.numbers, (all) => (all ? [...all.filter((n) => n.id !== made.id), made] : all));
      void cache.invalidateQueries({ queryKey: keys.numbers });
      toast({ title: t('numbers.added'), message: made.number });
      onDone(made);
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
      <TextInput label={t('numbers.number')} description={t('numbers.numberWhat')} inputMode="tel" value={number} onChange={(e) => setNumber(e.currentTarget.value)} error={errors.number} placeholder="+49 30 123456" autoComplete="off" maxLength={64} data-autofocus />
      <TextInput label={t('numbers.labelOptional')} value={label} onChange={(e) => setLabel(e.currentTarget.value)} error={errors.label} maxLength={80} autoComplete="off" />
      <DestinationFields value={destination} onChange={setDestination} error={destinationError(errors)} />
      <TrunkSelect value={trunk} onChange={setTrunk} error={errors.trunk_id} />
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button type="submit" loading={busy}>{t('numbers.add')}</Button></div>
    </form>
  );
}
