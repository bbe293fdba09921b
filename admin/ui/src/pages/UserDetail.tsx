import { Button, Modal, NumberInput, Select, Switch, Tabs } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { autosave, cache, refusal } from '../api/cache';
import { type Device, type User, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type UserPatch, keys, saveDevice, saveUser, useAccount, useDevices, useNumbers, useUser, useUsers } from '../api/queries';
import { useSession } from '../api/session';
import { Link, navigate } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Avatar, Card, Empty, Failed, Loading, Note, PageHead, Pill, Why } from '../ui/bits';
import { ask } from '../ui/confirm';
import { ConflictNote } from '../ui/conflict';
import { DeviceForm, modelName } from '../ui/devices';
import { formatMac } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { ReachFields } from '../ui/reach';
import { saved, toast } from '../ui/toast';
import { SecretInput } from './Login';

export default function UserDetail({ params }: { params: Record<string, string> }) {
  const id = params.id!;
  const user = useUser(id);
  if (user.isPending) return <Loading rows={6} />;
  if (user.isError && !user.data) {
    return (
      <>
        <PageHead title={t('users.one')} docTitle={t('users.one')} back={{ to: '/users', label: t('nav.users') }} />
        <Failed what={words(user.error)} retry={() => void user.refetch()} />
      </>
    );
  }
  return <Loaded user={user.data} />;
}

const field = (id: string, name: keyof UserPatch & string, empty?: null) => async (value: string) => {
  try {
    await saveUser(id, { [name]: value === '' && empty === null ? null : value } as UserPatch);
    saved();
    return undefined;
  } catch (e) {
    return refusal(e, name);
  }
};

function Loaded({ user }: { user: User }) {
  const { me } = useSession();
  const users = useUsers();
  const admins = (users.data ?? []).filter((u) => u.role === 'admin').length;
  const last = user.role === 'admin' && users.data !== undefined && admins <= 1;
  const on = user.devices.filter((d) => d.online).length;
  return (
    <>
      <PageHead
        docTitle={user.name}
        back={{ to: '/users', label: t('nav.users') }}
        title={
          <div className="row">
            <Avatar name={user.name} big />
            <InlineEdit label={t('users.name')} value={user.name} save={field(user.id, 'name')} display={<h1 className="cut" title={user.name}><bdi>{user.name}</bdi></h1>} />
          </div>
        }
        aside={on ? <Pill tone="ok">{t('user.phonesOn', { count: on })}</Pill> : <Pill hollow>{user.devices.length ? t('user.phonesOff') : t('user.noPhones')}</Pill>}
        actions={user.extension ? <Button component={Link} to={`/call-flow?to=${encodeURIComponent(user.extension)}`} variant="default">{t('user.flow')}</Button> : undefined}
      />
      <ConflictNote id={user.id} queryKey={keys.user(user.id)} />
      <div className="cards two">
        <div className="stack" style={{ gap: 16 }}>
          <Card title={t('user.profile')}>
            <dl className="facts middle">
              <dt>{t('users.email')}</dt>
              <dd><InlineEdit label={t('users.email')} value={user.email ?? ''} save={field(user.id, 'email', null)} inputMode="email" /></dd>
              {user.username !== null && (
                <>
                  <dt>{t('users.username')}</dt>
                  <dd><InlineEdit label={t('users.username')} value={user.username} save={field(user.id, 'username', null)} /></dd>
                </>
              )}
              <dt>{t('users.extension')}</dt>
              <dd><InlineEdit label={t('users.extension')} value={user.extension ?? ''} save={field(user.id, 'extension', null)} inputMode="numeric" width={140} /></dd>
              <dt id="role-name">{t('users.role')}</dt>
              <dd>
                <Select
                  aria-labelledby="role-name"
                  w={160}
                  value={user.role}
                  disabled={last}
                  onChange={(v) => v && v !== user.role && void autosave(() => saveUser(user.id, { role: v as User['role'] }))}
                  data={[{ value: 'member', label: t('role.member') }, { value: 'admin', label: t('role.admin') }]}
                />
                {last && <p className="dim small">{t('user.lastAdmin')}</p>}
              </dd>
            </dl>
          </Card>
          <CallerID user={user} />
          <VoicemailCard user={user} />
          <RingCard user={user} />
          <ReachFields value={user} self={user.id} save={(p) => saveUser(user.id, p)} />
        </div>
        <div className="stack" style={{ gap: 16 }}>
          <DevicesCard user={user} />
          <SignInCard user={user} />
          <Card title={t('user.danger')}>
            <div className="row apart wrap">
              <span className="dim grow">{user.id === me.id ? t('user.notYourself') : last ? t('user.lastAdminDelete') : t('user.deleteWhat')}</span>
              <Why reason={user.id === me.id ? t('user.notYourself') : last ? t('user.lastAdminDelete') : undefined}>
                <Button
                  color="red.8"
                  variant="outline"
                  className="danger"
                  disabled={user.id === me.id || last}
                  onClick={() =>
                    ask({
                      title: t('user.deleteTitle'),
                      body: <T k="user.deleteBody" v={{ name: <b><bdi>{user.name}</bdi></b>, count: user.devices.length }} />,
                      verb: t('user.delete'),
                      run: async () => {
                        await ok(api.DELETE('/accounts/{account}/users/{user}', { params: { path: { ...inAccount, user: user.id } }, headers: ifMatch(user.version) }));
                        cache.setQueryData<User[]>(keys.users, (all) => all?.filter((u) => u.id !== user.id));
                        navigate('/users');
                        cache.removeQueries({ queryKey: keys.user(user.id) });
                        void cache.invalidateQueries({ queryKey: keys.users });
                        void cache.invalidateQueries({ queryKey: keys.devices });
                        toast({ title: t('user.deleted'), message: user.name });
                      },
                    })
                  }
                >
                  {t('user.delete')}
                </Button>
              </Why>
            </div>
          </Card>
        </div>
      </div>
    </>
  );
}

