import { Button, NumberInput, Select, Switch, TextInput } from '@mantine/core';
import { IconPlugConnected } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { autosave, cache, refusal } from '../api/cache';
import { type Trunk, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type TrunkPatch, keys, saveTrunk, useNumbers, useTrunk } from '../api/queries';
import type { components } from '../api/schema';
import { Link, navigate } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Empty, Failed, Loading, Note, PageHead, Pill, Time } from '../ui/bits';
import { ask } from '../ui/confirm';
import { ConflictNote } from '../ui/conflict';
import { useDraft } from '../ui/draft';
import { DraftCard } from '../ui/DraftCard';
import { InlineEdit } from '../ui/InlineEdit';
import { saved, toast } from '../ui/toast';
import { HostInput, PortInput, Tags, TransportSelect, TrunkState, rtt } from '../ui/trunks';
import { SecretInput } from './Login';

type Test = components['schemas']['TrunkTest'];

const save = (x: Trunk) => (patch: TrunkPatch) => saveTrunk(x.id, patch);

export default function TrunkDetail({ params }: { params: Record<string, string> }) {
  const trunk = useTrunk(params.id!);
  if (trunk.isPending) return <Loading rows={6} />;
  if (trunk.isError && !trunk.data) {
    return (
      <>
        <PageHead title={t('trunks.one')} docTitle={t('trunks.one')} back={{ to: '/trunks', label: t('nav.trunks') }} />
        <Failed what={words(trunk.error)} retry={() => void trunk.refetch()} />
      </>
    );
  }
  const x = trunk.data;
  const rename = async (name: string) => {
    try {
      await saveTrunk(x.id, { name });
      saved();
      return undefined;
    } catch (e) {
      return refusal(e, 'name');
    }
  };
  return (
    <>
      <PageHead
        docTitle={x.name}
        back={{ to: '/trunks', label: t('nav.trunks') }}
        title={<InlineEdit label={t('trunks.name')} value={x.name} save={rename} display={<h1 className="cut" title={x.name}><bdi>{x.name}</bdi></h1>} />}
        aside={<TrunkState trunk={x} />}
        actions={<Switch label={t('trunk.enabled')} checked={x.enabled} onChange={(e) => void autosave(() => saveTrunk(x.id, { enabled: e.currentTarget.checked }))} />}
      />
      <ConflictNote id={x.id} queryKey={keys.trunk(x.id)} />
      <div className="cards two">
        <div className="stack" style={{ gap: 16 }}>
          <Connection trunk={x} />
          <Identity trunk={x} />
          <Danger trunk={x} />
        </div>
        <div className="stack" style={{ gap: 16 }}>
          <Status trunk={x} />
          <TestCard trunk={x} />
          <Routing trunk={x} />
          <Numbers trunk={x} />
        </div>
      </div>
    </>
  );
}

function Status({ trunk: x }: { trunk: Trunk }) {
  const s = x.status;
  return (
    <Card title={t('trunk.status')}>
      <dl className="facts">
        <dt>{t('trunk.reason')}</dt><dd><bdi>{s.reason || t('value.none')}</bdi></dd>
        <dt>{t('trunks.since')}</dt><dd><Time at={s.since} /></dd>
        <dt>{t('trunk.target')}</dt><dd className="mono">{s.target || t('value.none')}</dd>
        <dt>{t('trunks.rtt')}</dt><dd>{rtt(s.rtt_ms)}</dd>
        <dt>{t('trunks.calls')}</dt><dd>{x.max_calls ? t('trunks.callsOf', { calls: s.calls, max: x.max_calls }) : s.calls}</dd>
        {s.next_try && x.register && <><dt>{t('trunk.nextTry')}</dt><dd><Time at={s.next_try} /></dd></>}
      </dl>
    </Card>
  );
}

function TestCard({ trunk: x }: { trunk: Trunk }) {
  const [number, setNumber] = useState('');
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<Test | null>(null);
  const [problem, setProblem] = useState('');
  const run = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setProblem('');
    setResult(null);
    try {
      setResult(await ok(api.POST('/accounts/{account}/trunks/{trunk}/test', { params: { path: { ...inAccount, trunk: x.id } }, body: number.trim() ? { number: number.trim() } : {} })));
    } catch (err) {
      setProblem(words(err));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Card title={t('trunk.test')}>
      <form className="stack" style={{ gap: 14 }} onSubmit={run} noValidate>
        <p className="dim">{t('trunk.testWhat')}</p>
        <div className="row" style={{ alignItems: 'flex-end' }}>
          <TextInput className="grow" label={t('trunk.testNumber')} value={number} onChange={(e) => setNumber(e.currentTarget.value)} maxLength={64} autoComplete="off" inputMode="tel" />
          <Button type="submit" variant="light" loading={busy} leftSection={<IconPlugConnected size={17} aria-hidden />}>{t('trunk.testRun')}</Button>
        </div>
        <div aria-live="polite" className="stack" style={{ gap: 14 }}>
          {problem && <Note tone="bad">{problem}</Note>}
          {result && <Result r={result} />}
        </div>
      </form>
    </Card>
  );
}

