import { Modal } from '@mantine/core';
import { type ComponentType, Component, type ReactNode, Suspense, lazy, useEffect, useState } from 'react';
import { cache } from '../api/cache';
import { useSession, useSessions } from '../api/session';
import { t } from '../i18n/t';
import { Live } from '../live/Live';
import { Login, SignInForm } from '../pages/Login';
import { Confirm } from '../ui/confirm';
import { Failed, Loading, PageHead } from '../ui/bits';
import { Mark } from '../ui/Mark';
import { Toasts } from '../ui/toast';
import { Link, match, navigate, useAddress } from './router';
import { Shell } from './Shell';

type Page = ComponentType<{ params: Record<string, string> }>;

const routes: { path: string; admin?: boolean; page: Page }[] = [
  { path: '/', page: lazy(() => import('../pages/Home')) },
  { path: '/calls', page: lazy(() => import('../pages/Calls')) },
  { path: '/calls/:id', page: lazy(() => import('../pages/CallDetail')) },
  { path: '/voicemail', page: lazy(() => import('../pages/Voicemail')) },
  { path: '/users', admin: true, page: lazy(() => import('../pages/Users')) },
  { path: '/users/:id', admin: true, page: lazy(() => import('../pages/UserDetail')) },
  { path: '/devices', admin: true, page: lazy(() => import('../pages/Devices')) },
  { path: '/devices/:id', admin: true, page: lazy(() => import('../pages/DeviceDetail')) },
  { path: '/lamps', admin: true, page: lazy(() => import('../pages/Lamps')) },
  { path: '/audio-clips', admin: true, page: lazy(() => import('../pages/AudioClips')) },
  { path: '/trunks', admin: true, page: lazy(() => import('../pages/Trunks')) },
  { path: '/trunks/:id', admin: true, page: lazy(() => import('../pages/TrunkDetail')) },
  { path: '/phone-numbers', admin: true, page: lazy(() => import('../pages/PhoneNumbers')) },
  { path: '/phone-numbers/:id', admin: true, page: lazy(() => import('../pages/NumberDetail')) },
  { path: '/parking', page: lazy(() => import('../pages/Parking')) },
  { path: '/ring-groups', admin: true, page: lazy(() => import('../pages/RingGroups')) },
  { path: '/mailboxes', admin: true, page: lazy(() => import('../pages/Mailboxes')) },
  { path: '/call-flow', admin: true, page: lazy(() => import('../pages/CallFlow')) },
  { path: '/settings', admin: true, page: lazy(() => import('../pages/Settings')) },
  { path: '/my-settings', page: lazy(() => import('../pages/MySettings')) },
];
const Setup = lazy(() => import('../pages/Setup'));

function Message({ title, children }: { title: string; children: ReactNode }) {
  return (
    <>
      <PageHead title={title} docTitle={title} />
      <p className="stack">
        <span>{children}</span>
        <span><Link to="/">{t('page.home')}</Link></span>
      </p>
    </>
  );
}

/** A page that breaks takes only itself along. */
class Fence extends Component<{ children: ReactNode; at: string }, { broken: boolean }> {
  override state = { broken: false };
  static getDerivedStateFromError() {
    return { broken: true };
  }
  override componentDidUpdate(before: { at: string }) {
    if (before.at !== this.props.at && this.state.broken) this.setState({ broken: false });
  }
  override render() {
    return this.state.broken ? <Failed what={t('page.broken')} retry={() => location.reload()} /> : this.props.children;
  }
}

function Content() {
  const { path } = useAddress();
  const { admin } = useSession();
  for (const r of routes) {
    const params = match(r.path, path);
    if (!params) continue;
    if (r.admin && !admin) return <Message title={t('page.forbidden')}>{t('page.forbiddenWhy')}</Message>;
    return <Fence at={path}><Suspense fallback={<Loading />}><r.page key={path} params={params} /></Suspense></Fence>;
  }
  return <Message title={t('page.missing')}>{t('page.missingWhy')}</Message>;
}

function Signed() {
  const { phase, enter } = useSessions();
  const [closed, setClosed] = useState(0);
  const { path } = useAddress();
  const ended = phase === 'ended';
  const { signOut } = useSession();
  return (
    <>
      {phase === 'in' && <Live key={closed} onSignedOut={() => void cache.invalidateQueries()} />}
      {path === '/setup' ? <main id="content"><Suspense fallback={<Loading />}><Setup /></Suspense></main> : <Shell><Content /></Shell>}
      <Modal opened={ended} onClose={() => void signOut()} title={t('session.ended')} closeOnClickOutside={false}>
        <p className="dim" style={{ marginBottom: 16 }}>{t('session.endedWhy')}</p>
        <SignInForm onDone={(s) => { enter(s); setClosed((n) => n + 1); void cache.invalidateQueries(); }} />
      </Modal>
    </>
  );
}

export function App() {
  const { phase, session, enter } = useSessions();
  const { path, search } = useAddress();
  const here = path + (search.size ? `?${search}` : '');

  useEffect(() => {
    if (phase === 'setup' && path !== '/setup') navigate('/setup', { replace: true });
    // The address that was asked for is kept and restored after sign-in.
    if (phase === 'out' && path !== '/login') navigate(here === '/' || path === '/setup' ? '/login' : `/login?next=${encodeURIComponent(here)}`, { replace: true });
    if (phase === 'in' && path === '/login') {
      const next = search.get('next') ?? '/';
      navigate(/^\/(?![/\\])/.test(next) && !next.startsWith('/login') ? next : '/', { replace: true });
    }
  }, [phase, path, here, search]);

  let page: ReactNode = null;
  if (phase === 'asking') page = null;
  else if (phase === 'unreachable') page = <main className="door"><div className="door-card"><span className="door-mark"><Mark /></span><h1>{t('unreachable.title')}</h1><p className="dim" role="status">{t('unreachable.body')}</p></div></main>;
  else if (phase === 'setup') page = path === '/setup' ? <main id="content"><Suspense fallback={<Loading />}><Setup /></Suspense></main> : null;
  else if (phase === 'out') page = path === '/login' ? <Login onDone={enter} /> : null;
  else if (session) page = path === '/login' ? null : <Signed />;
  return (
    <>
      {page}
      <Confirm />
      <Toasts />
    </>
  );
}
