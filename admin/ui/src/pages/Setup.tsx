import { Button, SegmentedControl, Select, TextInput } from '@mantine/core';
import { IconCheck, IconPhone, IconPlus, IconTrash, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import { cache } from '../api/cache';
import { type Device, type LineCredentials, type Session, type User, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { keys, saveUser, useDevices, useModels, useProvisioning, useUsers } from '../api/queries';
import { useSession, useSessions } from '../api/session';
import { navigate, setQuery, useAddress } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { read, useLive } from '../live/store';
import { Loading, Note, Pill, Running, useTitle } from '../ui/bits';
import { partyName } from '../ui/calls';
import { Credentials, ModelSelect, Value, createDevice, readCredentials } from '../ui/devices';
import { formatMac, parseMac } from '../ui/format';
import { Mark } from '../ui/Mark';
import { lastStep, saveStep, savedStep } from '../ui/setup';
import { toast } from '../ui/toast';
import { guessZone, zones } from '../ui/zones';
import { SecretInput } from './Login';

const names = ['setup.step.1', 'setup.step.2', 'setup.step.3', 'setup.step.4', 'setup.step.5'] as const;

export default function Setup() {
  const { phase, session } = useSessions();
  const { search } = useAddress();
  useTitle(t('setup.title'));
  const signedIn = phase === 'in' || phase === 'ended';
  const forbidden = signedIn && session?.account.role !== 'admin';
  useEffect(() => {
    if (forbidden) navigate('/', { replace: true });
  }, [forbidden]);
  const asked = Number.parseInt(search.get('step') ?? '', 10) || savedStep() || 2;
  const step = signedIn ? Math.min(lastStep, Math.max(2, asked)) : 1;
  const go = (n: number) => {
    saveStep(n);
    setQuery({ step: String(n) }, true);
  };
  useEffect(() => {
    if (signedIn) saveStep(step);
    scrollTo(0, 0);
  }, [signedIn, step]);
  const finish = () => {
    saveStep(0);
    navigate('/');
  };
  if (forbidden) return null;
  return (
    <div className="setup">
      <header className="setup-head">
        <span className="brand"><Mark />Branchline</span>
        <ol className="steps" aria-label={t('setup.progress')}>
          {names.map((n, i) => {
            const k = i + 1;
            return (
              <li key={n} className={k < step ? 'done' : k === step ? 'now' : ''} aria-current={k === step ? 'step' : undefined}>
                <span className="mark-dot" aria-hidden>{k < step ? <IconCheck size={13} stroke={3} /> : k}</span>
                {k > 1 && k < step ? <button type="button" className="as-link plain" onClick={() => go(k)}>{t(n)}</button> : <span>{t(n)}</span>}
                {k < step && <span className="hidden-at-once">{t('setup.done')}</span>}
              </li>
            );
          })}
        </ol>
      </header>
      <div className="setup-body">
        {step === 1 && <Administrator onDone={() => go(2)} />}
        {step === 2 && <Network onNext={() => go(3)} />}
        {step === 3 && <People onBack={() => go(2)} onNext={() => go(4)} />}
        {step === 4 && <Phones onBack={() => go(3)} onNext={() => go(5)} />}
        {step === 5 && <FirstCall onBack={() => go(4)} onFinish={finish} />}
      </div>
    </div>
  );
}

function Step({ title, lead, children, foot }: { title: string; lead: ReactNode; children: ReactNode; foot: ReactNode }) {
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => head.current?.focus({ preventScroll: true }), []);
  return (
    <>
      <h1 ref={head} tabIndex={-1}>{title}</h1>
      <p className="opening" style={{ margin: '0.25rem 0 1.5rem' }}>{lead}</p>
      {children}
      <div className="setup-foot">{foot}</div>
    </>
  );
}

/** How good a password is, in words. */
export function strength(password: string): 'short' | 'fair' | 'good' | 'strong' {
  const n = [...password].length;
  if (n < 12) return 'short';
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z0-9]/].filter((k) => k.test(password)).length;
  const distinct = new Set(password).size;
  if (distinct < 6) return 'fair';
  return n >= 18 || (n >= 14 && kinds >= 3) ? 'strong' : n >= 14 || kinds >= 3 ? 'good' : 'fair';
}

