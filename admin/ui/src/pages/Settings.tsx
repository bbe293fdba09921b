import { Button, MultiSelect, NumberInput, Select, Switch, Tabs, TextInput, Textarea } from '@mantine/core';
import { Fragment, Suspense, lazy, useMemo } from 'react';
import { autosave, cache, refusal } from '../api/cache';
import { type Account, api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type AccountPatch, keys, saveAccount, useAccount, useDevices, useFeatureCodes, useNumbers, useProvisioning } from '../api/queries';
import { useSession } from '../api/session';
import { Link, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Failed, Loading, PageHead } from '../ui/bits';
import { ask } from '../ui/confirm';
import { ClipSelect } from '../ui/clips';
import { ConflictNote } from '../ui/conflict';
import { Value } from '../ui/devices';
import { useDraft } from '../ui/draft';
import { DraftCard } from '../ui/DraftCard';
import { InlineEdit } from '../ui/InlineEdit';
import { saved, toast } from '../ui/toast';
import { countryNames } from '../ui/countries';
import { zones } from '../ui/zones';

const ActivityTab = lazy(() => import('./Activity'));
const SecurityTab = lazy(() => import('./Security'));
const tabs = ['general', 'telephony', 'devices', 'security', 'activity'] as const;

export default function Settings() {
  const [asked, setTab] = useQueryParam('tab', { push: true });
  const tab = tabs.find((x) => x === asked) ?? 'general';
  return (
    <>
      <PageHead title={t('nav.settings')} docTitle={t('settings.title', { tab: t(`settings.${tab}`) })} />
      <Tabs value={tab} onChange={(v) => setTab(v ?? '')} keepMounted={false}>
        <Tabs.List mb="lg" aria-label={t('nav.settings')}>
          {tabs.map((x) => <Tabs.Tab key={x} value={x}>{t(`settings.${x}`)}</Tabs.Tab>)}
        </Tabs.List>
        <Tabs.Panel value="general"><WithAccount>{(a) => <General account={a} />}</WithAccount></Tabs.Panel>
        <Tabs.Panel value="telephony"><WithAccount>{(a) => <Telephony account={a} />}</WithAccount></Tabs.Panel>
        <Tabs.Panel value="devices"><Provisioning /></Tabs.Panel>
        <Tabs.Panel value="security"><WithAccount wide>{(a) => <Suspense fallback={<Loading />}><SecurityTab account={a} /></Suspense>}</WithAccount></Tabs.Panel>
        <Tabs.Panel value="activity"><Suspense fallback={<Loading />}><ActivityTab /></Suspense></Tabs.Panel>
      </Tabs>
    </>
  );
}

function WithAccount({ children, wide }: { children: (a: Account) => React.ReactNode; wide?: boolean }) {
  const account = useAccount();
  if (account.isPending) return <Loading />;
  if (account.isError && !account.data) return <Failed what={words(account.error)} retry={() => void account.refetch()} />;
  return <div style={{ maxWidth: wide ? '64rem' : '44rem' }}><ConflictNote id={account.data.id} queryKey={keys.account} /><div className="stack" style={{ gap: 16 }}>{children(account.data)}</div></div>;
}

function useAccountDraft(account: Account) {
  const { refresh } = useSession();
  return useDraft<Account, AccountPatch>(account, (patch) => saveAccount(account.id, patch).then(() => refresh()));
}

function General({ account }: { account: Account }) {
  const { refresh } = useSession();
  const countries = useMemo(() => countryNames(), []);
  const form = useAccountDraft(account);
  return (
    <>
      <DraftCard title={t('settings.account')} form={form}>
        <TextInput label={t('users.name')} value={form.value.name} onChange={(e) => form.set({ name: e.currentTarget.value })} error={form.errors.name} maxLength={80} />
        <TextInput label={t('users.email')} type="email" value={form.value.email ?? ''} onChange={(e) => form.set({ email: e.currentTarget.value })} error={form.errors.email} />
        <Textarea label={t('settings.billing')} autosize minRows={2} maxRows={5} value={form.value.billing_address ?? ''} onChange={(e) => form.set({ billing_address: e.currentTarget.value })} error={form.errors.billing_address} maxLength={500} />
      </DraftCard>
      <Card title={t('settings.region')}>
        <Select
          label={t('settings.country')}
          description={t('settings.countryWhat')}
          searchable
          nothingFoundMessage={t('palette.none')}
          mb="md"
          value={account.country}
          data={countries}
          onChange={(v) => v && v !== account.country && void autosave(() => saveAccount(account.id, { country: v }))}
        />
        <Select
          label={t('settings.timezone')}
          description={t('settings.timezoneWhat')}
          searchable
          nothingFoundMessage={t('palette.none')}
          value={account.timezone}
          data={zones(account.timezone)}
          limit={100}
          onChange={(v) => v && v !== account.timezone && void autosave(() => saveAccount(account.id, { timezone: v })).then((done) => { if (done) void refresh(); })}
        />
      </Card>
    </>
  );
}

