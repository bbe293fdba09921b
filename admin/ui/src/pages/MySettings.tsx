import { Button, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useQuery } from '@tanstack/react-query';
import { cache } from '../api/cache';
import { api } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { saveSettings, useMySettings } from '../api/queries';
import { useSession } from '../api/session';
import { useLeaveGuard } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Empty, Failed, Loading, Note, PageHead, Time } from '../ui/bits';
import { ask } from '../ui/confirm';
import { Value } from '../ui/devices';
import { ReachFields } from '../ui/reach';
import { saved, toast } from '../ui/toast';
import { SecretInput } from './Login';
import { RingFields, VoicemailFields } from './UserDetail';

export default function MySettings() {
  const settings = useMySettings();
  const { me } = useSession();
  return (
    <>
      <PageHead title={t('nav.mySettings')} docTitle={t('nav.mySettings')} />
      <div className="cards two">
        <div className="stack" style={{ gap: 16 }}>
          <Person />
          <Password />
        </div>
        <div className="stack" style={{ gap: 16 }}>
          {settings.isPending ? <Loading /> : settings.isError && !settings.data ? <Failed what={words(settings.error)} retry={() => void settings.refetch()} /> : (
            <>
              <VoicemailFields value={settings.data.voicemail} save={(voicemail) => saveSettings({ voicemail })} />
              <RingFields value={settings.data} save={saveSettings} />
              <ReachFields value={settings.data} self={me.id} save={saveSettings} />
            </>
          )}
          <Keys />
        </div>
      </div>
    </>
  );
}

function Person() {
  const { me, refresh } = useSession();
  const [name, setName] = useState<string | null>(null);
  const [username, setUsername] = useState<string | null>(null);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const dirty = (name !== null && name !== me.name) || (username !== null && username !== (me.username ?? ''));
  useLeaveGuard(dirty);
  const reset = () => {
    setName(null);
    setUsername(null);
    setErrors({});
  };
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    if (name !== null && !name.trim()) return setErrors({ name: t('users.nameRequired') });
    setBusy(true);
    try {
      await ok(api.PATCH('/me', { body: { ...(name !== null ? { name: name.trim() } : {}), ...(username !== null ? { username: username || null } : {}) } }));
      await refresh();
      reset();
      toast({ title: t('toast.saved'), message: t('me.saved') });
    } catch (err) {
      if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
      else toast({ title: t('toast.error'), message: t('me.failed'), bad: true });
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={submit} noValidate>
      <Card title={t('me.person')} foot={dirty ? <><Button variant="default" onClick={reset}>{t('action.cancel')}</Button><Button type="submit" loading={busy}>{t('me.save')}</Button></> : undefined}>
        <div className="stack" style={{ gap: 14 }}>
          <TextInput label={t('users.name')} value={name ?? me.name} onChange={(e) => setName(e.currentTarget.value)} error={errors.name} maxLength={80} autoComplete="name" />
          <TextInput label={t('users.username')} value={username ?? me.username ?? ''} onChange={(e) => setUsername(e.currentTarget.value.toLowerCase())} error={errors.username} maxLength={32} autoComplete="username" spellCheck={false} />
          <dl className="facts">
            <dt>{t('users.email')}</dt><dd>{me.email ? <bdi>{me.email}</bdi> : <span className="dim">{t('value.none')}</span>}</dd>
            <dt>{t('users.extension')}</dt><dd>{me.extension ?? <span className="dim">{t('value.none')}</span>}</dd>
            <dt>{t('users.role')}</dt><dd>{t(`role.${me.role}`)}</dd>
          </dl>
        </div>
      </Card>
    </form>
  );
}