const countryOf = (zone: string) => {
  const region = new Intl.Locale(navigator.language).maximize().region;
  return region && /^[A-Z]{2}$/.test(region) ? region : zone.startsWith('Europe/') ? 'DE' : 'US';
};

function Administrator({ onDone }: { onDone: () => void }) {
  const { tokenNeeded, enter } = useSessions();
  const [f, setF] = useState({ account: '', name: '', email: '', password: '', zone: guessZone(), token: '' });
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const set = (patch: Partial<typeof f>) => setF((v) => ({ ...v, ...patch }));
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    const wrong: Record<string, string> = {};
    if (!f.account.trim()) wrong.account_name = t('setup.accountMissing');
    if (!f.name.trim()) wrong.admin_name = t('users.nameRequired');
    if (!/^[^\s@]+@[^\s@]+$/.test(f.email.trim())) wrong.admin_email = t('users.emailWrong');
    if ([...f.password].length < 12) wrong.admin_password = t('password.short');
    if (tokenNeeded && !f.token.trim()) wrong.setup_token = t('setup.tokenMissing');
    setErrors(wrong);
    setProblem('');
    if (Object.keys(wrong).length) return;
    setBusy(true);
    try {
      const session: Session = await ok(api.POST('/setup', {
        body: {
          account_name: f.account.trim(),
          timezone: f.zone,
          country: countryOf(f.zone),
          extension_length: 3,
          admin_name: f.name.trim(),
          admin_email: f.email.trim(),
          admin_password: f.password,
          ...(f.token.trim() ? { setup_token: f.token.trim() } : {}),
        },
      }));
      saveStep(2);
      enter(session);
      onDone();
    } catch (err) {
      if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
      else setProblem(err instanceof Problem && err.status === 403 && tokenNeeded ? t('setup.tokenWrong') : words(err));
    } finally {
      setBusy(false);
    }
  };
  const level = strength(f.password);
  return (
    <form onSubmit={submit} noValidate>
      <Step title={t('setup.welcome')} lead={t('setup.welcomeLead')} foot={<Button type="submit" size="md" loading={busy}>{t('setup.create')}</Button>}>
        <div className="card card-body stack" style={{ gap: 16 }}>
          {problem && <Note tone="bad">{problem}</Note>}
          {tokenNeeded && <TextInput label={t('setup.token')} description={t('setup.tokenHint')} className="mono-input" value={f.token} onChange={(e) => set({ token: e.currentTarget.value })} error={errors.setup_token} autoComplete="off" spellCheck={false} />}
          <TextInput label={t('setup.account')} description={t('setup.accountHint')} value={f.account} onChange={(e) => set({ account: e.currentTarget.value })} error={errors.account_name} maxLength={80} autoComplete="organization" />
          <div className="pair wrap">
            <TextInput label={t('setup.yourName')} value={f.name} onChange={(e) => set({ name: e.currentTarget.value })} error={errors.admin_name} maxLength={80} autoComplete="name" />
            <TextInput label={t('users.email')} type="email" value={f.email} onChange={(e) => set({ email: e.currentTarget.value })} error={errors.admin_email} autoComplete="email" />
          </div>
          <SecretInput label={t('login.password')} description={f.password ? t(`password.is.${level}`) : t('password.rule')} value={f.password} onChange={(e) => set({ password: e.currentTarget.value })} error={errors.admin_password} autoComplete="new-password" />
          <Select label={t('settings.timezone')} searchable limit={100} nothingFoundMessage={t('palette.none')} value={f.zone} onChange={(v) => v && set({ zone: v })} data={zones(f.zone)} error={errors.timezone} />
        </div>
      </Step>
    </form>
  );
}