function Result({ r }: { r: Test }) {
  return (
    <>
      <Note tone={r.reachable ? 'ok' : 'bad'}>{r.code ? `${r.code} ` : ''}<bdi>{r.reason}</bdi>{r.rtt_ms !== null && <span className="dim"> · {rtt(r.rtt_ms)}</span>}</Note>
      {r.targets.length > 0 && (
        <ol className="stations" aria-label={t('trunk.targets')}>
          {r.targets.map((target, i) => <li key={target} className="station"><span className="mono">{target}</span>{i === 0 && <span className="dim"> {t('trunk.first')}</span>}</li>)}
        </ol>
      )}
      {r.number && (
        <dl className="facts">
          <dt>{t('trunk.e164')}</dt><dd className="mono">{r.number.e164 || t('trunk.noNumber')}</dd>
          <dt>{t('trunk.written')}</dt><dd className="mono">{r.number.written || t('value.none')}</dd>
          <dt>{t('trunk.callerSent')}</dt><dd className="mono">{r.number.caller ?? t('trunk.withheld')}</dd>
          <dt>{t('trunk.served')}</dt><dd>{r.number.served ? <Pill tone="ok">{t('value.yes')}</Pill> : <Pill tone="warn">{t('value.no')}</Pill>}</dd>
        </dl>
      )}
    </>
  );
}

function Connection({ trunk: x }: { trunk: Trunk }) {
  const form = useDraft<Trunk, TrunkPatch>(x, save(x));
  const v = form.value;
  const auth = { ...x.auth, ...(v.auth ?? {}) } as Trunk['auth'] & { password?: string };
  // Only what was changed goes out, so that a password that was not typed stays.
  const setAuth = (patch: NonNullable<TrunkPatch['auth']>) => form.set({ auth: { ...changedAuth(x, v.auth), ...patch } });
  return (
    <DraftCard title={t('trunk.connection')} form={form}>
      <HostInput label={t('trunks.host')} description={t('trunks.hostWhat')} value={v.host} onChange={(host) => form.set({ host })} error={form.errors.host} />
      <div className="pair">
        <TransportSelect value={v.transport} onChange={(transport) => form.set({ transport })} error={form.errors.transport} />
        <PortInput value={v.port} onChange={(port) => form.set({ port })} error={form.errors.port} />
      </div>
      <Switch label={t('trunk.register')} description={t(v.register ? 'trunks.byRegistrationWhat' : 'trunks.byAddressWhat')} checked={v.register} onChange={(e) => form.set({ register: e.currentTarget.checked })} />
      <div className="pair">
        <TextInput label={t('sip.username')} value={auth.username} onChange={(e) => setAuth({ username: e.currentTarget.value })} error={form.errors['auth.username']} autoComplete="off" spellCheck={false} autoCapitalize="none" maxLength={128} />
        <SecretInput label={t('sip.password')} placeholder={x.auth.has_password ? t('trunk.passwordSet') : ''} value={auth.password ?? ''} onChange={(e) => setAuth({ password: e.currentTarget.value })} error={form.errors['auth.password']} autoComplete="new-password" maxLength={128} />
      </div>
      <details>
        <summary>{t('trunk.more')}</summary>
        <div className="stack" style={{ gap: 14, marginTop: 14 }}>
          <div className="pair wrap">
            <TextInput label={t('trunk.authUsername')} description={t('trunk.authUsernameWhat')} value={auth.auth_username ?? ''} onChange={(e) => setAuth({ auth_username: e.currentTarget.value || null })} error={form.errors['auth.auth_username']} autoComplete="off" spellCheck={false} maxLength={128} />
            <HostInput label={t('trunk.fromDomain')} description={t('trunk.fromDomainWhat')} value={v.from_domain ?? ''} onChange={(d) => form.set({ from_domain: d || null })} error={form.errors.from_domain} />
          </div>
          <HostInput label={t('trunk.proxy')} description={t('trunk.proxyWhat')} value={v.outbound_proxy ?? ''} onChange={(p) => form.set({ outbound_proxy: p || null })} error={form.errors.outbound_proxy} />
          {v.register && <NumberInput label={t('trunk.expiry')} w={220} min={60} max={86400} allowDecimal={false} suffix=" s" value={v.expiry_s} onChange={(n) => form.set({ expiry_s: Number(n) })} error={form.errors.expiry_s} />}
          <Tags label={t('trunk.sources')} description={t('trunk.sourcesWhat')} value={v.sources} onChange={(sources) => form.set({ sources })} error={form.errors.sources} placeholder="192.0.2.0/24" />
          <Switch label={t('trunk.options')} description={t('trunk.optionsWhat')} checked={v.options} onChange={(e) => form.set({ options: e.currentTarget.checked })} />
          <Switch label={t('trunk.messages')} description={t('trunk.messagesWhat')} checked={v.messages} onChange={(e) => form.set({ messages: e.currentTarget.checked })} />
        </div>
      </details>
    </DraftCard>
  );
}