function CallerID({ user }: { user: User }) {
  const numbers = useNumbers();
  const account = useAccount();
  const standard = numbers.data?.find((n) => n.id === account.data?.default_outbound_number_id);
  return (
    <Card title={t('callerId.card')}>
      <Select
        label={t('callerId.card')}
        description={t('callerId.what')}
        value={user.outbound_number_id ?? ''}
        onChange={(v) => v !== (user.outbound_number_id ?? '') && void autosave(() => saveUser(user.id, { outbound_number_id: v || null }))}
        data={[{ value: '', label: standard ? t('callerId.default', { number: standard.number }) : t('callerId.defaultNone') }, ...(numbers.data ?? []).filter((n) => n.status === 'active').map((n) => ({ value: n.id, label: n.label ? t('callerId.labelled', { number: n.number, label: n.label }) : n.number }))]}
      />
      {numbers.data?.length === 0 && <div className="row wrap" style={{ marginTop: 8 }}><span className="dim small">{t('callerId.none')}</span><Button component={Link} to="/phone-numbers?new=1" variant="subtle" size="compact-sm">{t('numbers.add')}</Button></div>}
    </Card>
  );
}

function VoicemailCard({ user }: { user: User }) {
  return (
    <VoicemailFields
      value={user.voicemail}
      save={(voicemail) => saveUser(user.id, { voicemail })}
    />
  );
}