function Fact({ name, value, state, advice }: { name: string; value: ReactNode; state: 'ok' | 'bad' | 'wait' | 'hint'; advice?: string }) {
  return (
    <li style={{ alignItems: 'flex-start' }}>
      <span className={`fact-mark ${state}`} aria-hidden>{state === 'ok' ? <IconCheck size={14} stroke={3} /> : state === 'bad' ? <IconX size={14} stroke={3} /> : state === 'hint' ? 'i' : null}</span>
      <div className="grow">
        <b>{name}</b>
        <div className="dim" style={{ overflowWrap: 'anywhere' }}>{value}</div>
        {advice && (state === 'bad' ? <div style={{ color: 'var(--bad)' }}>{advice}</div> : state === 'hint' && <div>{advice}</div>)}
      </div>
      <span className="hidden-at-once">{t(state === 'ok' ? 'setup.fact.ok' : state === 'bad' ? 'setup.fact.bad' : state === 'hint' ? 'setup.fact.hint' : 'setup.fact.wait')}</span>
    </li>
  );
}

function Network({ onNext }: { onNext: () => void }) {
  const link = useLive((s) => s.link);
  const provisioning = useProvisioning();
  const ready = useQuery({ queryKey: ['readyz'], retry: false, queryFn: async ({ signal }) => { const r = await fetch('/readyz', { signal }); if (!r.ok) throw new Error(String(r.status)); return true; } });
  const clock = useQuery({
    queryKey: ['clock'],
    queryFn: async ({ signal }) => {
      const sent = Date.now();
      const r = await fetch('/api/v1/setup', { signal, cache: 'no-store' });
      const date = Date.parse(r.headers.get('Date') ?? '');
      if (Number.isNaN(date)) throw new Error('no date');
      // The header has whole seconds: half of one is added.
      return Math.round((date + 500 - (sent + Date.now()) / 2) / 1000);
    },
  });
  const loopback = /^(localhost|127\.|\[::1\])/.test(location.hostname);
  const off = Math.abs(clock.data ?? 0);
  return (
    <Step title={t('setup.network')} lead={t('setup.networkLead')} foot={<Button size="md" onClick={onNext}>{t('setup.continue')}</Button>}>
      <ul className="card list facts-list">
        <Fact name={t('setup.fact.portal')} value={location.origin} state={loopback ? 'hint' : 'ok'} advice={t('setup.fact.loopback')} />
        <Fact name={t('setup.fact.server')} value={t(ready.isSuccess ? 'setup.fact.ready' : ready.isError ? 'setup.fact.notReady' : 'state.loading')} state={ready.isSuccess ? 'ok' : ready.isError ? 'bad' : 'wait'} advice={t('setup.fact.check')} />
        <Fact name={t('setup.fact.live')} value={t(link === 'live' ? 'setup.fact.liveOn' : 'setup.fact.liveOff')} state={link === 'live' ? 'ok' : link === 'offline' ? 'bad' : 'wait'} advice={t('setup.fact.proxy')} />
        <Fact name={t('setup.fact.clock')} value={clock.isSuccess ? t('setup.fact.clockBy', { count: off }) : t('state.loading')} state={!clock.isSuccess ? (clock.isError ? 'bad' : 'wait') : off <= 5 ? 'ok' : 'bad'} advice={t('setup.fact.clockOff')} />
        <Fact name={t('setup.fact.provisioning')} value={provisioning.data?.token_set ? provisioning.data.url : t('setup.fact.noToken')} state={provisioning.data?.token_set ? 'ok' : 'wait'} />
      </ul>
    </Step>
  );
}

interface Row {
  key: number;
  id?: string;
  version?: number;
  name: string;
  email: string;
  extension: string;
}

const draftKey = 'branchline-setup-people';

function People({ onBack, onNext }: { onBack: () => void; onNext: () => void }) {
  const users = useUsers();
  const { account } = useSession();
  if (users.isPending) return <Loading />;
  if (users.isError && !users.data) return <Note tone="bad" action={<Button onClick={() => void users.refetch()}>{t('action.tryAgain')}</Button>}>{words(users.error)}</Note>;
  return <PeopleForm users={users.data} length={account.extension_length} onBack={onBack} onNext={onNext} />;
}

/** The nth extension of a length: 101, 102, …; 1001, 1002, …. */
const nth = (n: number, length: number) => String(10 ** (length - 1) + n);