/** What the draft changes of the credentials, without what only mirrors the server. */
function changedAuth(x: Trunk, draft: Trunk['auth'] | TrunkPatch['auth']): NonNullable<TrunkPatch['auth']> {
  return draft && draft !== x.auth ? (draft as NonNullable<TrunkPatch['auth']>) : {};
}

function Identity({ trunk: x }: { trunk: Trunk }) {
  return (
    <Card title={t('trunk.identity')}>
      <div className="stack" style={{ gap: 14 }}>
        <Select
          label={t('trunk.format')}
          value={x.format}
          onChange={(v) => v && v !== x.format && void autosave(() => saveTrunk(x.id, { format: v as Trunk['format'] }))}
          data={(['e164', 'digits', 'national', '00'] as const).map((f) => ({ value: f, label: t(`trunk.format.${f}`) }))}
        />
        <Select
          label={t('trunk.identityHow')}
          value={x.identity}
          onChange={(v) => v && v !== x.identity && void autosave(() => saveTrunk(x.id, { identity: v as Trunk['identity'] }))}
          data={(['from', 'pai', 'rpid'] as const).map((f) => ({ value: f, label: t(`trunk.identity.${f}`) }))}
        />
        <Select
          label={t('trunk.diversion')}
          description={t('trunk.diversionWhat')}
          value={x.diversion}
          onChange={(v) => v && v !== x.diversion && void autosave(() => saveTrunk(x.id, { diversion: v as Trunk['diversion'] }))}
          data={(['none', 'diversion', 'history-info'] as const).map((f) => ({ value: f, label: t(`trunk.diversion.${f}`) }))}
        />
        <Switch label={t('trunk.trust')} description={t('trunk.trustWhat')} checked={x.trust_identity} onChange={(e) => void autosave(() => saveTrunk(x.id, { trust_identity: e.currentTarget.checked }))} />
        <Switch label={t('trunk.verstat')} description={t('trunk.verstatWhat')} checked={x.trust_verstat} onChange={(e) => void autosave(() => saveTrunk(x.id, { trust_verstat: e.currentTarget.checked }))} />
      </div>
    </Card>
  );
}

const rateText = (rates: Trunk['rates']) => rates.map((r) => `${r.prefix}=${r.per_minute / 10000}`);

/** "+49=0.015": a prefix and a price for a minute. */
function parseRates(list: string[]): Trunk['rates'] | null {
  const rates: Trunk['rates'] = [];
  for (const text of list) {
    const m = /^(\+\d{1,15})=(\d{1,6}(?:\.\d{1,4})?)$/.exec(text);
    if (!m) return null;
    rates.push({ prefix: m[1]!, per_minute: Math.round(Number(m[2]) * 10000) });
  }
  return rates;
}

