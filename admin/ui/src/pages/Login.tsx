import { Button, PasswordInput, TextInput } from '@mantine/core';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { type Session, api } from '../api/client';
import { Problem, isProblem, ok, words } from '../api/problem';
import { t } from '../i18n/t';
import { Mark } from '../ui/Mark';
import { Note, useTitle } from '../ui/bits';

/** The eye of a password field, reachable by keyboard and saying whether it is on. */
export function passwordEye(visible: boolean) {
  return { 'aria-label': visible ? t('password.hide') : t('password.show'), 'aria-pressed': visible, tabIndex: 0 } as const;
}

export function SecretInput(props: Omit<Parameters<typeof PasswordInput>[0], 'visible' | 'onVisibilityChange' | 'visibilityToggleButtonProps'>) {
  const [visible, setVisible] = useState(false);
  return <PasswordInput {...props} visible={visible} onVisibilityChange={setVisible} visibilityToggleButtonProps={{ ...passwordEye(visible), 'aria-hidden': false }} />;
}

export function SignInForm({ onDone }: { onDone: (s: Session) => void }) {
  const [login, setLogin] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const [wait, setWait] = useState(0);
  const first = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (wait <= 0) return;
    const timer = setTimeout(() => setWait(wait - 1), 1000);
    return () => clearTimeout(timer);
  }, [wait]);

  const submit = async (e: FormEvent) => {
    e.preventDefault();
    if (busy || wait > 0) return;
    if (!login.trim() || !password) {
      setProblem(t('login.missing'));
      return;
    }
    setBusy(true);
    setProblem('');
    try {
      onDone(await ok(api.POST('/session', { body: { login: login.trim(), password } })));
    } catch (err) {
      if (isProblem(err, 429)) setWait(err.retryAfter || 5);
      else setProblem(isProblem(err, 401) || (err instanceof Problem && err.status === 422) ? t('login.wrong') : words(err));
      setPassword('');
      first.current?.focus();
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={submit} noValidate>
      {wait > 0 ? <Note tone="warn"><span aria-live="polite">{t('login.slow', { count: wait })}</span></Note> : problem && <Note tone="bad">{problem}</Note>}
      <TextInput ref={first} label={t('login.login')} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} size="md" value={login} onChange={(e) => setLogin(e.currentTarget.value)} data-autofocus autoFocus />
      <SecretInput label={t('login.password')} name="password" autoComplete="current-password" size="md" value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
      <Button type="submit" size="md" loading={busy} disabled={wait > 0} fullWidth mt={4}>{t('login.signIn')}</Button>
    </form>
  );
}

export function Login({ onDone }: { onDone: (s: Session) => void }) {
  useTitle(t('login.signIn'));
  const [forgot, setForgot] = useState(false);
  return (
    <main className="door" id="content">
      <svg className="door-lines" viewBox="0 0 1200 700" preserveAspectRatio="xMidYMid slice" fill="none" strokeWidth="3" aria-hidden>
        <path d="M-20 350H260c120 0 110-190 240-190h720M260 350c120 0 110 190 240 190h720M500 160c90 0 90-90 180-90h540M500 540c90 0 90 90 180 90h540" />
        <g className="stops"><circle cx="260" cy="350" r="8" /><circle cx="500" cy="160" r="8" /><circle cx="500" cy="540" r="8" /><circle cx="940" cy="70" r="8" /><circle cx="1010" cy="540" r="8" /></g>
        <circle className="lit" cx="940" cy="160" r="10" />
      </svg>
      <div className="door-card">
        <span className="door-mark"><Mark /></span>
        <h1>{t('login.title')}</h1>
        <SignInForm onDone={onDone} />
        <button type="button" className="as-link" aria-expanded={forgot} onClick={() => setForgot(!forgot)}>{t('login.forgot')}</button>
        {forgot && <Note>{t('login.forgotHow')}</Note>}
      </div>
    </main>
  );
}