function PeopleForm({ users, length: was, onBack, onNext }: { users: User[]; length: number; onBack: () => void; onNext: () => void }) {
  const { refresh, account } = useSession();
  const nextKey = useRef(100);
  const [length, setLength] = useState(was);
  const [rows, setRows] = useState<Row[]>(() => {
    const taken = new Set(users.map((u) => u.extension));
    const known = users.map((u, i): Row => ({ key: i, id: u.id, version: u.version, name: u.name, email: u.email ?? '', extension: u.extension ?? '' }));
    let drafts: Omit<Row, 'key'>[] = [];
    try {
      const v: unknown = JSON.parse(sessionStorage.getItem(draftKey) ?? '[]');
      if (Array.isArray(v)) drafts = v as Omit<Row, 'key'>[];
    } catch {
      // A spoilt draft is no draft.
    }
    const free = () => {
      let n = 1;
      while (taken.has(nth(n, was))) n++;
      taken.add(nth(n, was));
      return nth(n, was);
    };
    const list = [...known.map((r) => (r.extension ? r : { ...r, extension: free() })), ...drafts.map((d, i) => ({ name: d.name, email: d.email, extension: d.extension, key: 50 + i }))];
    while (list.length < 2) list.push({ key: 40 + list.length, name: '', email: '', extension: free() });
    return list;
  });
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    sessionStorage.setItem(draftKey, JSON.stringify(rows.filter((r) => !r.id && (r.name || r.email)).map(({ name, email, extension }) => ({ name, email, extension }))));
  }, [rows]);

  const set = (key: number, patch: Partial<Row>) => {
    setRows((all) => all.map((r) => (r.key === key ? { ...r, ...patch } : r)));
    setErrors((e) => Object.fromEntries(Object.entries(e).filter(([k]) => !k.startsWith(`${key}.`) || !Object.keys(patch).includes(k.split('.')[1]!))));
  };
  const free = (all: Row[]) => {
    let n = 1;
    while (all.some((r) => r.extension === nth(n, length))) n++;
    return nth(n, length);
  };
  const add = () => setRows((all) => [...all, { key: nextKey.current++, name: '', email: '', extension: free(all) }]);
  const relength = (n: number) => {
    setLength(n);
    setRows((all) => all.map((r, i) => ({ ...r, extension: nth(i + 1, n) })));
  };
  // Rows of a spreadsheet: name, email, extension, separated by tabs.
  const paste = (key: number, text: string): boolean => {
    if (!/[\t\n]/.test(text.trim())) return false;
    const lines = text.trim().split(/\r?\n/).map((l) => l.split(/[\t;]/).map((c) => c.trim()));
    setRows((all) => {
      const at = all.findIndex((r) => r.key === key);
      const out = [...all];
      lines.slice(0, 100).forEach((cells, i) => {
        const have = out[at + i];
        const extension = cells[2] || have?.extension || free(out);
        if (have) out[at + i] = { ...have, name: cells[0] ?? '', email: cells[1] ?? '', extension };
        else out.push({ key: nextKey.current++, name: cells[0] ?? '', email: cells[1] ?? '', extension });
      });
      return out;
    });
    return true;
  };

  const submit = async (e: FormEvent) => {
    e.preventDefault();
    const wrong: Record<string, string> = {};
    const used = rows.filter((r) => r.id || r.name.trim() || r.email.trim());
    for (const r of used) {
      if (!r.name.trim()) wrong[`${r.key}.name`] = t('users.nameRequired');
      if (!/^[^\s@]+@[^\s@]+$/.test(r.email.trim()) && !r.id) wrong[`${r.key}.email`] = t('users.emailWrong');
      if (r.extension && !new RegExp(`^\\d{${length}}$`).test(r.extension)) wrong[`${r.key}.extension`] = t('users.extensionWrong', { count: length });
      if (r.extension && used.some((o) => o !== r && o.extension === r.extension)) wrong[`${r.key}.extension`] = t('setup.extensionTwice');
    }
    setErrors(wrong);
    if (Object.keys(wrong).length) return;
    setBusy(true);
    let at = '';
    try {
      if (length !== account.extension_length) {
        at = 'length';
        // Extensions of the old length are taken away first, so that the new length fits.
        for (const u of users) if (u.extension) await saveUser(u.id, { extension: null });
        await ok(api.PATCH('/accounts/{account}', { params: { path: inAccount }, body: { extension_length: length } }));
        await refresh();
      }
      for (const r of used) {
        at = String(r.key);
        const before = users.find((u) => u.id === r.id);
        if (r.id) {
          if (before && (before.extension !== r.extension || before.name !== r.name.trim() || length !== account.extension_length)) await ok(api.PATCH('/accounts/{account}/users/{user}', { params: { path: { ...inAccount, user: r.id } }, body: { name: r.name.trim(), extension: r.extension || null } }));
        } else {
          const made = await ok(api.POST('/accounts/{account}/users', { params: { path: inAccount }, body: { name: r.name.trim(), email: r.email.trim(), extension: r.extension || null } }));
          setRows((all) => all.map((x) => (x.key === r.key ? { ...x, id: made.id, version: made.version } : x)));
        }
      }
      sessionStorage.removeItem(draftKey);
      await cache.invalidateQueries({ queryKey: keys.users });
      void cache.invalidateQueries({ queryKey: ['user'] });
      onNext();
    } catch (err) {
      const fields = err instanceof Problem ? Object.entries(err.fields) : [];
      setErrors(fields.length ? Object.fromEntries(fields.map(([k, m]) => [`${at}.${k}`, m])) : { form: words(err) });
      void cache.invalidateQueries({ queryKey: keys.users });
    } finally {
      setBusy(false);
    }
  };

  return (
    <form onSubmit={submit} noValidate>
      <Step
        title={t('setup.people')}
        lead={t('setup.peopleLead')}
        foot={<><Button variant="default" size="md" onClick={onBack}>{t('setup.back')}</Button><span className="grow" /><Button variant="subtle" size="md" onClick={onNext}>{t('setup.skip')}</Button><Button type="submit" size="md" loading={busy}>{t('setup.continue')}</Button></>}
      >
        {(errors.form ?? errors['length.extension_length']) && <div style={{ marginBottom: 12 }}><Note tone="bad">{errors.form ?? errors['length.extension_length']}</Note></div>}
        <div className="card">
          <div className="card-body" style={{ borderBottom: '1px solid var(--line)' }}>
            <div className="row wrap apart">
              <span><b id="len">{t('settings.extensionLength')}</b><span className="dim"> · {t('setup.lengthHint')}</span></span>
              <SegmentedControl aria-labelledby="len" value={String(length)} onChange={(v) => relength(Number(v))} data={['3', '4', '5', '6']} />
            </div>
          </div>
          <table className="table people" aria-label={t('setup.people')}>
            <thead><tr><th scope="col">{t('users.name')}</th><th scope="col">{t('users.email')}</th><th scope="col">{t('users.extension')}</th><th><span className="hidden-at-once">{t('activity.actions')}</span></th></tr></thead>
            <tbody>
              {rows.map((r, i) => (
                <tr key={r.key} onPaste={(e) => { if (!r.id && paste(r.key, e.clipboardData.getData('text'))) e.preventDefault(); }}>
                  <td data-label={t('users.name')}><TextInput aria-label={t('setup.cell', { field: t('users.name'), row: i + 1 })} value={r.name} onChange={(e) => set(r.key, { name: e.currentTarget.value })} error={errors[`${r.key}.name`]} maxLength={80} autoComplete="off" placeholder={r.id ? undefined : t('setup.exampleName')} /></td>
                  <td data-label={t('users.email')}><TextInput aria-label={t('setup.cell', { field: t('users.email'), row: i + 1 })} type="email" value={r.email} disabled={Boolean(r.id)} onChange={(e) => set(r.key, { email: e.currentTarget.value })} error={errors[`${r.key}.email`]} autoComplete="off" placeholder={r.id ? undefined : t('setup.exampleEmail')} /></td>
                  <td data-label={t('users.extension')}><TextInput aria-label={t('setup.cell', { field: t('users.extension'), row: i + 1 })} inputMode="numeric" value={r.extension} onChange={(e) => set(r.key, { extension: e.currentTarget.value.replace(/\D/g, '') })} error={errors[`${r.key}.extension`]} maxLength={6} autoComplete="off" /></td>
                  <td>{!r.id && rows.length > 2 && <Button size="compact-sm" variant="subtle" color="gray" aria-label={t('setup.removeRow', { row: i + 1 })} onClick={() => setRows((all) => all.filter((x) => x.key !== r.key))}><IconTrash size={16} aria-hidden /></Button>}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <div className="card-foot" style={{ justifyContent: 'space-between', alignItems: 'center' }}>
            <Button variant="subtle" size="compact-md" leftSection={<IconPlus size={16} aria-hidden />} onClick={add}>{t('setup.addPerson')}</Button>
            <span className="dim small">{t('setup.paste')}</span>
          </div>
        </div>
      </Step>
    </form>
  );
}

/** A phone that was seen, for the person who is being given one. */
interface Offer {
  mac: string;
  model: string | null;
}

function Phones({ onBack, onNext }: { onBack: () => void; onNext: () => void }) {
  const users = useUsers();
  const devices = useDevices();
  const list = useMemo(() => [...(users.data ?? [])].filter((u) => u.extension).sort((a, b) => a.extension!.localeCompare(b.extension!)), [users.data]);
  const seen = useQuery({
    queryKey: ['seen'],
    refetchInterval: 30_000,
    queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/provisioning/seen', { params: { path: inAccount }, signal }))).items,
  });
  const [use, setUse] = useState<Offer | null>(null);
  const [target, setTarget] = useState('');
  return (
    <Step
      title={t('setup.phones')}
      lead={t('setup.phonesLead')}
      foot={<><Button variant="default" size="md" onClick={onBack}>{t('setup.back')}</Button><span className="grow" /><Button variant="subtle" size="md" onClick={onNext}>{t('setup.skip')}</Button><Button size="md" onClick={onNext}>{t('setup.continue')}</Button></>}
    >
      {users.isPending || devices.isPending ? <Loading /> : (
        <div className="stack" style={{ gap: 16 }}>
          {list.map((u) => {
            const own = (devices.data ?? []).find((d) => d.user_ids.includes(u.id));
            return <Phone key={u.id} user={u} device={own} offered={target === u.id && use ? use : null} onWant={() => setTarget(u.id)} />;
          })}
          {list.length === 0 && <Note>{t('setup.noPeople')}</Note>}
          <ProvisioningHint />
          {seen.data && seen.data.length > 0 && (
            <section className="card" aria-label={t('setup.seen')}>
              <div className="card-head"><h2>{t('setup.seen')}</h2></div>
              <ul className="list">
                {seen.data.map((p) => (
                  <li key={p.mac}>
                    <span className="grow cut"><span className="mono">{formatMac(p.mac)}</span> <span className="dim"><bdi>{[p.vendor, p.model, p.firmware].filter(Boolean).join(' ')}</bdi></span></span>
                    <span className="dim mono only-wide">{p.source}</span>
                    <Button size="compact-sm" variant="light" aria-label={t('setup.useNamed', { mac: formatMac(p.mac) })} onClick={() => { const u = target ? undefined : list.find((x) => !(devices.data ?? []).some((d) => d.user_ids.includes(x.id))); if (u) setTarget(u.id); setUse({ mac: p.mac, model: p.vendor && p.model ? `${p.vendor}/${p.model}` : null }); }}>{t('setup.use')}</Button>
                  </li>
                ))}
              </ul>
            </section>
          )}
        </div>
      )}
    </Step>
  );
}

function Phone({ user, device, offered, onWant }: { user: User; device?: Device; offered: Offer | null; onWant: () => void }) {
  const [kind, setKind] = useState<'deskphone' | 'softphone'>('softphone');
  const [mac, setMac] = useState('');
  const [model, setModel] = useState<string | null>(null);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const [credentials, setCredentials] = useState<LineCredentials | null>(null);
  const models = useModels();
  useEffect(() => {
    if (!offered) return;
    setKind('deskphone');
    setMac(formatMac(offered.mac));
    if (offered.model) setModel(offered.model);
  }, [offered]);

  const create = async () => {
    const digits = parseMac(mac);
    const wrong: Record<string, string> = {};
    if (kind === 'deskphone' && !digits) wrong.mac = t('devices.macWrong');
    if (kind === 'deskphone' && !model) wrong.model = t('devices.modelMissing');
    setErrors(wrong);
    if (Object.keys(wrong).length) return;
    const [vendor, type] = (model ?? '').split('/');
    setBusy(true);
    try {
      const first = user.name.split(' ')[0] ?? user.name;
      const made = await createDevice({ kind, name: t('devices.nameOf', { name: first, kind: t(`kind.${kind}`).toLowerCase() }), user_ids: [user.id], ...(kind === 'deskphone' ? { mac: digits, vendor, model: type } : {}) });
      setCredentials(made.sip ?? null);
    } catch (e) {
      if (e instanceof Problem && Object.keys(e.fields).length) setErrors(e.fields);
      else setErrors({ form: words(e) });
    } finally {
      setBusy(false);
    }
  };
  const show = async () => {
    setBusy(true);
    try {
      const lines = await readCredentials(device!.id);
      setCredentials(lines.find((l) => l.user_id === user.id) ?? null);
    } catch (e) {
      toast({ title: t('toast.error'), message: words(e), bad: true });
    } finally {
      setBusy(false);
    }
  };
  const line = device?.lines.find((l) => l.user_id === user.id);
  const on = line?.online ?? false;
  return (
    <section className={on ? 'card phone on' : 'card phone'} aria-label={t('setup.phoneOf', { name: user.name })}>
      <div className="card-head">
        <h2><bdi>{user.name}</bdi> <span className="dim">{user.extension}</span></h2>
        <span role="status">{device ? on ? <Pill tone="ok">{t('device.registered')}</Pill> : <Pill hollow beat>{t('setup.waiting')}</Pill> : null}</span>
      </div>
      <div className="card-body stack" style={{ gap: 14 }}>
        {errors.form && <Note tone="bad">{errors.form}</Note>}
        {!device ? (
          <>
            <SegmentedControl aria-label={t('devices.kind')} value={kind} onChange={(v) => { setKind(v as 'deskphone' | 'softphone'); onWant(); }} data={[{ value: 'softphone', label: t('kind.softphone') }, { value: 'deskphone', label: t('kind.deskphone') }]} />
            {kind === 'deskphone' && (
              <div className="pair wrap">
                <TextInput label={t('devices.mac')} value={mac} onFocus={onWant} onChange={(e) => setMac(e.currentTarget.value)} error={errors.mac} placeholder="80:5e:c0:12:34:56" className="mono-input" spellCheck={false} autoComplete="off" />
                <ModelSelect kind="deskphone" value={model} onChange={setModel} error={errors.model ?? errors.vendor ?? (models.isError ? words(models.error) : undefined)} />
              </div>
            )}
            <div className="row apart wrap"><span className="dim">{t(kind === 'softphone' ? 'setup.softHow' : 'setup.deskHow')}</span><Button loading={busy} onClick={() => void create()}>{t(kind === 'softphone' ? 'setup.makeSoft' : 'setup.makeDesk')}</Button></div>
          </>
        ) : credentials && !on ? (
          <Credentials line={credentials} />
        ) : on ? (
          <p className="dim">{t('setup.phoneOn', { agent: device.registrations.find((r) => r.user_id === user.id)?.user_agent ?? device.name })}</p>
        ) : (
          <div className="row apart wrap"><span className="dim">{device.kind === 'deskphone' && device.mac ? t('setup.plugIn', { mac: formatMac(device.mac) }) : t('setup.typeIn')}</span><Button variant="light" loading={busy} onClick={() => void show()}>{t('setup.showCredentials')}</Button></div>
        )}
      </div>
    </section>
  );
}

/** Where desk phones find their configuration; made on request. */
function ProvisioningHint() {
  const provisioning = useProvisioning();
  const [busy, setBusy] = useState(false);
  const p = provisioning.data;
  if (!p) return null;
  const reveal = async () => (await ok(api.GET('/accounts/{account}/provisioning', { params: { path: inAccount, query: { reveal: true } } }))).url ?? '';
  const generate = async () => {
    setBusy(true);
    try {
      await ok(api.POST('/accounts/{account}/provisioning/rotate', { params: { path: inAccount } }));
      await cache.invalidateQueries({ queryKey: keys.provisioning });
    } catch (e) {
      toast({ title: t('toast.error'), message: words(e), bad: true });
    } finally {
      setBusy(false);
    }
  };
  return (
    <section className="card" aria-label={t('provisioning.card')}>
      <div className="card-body stack">
        <div className="row apart wrap"><span className="grow"><b>{t('setup.deskAddress')}</b> <span className="dim">{t('setup.deskAddressWhat')}</span></span>{!p.token_set && <Button variant="light" size="compact-md" loading={busy} onClick={() => void generate()}>{t('provisioning.generate')}</Button>}</div>
        {p.token_set && <div className="values"><Value name={t('provisioning.url')} value="" secret reveal={reveal} /></div>}
      </div>
    </section>
  );
}

function FirstCall({ onBack, onFinish }: { onBack: () => void; onFinish: () => void }) {
  const users = useUsers();
  const devices = useDevices();
  const calls = useLive((s) => s.calls);
  const [answered, setAnswered] = useState(false);
  const [late, setLate] = useState(false);
  const call = [...calls.values()].sort((a, b) => b.started_at.localeCompare(a.started_at))[0];
  const talking = call && call.answered_at;
  useEffect(() => {
    if (talking) setAnswered(true);
  }, [talking]);
  useEffect(() => {
    const timer = setTimeout(() => setLate(read().calls.size === 0), 30_000);
    return () => clearTimeout(timer);
  }, []);
  const withPhone = (users.data ?? []).filter((u) => u.extension && u.devices.length > 0).sort((x, y) => x.extension!.localeCompare(y.extension!));
  const [a, b] = withPhone;
  const on = withPhone.filter((u) => u.online);
  const anyDevice = (devices.data ?? []).some((d) => d.lines.length > 0);
  const trouble = !anyDevice ? t('setup.why.noDevice') : on.length === 0 ? t('setup.why.noneOn') : on.length === 1 ? t('setup.why.oneOn', { name: withPhone.find((u) => !u.online)?.name ?? '' }) : t('setup.why.dial');
  const phase = !call ? 0 : call.answered_at ? 3 : call.state === 'ringing' ? 2 : 1;
  return (
    <Step
      title={t('setup.call')}
      lead={a && b ? <T k="setup.callLead" v={{ extension: <b>{b.extension}</b>, name: <bdi>{a.name}</bdi> }} /> : t('setup.callAny')}
      foot={<><Button variant="default" size="md" onClick={onBack}>{t('setup.back')}</Button><span className="grow" /><Button size="md" variant={answered ? 'filled' : 'default'} onClick={onFinish}>{t(answered ? 'setup.finish' : 'setup.finishLater')}</Button></>}
    >
      <section className="card card-body stage" aria-label={t('setup.picture')} aria-live="polite">
        <div className="stage-line">
          <div className="stage-end"><span className={`handset${phase ? ' lit' : ''}`} aria-hidden><IconPhone size={24} /></span> <b><bdi>{call ? partyName(call.caller) : (a?.name ?? t('setup.phoneA'))}</bdi></b><span className="dim">{call?.caller.extension || a?.extension}</span></div>
          <svg className={`stage-wire p${phase}`} viewBox="0 0 240 40" preserveAspectRatio="none" aria-hidden><path d="M4 20H236" /></svg>
          <div className="stage-end"><span className={`handset${phase === 3 ? ' lit' : phase === 2 ? ' ring' : ''}`} aria-hidden><IconPhone size={24} /></span> <b><bdi>{call ? partyName(call.callee, call.dialed) : (b?.name ?? t('setup.phoneB'))}</bdi></b><span className="dim">{call?.callee.extension || (call ? call.dialed : b?.extension)}</span></div>
        </div>
        <p className="stage-word">
          {phase === 0 ? (answered ? t('setup.itWorks') : t('setup.listening')) : phase === 1 ? t('setup.invite') : phase === 2 ? t('setup.ringing') : <T k="setup.talking" v={{ time: <Running since={call!.answered_at!} /> }} />}
        </p>
      </section>
      <div className="stack" style={{ marginTop: 16 }}>
        {answered && <Note tone="ok">{t('setup.success')}</Note>}
        {late && !answered && !call && <Note tone="warn">{trouble}</Note>}
        <p className="dim">{t('setup.echo')}</p>
      </div>
    </Step>
  );
}
