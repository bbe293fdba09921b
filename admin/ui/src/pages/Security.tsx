import { Button, Modal, NumberInput, Select, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { cache } from '../api/cache';
import { type Account, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { type AccountPatch, keys, saveAccount, useBans } from '../api/queries';
import type { components } from '../api/schema';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Empty, Failed, Loading, Note, Time } from '../ui/bits';
import { ask } from '../ui/confirm';
import { useDraft } from '../ui/draft';
import { DraftCard } from '../ui/DraftCard';
import { toast } from '../ui/toast';

type Ban = components['schemas']['Ban'];

/** Who is kept out, and how long what went over the wire is kept. */
export default function Security({ account }: { account: Account }) {
  return (
    <>
      <Bans />
      <Traces account={account} />
    </>
  );
}

function Bans() {
  const bans = useBans();
  const [adding, setAdding] = useState(false);
  return (
    <Card title={t('bans.title')} flush action={<Button size="compact-md" variant="default" leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>{t('bans.add')}</Button>}>
      <p className="card-body dim" style={{ paddingBottom: 0 }}>{t('bans.what')}</p>
      {bans.isPending ? <Loading rows={3} /> : bans.isError && !bans.data ? <Failed what={words(bans.error)} retry={() => void bans.refetch()} /> : bans.data.length === 0 ? <Empty>{t('bans.none')}</Empty> : (
        <ul className="list" aria-label={t('bans.title')} style={{ marginTop: 8 }}>
          {bans.data.map((b) => <BanRow key={b.ip} ban={b} />)}
        </ul>
      )}
      <Modal opened={adding} onClose={() => setAdding(false)} title={t('bans.add')}><NewBan onDone={() => setAdding(false)} /></Modal>
    </Card>
  );
}

function BanRow({ ban: b }: { ban: Ban }) {
  const [open, setOpen] = useState(false);
  const lift = () =>
    ask({
      title: t('bans.liftTitle'),
      body: <T k="bans.liftBody" v={{ ip: <b className="mono">{b.ip}</b> }} />,
      verb: t('bans.lift'),
      danger: false,
      run: async () => {
        await ok(api.DELETE('/accounts/{account}/bans/{ip}', { params: { path: { ...inAccount, ip: b.ip } } }));
        cache.setQueryData<Ban[]>(keys.bans, (all) => all?.filter((x) => x.ip !== b.ip));
        toast({ title: t('bans.lifted'), message: b.ip });
      },
    });
  return (
    <li style={{ display: 'block' }}>
      <div className="row apart wrap">
        <span className="mono" style={{ minWidth: '9rem' }}>{b.ip}</span>
        <span className="grow"><bdi>{b.reason}</bdi>{b.by && <span className="dim"> · {t('bans.by', { name: b.by })}</span>}</span>
        <Button size="compact-sm" variant="subtle" color="gray" aria-expanded={open} aria-label={t('bans.evidenceOf', { ip: b.ip })} onClick={() => setOpen(!open)}>{t('bans.evidence')}</Button>
        <Button size="compact-sm" variant="default" aria-label={t('bans.liftNamed', { ip: b.ip })} onClick={lift}>{t('bans.lift')}</Button>
      </div>
      <p className="dim small"><T k="bans.times" v={{ since: <Time at={b.since} />, until: <Time at={b.until} />, hits: b.hits }} />{b.times > 1 && ` ${t('bans.again', { count: b.times })}`}</p>
      {open && (b.evidence.length ? <ul className="evidence mono small">{b.evidence.map((line, i) => <li key={i}><bdi>{line}</bdi></li>)}</ul> : <p className="dim small">{t('bans.noEvidence')}</p>)}
    </li>
  );
}

const hour = 3600;
const durations = [hour, 24 * hour, 7 * 24 * hour, 365 * 24 * hour];

function NewBan({ onDone }: { onDone: () => void }) {
  const [ip, setIp] = useState('');
  const [reason, setReason] = useState('');
  const [seconds, setSeconds] = useState(String(24 * hour));
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const send = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setErrors({});
    setProblem('');
    try {
      const made = await ok(api.POST('/accounts/{account}/bans', { params: { path: inAccount }, body: { ip: ip.trim(), duration_s: Number(seconds), ...(reason.trim() ? { reason: reason.trim() } : {}) } }));
      void cache.invalidateQueries({ queryKey: keys.bans });
      toast({ title: t('bans.added'), message: made.ip });
      onDone();
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
      <TextInput label={t('bans.ip')} description={t('bans.ipWhat')} value={ip} onChange={(e) => setIp(e.currentTarget.value)} error={errors.ip} autoComplete="off" spellCheck={false} data-autofocus placeholder="198.51.100.7" />
      <TextInput label={t('bans.reason')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={errors.reason} maxLength={200} autoComplete="off" />
      <Select label={t('bans.duration')} value={seconds} onChange={(v) => v && setSeconds(v)} error={errors.duration_s} data={durations.map((s) => ({ value: String(s), label: t('bans.hours', { count: s / hour, days: s / hour / 24 }) }))} />
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button type="submit" loading={busy}>{t('bans.add')}</Button></div>
    </form>
  );
}

function Traces({ account }: { account: Account }) {
  const form = useDraft<Account, AccountPatch>(account, (patch) => saveAccount(account.id, patch));
  return (
    <DraftCard title={t('trace.title')} form={form}>
      <NumberInput label={t('trace.days')} description={t('trace.daysWhat')} w={300} min={1} max={365} allowDecimal={false} value={form.value.trace_days} onChange={(n) => form.set({ trace_days: Number(n) })} error={form.errors.trace_days} />
    </DraftCard>
  );
}