function Password() {
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    const wrong: Record<string, string> = {};
    if (!current) wrong.current_password = t('password.currentMissing');
    if ([...next].length < 12) wrong.new_password = t('password.short');
    setErrors(wrong);
    if (Object.keys(wrong).length) return;
    setBusy(true);
    try {
      await ok(api.POST('/me/password', { body: { current_password: current, new_password: next } }));
      setCurrent('');
      setNext('');
      toast({ title: t('toast.saved'), message: t('me.passwordChanged') });
    } catch (err) {
      if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
      else setErrors({ current_password: words(err) });
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={submit} noValidate>
      <Card title={t('login.password')} foot={current || next ? <><Button variant="default" onClick={() => { setCurrent(''); setNext(''); setErrors({}); }}>{t('action.cancel')}</Button><Button type="submit" loading={busy}>{t('me.updatePassword')}</Button></> : undefined}>
        <div className="stack" style={{ gap: 14 }}>
          <SecretInput label={t('password.current')} autoComplete="current-password" value={current} onChange={(e) => setCurrent(e.currentTarget.value)} error={errors.current_password} />
          <SecretInput label={t('password.new')} description={t('password.rule')} autoComplete="new-password" value={next} onChange={(e) => setNext(e.currentTarget.value)} error={errors.new_password} />
        </div>
      </Card>
    </form>
  );
}

function Keys() {
  const list = useQuery({ queryKey: ['api-keys'], queryFn: async ({ signal }) => (await ok(api.GET('/me/api-keys', { signal }))).items });
  const [name, setName] = useState('');
  const [problem, setProblem] = useState('');
  const [made, setMade] = useState<{ name: string; key: string } | null>(null);
  const create = async (e: FormEvent) => {
    e.preventDefault();
    if (!name.trim()) return setProblem(t('users.nameRequired'));
    try {
      const k = await ok(api.POST('/me/api-keys', { body: { name: name.trim() } }));
      setMade(k);
      setName('');
      setProblem('');
      void cache.invalidateQueries({ queryKey: ['api-keys'] });
    } catch (err) {
      setProblem(words(err));
    }
  };
  return (
    <Card title={t('apiKeys.card')} flush>
      {made && (
        <div className="card-body stack">
          <Note tone="ok">{t('apiKeys.once', { name: made.name })}</Note>
          <div className="values"><Value name={t('apiKeys.one')} value={made.key} /></div>
        </div>
      )}
      {list.isPending ? <Loading rows={2} /> : list.isError ? <Failed what={words(list.error)} retry={() => void list.refetch()} /> : list.data.length === 0 ? !made && <Empty>{t('apiKeys.none')}</Empty> : (
        <ul className="list">
          {list.data.map((k) => (
            <li key={k.id}>
              <span className="grow cut"><bdi>{k.name}</bdi> <span className="dim mono">{k.prefix}…</span></span>
              <span className="dim only-wide">{k.used_at ? <T k="apiKeys.used" v={{ when: <Time at={k.used_at} />, ip: k.used_ip }} /> : t('apiKeys.unused')}</span>
              <Button
                size="compact-sm"
                variant="subtle"
                color="gray"
                aria-label={t('apiKeys.revokeNamed', { name: k.name })}
                onClick={() =>
                  ask({
                    title: t('apiKeys.revokeTitle'),
                    body: <T k="apiKeys.revokeBody" v={{ name: <b><bdi>{k.name}</bdi></b> }} />,
                    verb: t('apiKeys.revoke'),
                    run: async () => {
                      await ok(api.DELETE('/me/api-keys/{key}', { params: { path: { key: k.id } } }));
                      await cache.invalidateQueries({ queryKey: ['api-keys'] });
                      saved();
                    },
                  })
                }
              >
                {t('apiKeys.revoke')}
              </Button>
            </li>
          ))}
        </ul>
      )}
      <form className="card-foot" style={{ justifyContent: 'flex-start', alignItems: 'flex-end' }} onSubmit={create} noValidate>
        <div className="grow"><TextInput label={t('apiKeys.name')} value={name} onChange={(e) => { setName(e.currentTarget.value); setProblem(''); }} error={problem || undefined} maxLength={80} /></div>
        <Button type="submit" variant="light">{t('apiKeys.create')}</Button>
      </form>
    </Card>
  );
}