function Routing({ trunk: x }: { trunk: Trunk }) {
  const form = useDraft<Trunk, TrunkPatch>(x, save(x));
  const v = form.value;
  const [rates, setRates] = useState<string[] | null>(null);
  const wrong = rates !== null && parseRates(rates) === null;
  const limit = (name: 'max_calls' | 'max_in' | 'max_out' | 'emergency_reserve') => (
    <NumberInput label={t(`trunk.${name}`)} min={0} max={name === 'emergency_reserve' ? 100 : 10000} allowDecimal={false} value={v[name]} onChange={(n) => form.set({ [name]: Number(n) })} error={form.errors[name]} />
  );
  return (
    <DraftCard title={t('trunk.routing')} form={{ ...form, cancel: () => { form.cancel(); setRates(null); }, submit: (e) => { if (wrong) e.preventDefault(); else void form.submit(e).then(() => setRates(null)); } }}>
      <Tags label={t('trunk.prefixes')} description={t('trunk.prefixesWhat')} value={v.prefixes} onChange={(prefixes) => form.set({ prefixes })} error={form.errors.prefixes} placeholder="+49" />
      <div className="pair wrap">
        <NumberInput label={t('trunks.priority')} description={t('trunk.priorityWhat')} min={0} max={1000} allowDecimal={false} value={v.priority} onChange={(n) => form.set({ priority: Number(n) })} error={form.errors.priority} />
        <Tags
          label={t('trunk.rates')}
          description={t('trunk.ratesWhat')}
          value={rates ?? rateText(v.rates)}
          onChange={(list) => {
            setRates(list);
            const parsed = parseRates(list);
            if (parsed) form.set({ rates: parsed });
          }}
          error={wrong ? t('trunk.ratesWrong') : form.errors.rates}
          placeholder="+4930=0.01"
        />
      </div>
      <div className="pair wrap">{limit('max_calls')}{limit('emergency_reserve')}{limit('max_out')}{limit('max_in')}</div>
      <Select
        label={t('trunk.codecs')}
        value={v.codecs.join(',')}
        onChange={(c) => form.set({ codecs: (c ? c.split(',') : []) as Trunk['codecs'] })}
        error={form.errors.codecs}
        data={[{ value: '', label: t('trunk.codecs.all') }, ...['PCMA,PCMU', 'PCMU,PCMA', 'PCMA', 'PCMU', 'G722,PCMA,PCMU', 'G722,PCMU,PCMA', 'opus,G722,PCMA,PCMU', 'opus,G722,PCMU,PCMA'].map((c) => ({ value: c, label: c.replace(',', ', ') }))]}
      />
      <Select
        label={t('sip.srtp')}
        description={v.srtp !== 'off' && v.transport !== 'tls' ? t('sip.srtp.open') : undefined}
        value={v.srtp}
        onChange={(x) => x && form.set({ srtp: x as Trunk['srtp'] })}
        error={form.errors.srtp}
        data={(['off', 'optional', 'required'] as const).map((x) => ({ value: x, label: t(`sip.srtp.${x}`) }))}
      />
    </DraftCard>
  );
}

function Numbers({ trunk: x }: { trunk: Trunk }) {
  const numbers = useNumbers();
  const mine = (numbers.data ?? []).filter((n) => n.trunk_id === x.id);
  return (
    <Card title={t('nav.numbers')} flush action={<Link to="/phone-numbers">{t('home.all')}</Link>}>
      {numbers.isPending ? <Loading rows={2} /> : numbers.isError ? <Failed what={words(numbers.error)} retry={() => void numbers.refetch()} /> : mine.length === 0 ? (
        <Empty action={<Button component={Link} to={`/phone-numbers?new=1&trunk=${x.id}`} variant="light">{t('numbers.add')}</Button>}>{t('trunk.noNumbers')}</Empty>
      ) : (
        <ul className="list">
          {mine.slice(0, 20).map((n) => (
            <li key={n.id}><Link className="mono" to={`/phone-numbers/${n.id}`}>{n.number}</Link><span className="grow cut dim"><bdi>{n.label}</bdi></span><span className="cut"><bdi>{n.destination_label}</bdi></span></li>
          ))}
        </ul>
      )}
      {mine.length > 20 && <p className="dim" style={{ padding: '0.5rem 1rem 0.75rem' }}>{t('home.more', { count: mine.length - 20 })}</p>}
    </Card>
  );
}

function Danger({ trunk: x }: { trunk: Trunk }) {
  const numbers = useNumbers();
  const count = (numbers.data ?? []).filter((n) => n.trunk_id === x.id).length;
  return (
    <Card title={t('user.danger')}>
      <div className="row apart wrap">
        <span className="dim grow">{t('trunk.deleteWhat')}</span>
        <Button
          color="red.8"
          variant="outline"
          className="danger"
          onClick={() =>
            ask({
              title: t('trunk.deleteTitle'),
              body: <T k="trunk.deleteBody" v={{ name: <b><bdi>{x.name}</bdi></b>, count }} />,
              verb: t('trunk.delete'),
              run: async () => {
                await ok(api.DELETE('/accounts/{account}/trunks/{trunk}', { params: { path: { ...inAccount, trunk: x.id } }, headers: ifMatch(x.version) }));
                cache.setQueryData<Trunk[]>(keys.trunks, (all) => all?.filter((y) => y.id !== x.id));
                navigate('/trunks');
                cache.removeQueries({ queryKey: keys.trunk(x.id) });
                void cache.invalidateQueries({ queryKey: keys.numbers });
                toast({ title: t('trunk.deleted'), message: x.name });
              },
            })
          }
        >
          {t('trunk.delete')}
        </Button>
      </div>
    </Card>
  );
}