function Telephony({ account }: { account: Account }) {
  return (
    <>
      <Extensions account={account} />
      <Inside account={account} />
      <Outside account={account} />
      <HoldMusic account={account} />
      <Recording account={account} />
      <Codes account={account} />
    </>
  );
}

/** What those hear who wait. */
function HoldMusic({ account }: { account: Account }) {
  return (
    <Card title={t('settings.holdMusic')} action={<Link to="/audio-clips">{t('nav.clips')}</Link>}>
      <ClipSelect
        label={t('settings.holdMusic')}
        description={t('settings.holdMusicWhat')}
        value={account.hold_music_clip_id}
        none={t('clips.builtIn')}
        save={(id) => saveAccount(account.id, { hold_music_clip_id: id })}
      />
    </Card>
  );
}

const directions = ['internal', 'inbound', 'outbound'] as const;

/** Which calls are recorded, what people hear of it, and how long recordings stay. */
function Recording({ account }: { account: Account }) {
  const form = useAccountDraft(account);
  const policy = form.value.recording;
  const set = (change: Partial<Account['recording']>) => form.set({ recording: { ...policy, ...change } });
  return (
    <DraftCard title={t('settings.recording')} form={form}>
      <Switch label={t('settings.recordCalls')} description={t('settings.recordCallsWhat')} checked={form.value.recording_enabled} onChange={(e) => form.set({ recording_enabled: e.currentTarget.checked })} />
      <MultiSelect label={t('settings.recordWhich')} clearable={false} value={policy.directions} onChange={(v) => v.length && set({ directions: directions.filter((d) => v.includes(d)) })} data={directions.map((d) => ({ value: d, label: t(`direction.${d}`) }))} error={form.errors['recording.directions']} />
      <Select label={t('settings.notice')} description={t('settings.noticeWhat')} allowDeselect={false} value={policy.notice} onChange={(v) => v && set({ notice: v as typeof policy.notice })} data={(['none', 'tone', 'announcement'] as const).map((n) => ({ value: n, label: t(`recording.notice.${n}`) }))} />
      <Switch label={t('settings.recordEmergency')} checked={policy.emergency} onChange={(e) => set({ emergency: e.currentTarget.checked })} />
      <div className="pair">
        <NumberInput label={t('settings.retention')} description={t('settings.retentionWhat')} min={0} max={3650} allowDecimal={false} value={policy.retention_days} onChange={(v) => set({ retention_days: Number(v) })} error={form.errors['recording.retention_days']} />
        <NumberInput label={t('settings.quota')} description={t('settings.quotaWhat')} min={0} allowDecimal={false} value={policy.quota_mb} onChange={(v) => set({ quota_mb: Number(v) })} error={form.errors['recording.quota_mb']} />
      </div>
    </DraftCard>
  );
}

/** What calls to the outside show, and where they may go. */
function Outside({ account }: { account: Account }) {
  const numbers = useNumbers();
  const countries = useMemo(() => countryNames(), []);
  const own = countries.find((c) => c.value === account.country)?.label ?? account.country;
  return (
    <Card title={t('settings.outside')}>
      <div className="stack" style={{ gap: 14 }}>
        <Select
          label={t('settings.outbound')}
          description={t('settings.outboundWhat')}
          value={account.default_outbound_number_id ?? ''}
          onChange={(v) => v !== (account.default_outbound_number_id ?? '') && void autosave(() => saveAccount(account.id, { default_outbound_number_id: v || null }))}
          data={[{ value: '', label: t('settings.outboundNone') }, ...(numbers.data ?? []).filter((n) => n.status === 'active').map((n) => ({ value: n.id, label: n.label ? t('callerId.labelled', { number: n.number, label: n.label }) : n.number }))]}
        />
        <MultiSelect
          label={t('settings.countries')}
          description={t('settings.countriesWhat', { country: own })}
          searchable
          clearable={false}
          limit={40}
          nothingFoundMessage={t('palette.none')}
          value={account.outbound_countries}
          onChange={(list) => void autosave(() => saveAccount(account.id, { outbound_countries: list.at(-1) === '*' ? ['*'] : list.filter((c) => c !== '*') }))}
          data={[{ value: '*', label: t('settings.countriesAll') }, ...countries.filter((c) => c.value !== account.country)]}
        />
      </div>
    </Card>
  );
}