/** The mailbox of a user, for the user's page and for one's own settings. */
export function VoicemailFields({ value, save }: { value: User['voicemail']; save: (v: { enabled?: boolean; pin?: string }) => Promise<unknown> }) {
  const [pin, setPin] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const set = async (e: FormEvent) => {
    e.preventDefault();
    if (!/^\d{4,10}$/.test(pin)) return setProblem(t('pin.wrong'));
    setBusy(true);
    setProblem('');
    try {
      await save({ pin });
      setPin('');
      saved();
    } catch (err) {
      setProblem(refusal(err, 'voicemail.pin'));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Card title={t('voicemail.card')}>
      <div className="stack" style={{ gap: 16 }}>
        <Switch label={t('voicemail.enabled')} description={t('voicemail.enabledWhat')} checked={value.enabled} onChange={(e) => { const enabled = e.currentTarget.checked; void autosave(() => save({ enabled })); }} />
        <form onSubmit={set} noValidate>
          <div className="row wrap" style={{ alignItems: 'flex-end' }}>
            <SecretInput
              label={t('pin.label')}
              w={220}
              inputMode="numeric"
              autoComplete="off"
              maxLength={10}
              placeholder={value.has_pin ? t('pin.set') : t('pin.none')}
              value={pin}
              onChange={(e) => { setPin(e.currentTarget.value.replace(/\D/g, '')); setProblem(''); }}
              error={problem || undefined}
            />
            <span className="row" style={{ gap: 6 }}>
              {pin && <Button type="submit" loading={busy}>{t('action.save')}</Button>}
              {pin && <Button variant="default" onClick={() => { setPin(''); setProblem(''); }}>{t('action.cancel')}</Button>}
              {!pin && value.has_pin && <Button variant="default" onClick={() => void autosave(() => save({ pin: '' }))}>{t('pin.remove')}</Button>}
            </span>
          </div>
          <p className="dim small">{value.has_pin ? t('pin.hintSet') : t('pin.hintNone')}</p>
        </form>
      </div>
    </Card>
  );
}

function RingCard({ user }: { user: User }) {
  return <RingFields value={user} save={(p) => saveUser(user.id, p)} />;
}

export function RingFields({ value, save }: { value: { do_not_disturb: boolean; ring_timeout_s: number }; save: (p: { do_not_disturb?: boolean; ring_timeout_s?: number }) => Promise<unknown> }) {
  const [draft, setDraft] = useState<number | string | null>(null);
  const [problem, setProblem] = useState('');
  const commit = async () => {
    if (draft === null) return;
    const n = Number(draft);
    if (!Number.isInteger(n) || n < 5 || n > 300) return setProblem(t('ring.wrong'));
    setProblem('');
    if (n === value.ring_timeout_s || (await autosave(() => save({ ring_timeout_s: n })))) setDraft(null);
  };
  return (
    <Card title={t('ring.card')}>
      <div className="stack" style={{ gap: 16 }}>
        <Switch label={t('ring.dnd')} description={t('ring.dndWhat')} checked={value.do_not_disturb} onChange={(e) => { const on = e.currentTarget.checked; void autosave(() => save({ do_not_disturb: on })); }} />
        <NumberInput
          label={t('ring.time')}
          description={t('ring.timeWhat')}
          suffix={t('ring.seconds')}
          w={220}
          min={5}
          max={300}
          clampBehavior="none"
          allowDecimal={false}
          hideControls
          value={draft ?? value.ring_timeout_s}
          error={problem || undefined}
          onChange={setDraft}
          onBlur={() => void commit()}
          onKeyDown={(e) => {
            if (e.key === 'Enter') void commit();
            if (e.key === 'Escape') { setDraft(null); setProblem(''); }
          }}
        />
      </div>
    </Card>
  );
}

function SignInCard({ user }: { user: User }) {
  const [open, setOpen] = useState(false);
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const send = async (e: FormEvent) => {
    e.preventDefault();
    if ([...password].length < 12) return setProblem(t('password.short'));
    setBusy(true);
    try {
      await saveUser(user.id, { password });
      toast({ title: t('toast.saved'), message: t('user.passwordSet') });
      setPassword('');
      setOpen(false);
    } catch (err) {
      setProblem(refusal(err, 'password'));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Card title={t('user.signIn')}>
      <div className="stack">
        <p className="dim">{user.has_password ? t('user.canSignIn') : t('user.cannotSignIn')}</p>
        {open ? (
          <form className="stack" onSubmit={send} noValidate>
            <SecretInput label={t('password.new')} autoComplete="new-password" autoFocus value={password} onChange={(e) => { setPassword(e.currentTarget.value); setProblem(''); }} error={problem || undefined} description={t('password.rule')} />
            <div className="row"><Button type="submit" loading={busy}>{t('action.save')}</Button><Button variant="default" onClick={() => { setOpen(false); setPassword(''); setProblem(''); }}>{t('action.cancel')}</Button></div>
          </form>
        ) : <div><Button variant="default" onClick={() => setOpen(true)}>{t(user.has_password ? 'user.resetPassword' : 'user.setPassword')}</Button></div>}
      </div>
    </Card>
  );
}

function DevicesCard({ user }: { user: User }) {
  const [assigning, setAssigning] = useState(false);
  const unassign = (id: string) =>
    autosave(async () => {
      const device = await ok(api.GET('/accounts/{account}/devices/{device}', { params: { path: { ...inAccount, device: id } } }));
      await saveDevice(id, { user_ids: device.user_ids.filter((u) => u !== user.id) });
    });
  return (
    <Card title={t('users.devices')} flush action={<Button size="compact-md" variant="light" onClick={() => setAssigning(true)}>{t('users.assign')}</Button>}>
      {user.devices.length === 0 ? <Empty>{t('user.noDevices')}</Empty> : (
        <ul className="list">
          {user.devices.map((d) => (
            <li key={d.id}>
              <span className="grow cut">
                <Link to={`/devices/${d.id}`}><bdi>{d.name}</bdi></Link> <span className="dim">{modelName(d)}</span>
              </span>
              {d.online ? <Pill tone="ok">{t('device.registered')}</Pill> : <Pill hollow>{t('device.notRegistered')}</Pill>}
              <Button
                size="compact-sm"
                variant="subtle"
                color="gray"
                aria-label={t('user.unassignNamed', { name: d.name })}
                onClick={() => ask({ title: t('user.unassignTitle'), body: <T k="user.unassignBody" v={{ device: <b><bdi>{d.name}</bdi></b>, name: <bdi>{user.name}</bdi> }} />, verb: t('user.unassign'), run: async () => void (await unassign(d.id)) })}
              >
                {t('user.unassign')}
              </Button>
            </li>
          ))}
        </ul>
      )}
      <Modal opened={assigning} onClose={() => setAssigning(false)} title={t('users.assign')} size="lg">
        <Assign user={user} onDone={() => setAssigning(false)} />
      </Modal>
    </Card>
  );
}

function Assign({ user, onDone }: { user: User; onDone: () => void }) {
  return (
    <Tabs defaultValue="existing" keepMounted={false}>
      <Tabs.List mb="md" aria-label={t('users.assign')}>
        <Tabs.Tab value="existing">{t('assign.existing')}</Tabs.Tab>
        <Tabs.Tab value="new">{t('assign.new')}</Tabs.Tab>
      </Tabs.List>
      <Tabs.Panel value="existing"><Existing user={user} onDone={onDone} /></Tabs.Panel>
      <Tabs.Panel value="new">
        <DeviceForm kinds={['deskphone']} user={user} submit={t('assign.create')} onDone={(d) => { toast({ title: t('assign.done'), message: d.name }); onDone(); }} />
      </Tabs.Panel>
    </Tabs>
  );
}

function Existing({ user, onDone }: { user: User; onDone: () => void }) {
  const devices = useDevices();
  const [id, setId] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const free = (devices.data ?? []).filter((d) => d.kind !== 'dect_base' && !d.user_ids.includes(user.id));
  const chosen = free.find((d) => d.id === id);
  const owner = chosen?.lines.map((l) => l.user_name).join(', ');
  const describe = (d: Device) => [d.name, modelName(d), d.mac && formatMac(d.mac), d.lines.length ? t('assign.ownedBy', { name: d.lines.map((l) => l.user_name).join(', ') }) : t('devices.unassigned')].filter(Boolean).join(' · ');
  const take = async () => {
    if (!chosen) return;
    setBusy(true);
    setProblem('');
    try {
      await saveDevice(chosen.id, { user_ids: [user.id] });
      toast({ title: t('assign.done'), message: chosen.name });
      onDone();
    } catch (e) {
      setProblem(refusal(e, 'user_ids'));
    } finally {
      setBusy(false);
    }
  };
  if (devices.isPending) return <Loading rows={2} />;
  if (!free.length) return <Empty>{t('assign.noneFree')}</Empty>;
  return (
    <div className="stack" style={{ gap: 14 }}>
      {problem && <Note tone="bad">{problem}</Note>}
      <Select label={t('assign.device')} searchable data-autofocus placeholder={t('action.search')} nothingFoundMessage={t('palette.none')} value={id} onChange={setId} data={free.map((d) => ({ value: d.id, label: describe(d) }))} />
      {chosen && owner && <Note tone="warn">{t('assign.reassign', { name: owner })}</Note>}
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button disabled={!chosen} loading={busy} onClick={() => void take()}>{t(owner ? 'assign.takeOver' : 'assign.assign')}</Button></div>
    </div>
  );
}