/** Parking, and how long messages are kept. */
function Inside({ account }: { account: Account }) {
  const form = useAccountDraft(account);
  return (
    <DraftCard title={t('settings.callsInside')} form={form}>
      <div className="grid2">
        <NumberInput label={t('settings.parkingTimeout')} description={t('settings.parkingTimeoutWhat')} suffix={t('ring.seconds')} min={10} max={3600} clampBehavior="none" allowDecimal={false} hideControls value={form.value.parking_timeout_s} onChange={(v) => form.set({ parking_timeout_s: Number(v) })} error={form.errors.parking_timeout_s} />
        <NumberInput label={t('settings.voicemailDays')} description={t('settings.voicemailDaysWhat')} min={0} max={3650} clampBehavior="none" allowDecimal={false} hideControls value={form.value.voicemail_days} onChange={(v) => form.set({ voicemail_days: Number(v) })} error={form.errors.voicemail_days} />
        <NumberInput label={t('settings.voicemailMax')} description={t('settings.voicemailMaxWhat')} min={0} max={1000} clampBehavior="none" allowDecimal={false} hideControls value={form.value.voicemail_max} onChange={(v) => form.set({ voicemail_max: Number(v) })} error={form.errors.voicemail_max} />
      </div>
    </DraftCard>
  );
}

/** What people dial to ask the house for something; each number can be changed. */
function Codes({ account }: { account: Account }) {
  const codes = useFeatureCodes();
  const save = (key: string, standard: string) => async (number: string) => {
    try {
      await saveAccount(account.id, { feature_codes: { [key]: number === '' || number === standard ? null : number } } as AccountPatch);
      void cache.invalidateQueries({ queryKey: keys.codes });
      saved();
      return undefined;
    } catch (e) {
      return refusal(e, `feature_codes.${key}`);
    }
  };
  return (
    <Card title={t('settings.codes')}>
      <p className="dim">{t('settings.codesWhat')}</p>
      {codes.isPending ? <Loading rows={3} /> : codes.isError && !codes.data ? <Failed what={words(codes.error)} retry={() => void codes.refetch()} /> : (
        <dl className="facts middle" style={{ marginTop: 12 }}>
          {codes.data.map((c) => (
            <Fragment key={c.key}>
              <dt>{c.name}{c.in_call && <small className="dim"> {t('settings.codeInCall')}</small>}</dt>
              <dd><InlineEdit label={t('settings.codeChange', { name: c.name })} value={c.number} save={save(c.key, c.default)} width={140} /></dd>
            </Fragment>
          ))}
        </dl>
      )}
    </Card>
  );
}

function Extensions({ account }: { account: Account }) {
  const form = useAccountDraft(account);
  return (
    <DraftCard title={t('settings.extensions')} form={form}>
      <NumberInput
        label={t('settings.extensionLength')}
        description={t('settings.extensionLengthWhat')}
        w={260}
        min={3}
        max={6}
        allowDecimal={false}
        value={form.value.extension_length}
        onChange={(v) => form.set({ extension_length: Number(v) })}
        error={form.errors.extension_length}
      />
    </DraftCard>
  );
}

function Provisioning() {
  const provisioning = useProvisioning();
  const devices = useDevices();
  const reveal = async () => ok(api.GET('/accounts/{account}/provisioning', { params: { path: inAccount, query: { reveal: true } } }));
  const generate = async () => {
    await ok(api.POST('/accounts/{account}/provisioning/rotate', { params: { path: inAccount } }));
    await cache.invalidateQueries({ queryKey: keys.provisioning });
  };
  const rotate = async () => {
    await generate();
    toast({ title: t('provisioning.rotated') });
  };
  if (provisioning.isPending) return <Loading rows={3} />;
  if (provisioning.isError && !provisioning.data) return <Failed what={words(provisioning.error)} retry={() => void provisioning.refetch()} />;
  const p = provisioning.data;
  const phones = (devices.data ?? []).filter((d) => d.kind === 'deskphone' || d.kind === 'dect_base').length;
  return (
    <div style={{ maxWidth: '52rem' }}>
      <Card
        title={t('provisioning.card')}
        action={
          p.token_set ? (
            <Button
              size="compact-md"
              variant="default"
              onClick={() => ask({ title: t('provisioning.rotateTitle'), body: <T k="provisioning.rotateBody" v={{ count: phones }} />, verb: t('provisioning.rotate'), run: rotate })}
            >
              {t('provisioning.rotate')}
            </Button>
          ) : <Button size="compact-md" onClick={() => void autosave(generate)}>{t('provisioning.generate')}</Button>
        }
      >
        <div className="stack" style={{ gap: 14 }}>
          <p className="dim">{t('provisioning.what')}</p>
          {p.token_set && (
            <div className="values">
              <Value key={`u${provisioning.dataUpdatedAt}`} name={t('provisioning.url')} value="" secret reveal={async () => (await reveal()).url ?? ''} />
              <Value key={`t${provisioning.dataUpdatedAt}`} name={t('provisioning.token')} value="" secret reveal={async () => ((await reveal()).url ?? '').replace(/\/+$/, '').split('/').pop() ?? ''} />
              {p.phone_admin_password_set && <Value key={`p${provisioning.dataUpdatedAt}`} name={t('provisioning.password')} value="" secret reveal={async () => (await reveal()).phone_admin_password ?? ''} />}
            </div>
          )}
        </div>
      </Card>
    </div>
  );
}
