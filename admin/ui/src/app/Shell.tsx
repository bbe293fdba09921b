import { ActionIcon, Drawer, Menu, Tooltip } from '@mantine/core';
import { IconBuildingBroadcastTower, IconBulb, IconDeviceMobile, IconHash, IconMailbox, IconParking, IconUsersGroup, IconHome, IconKeyboard, IconLogout, IconMenu2, IconPhone, IconPhoneCall, IconRecordMail, IconRoute, IconSearch, IconSettings, IconSunMoon, IconUserCircle, IconUsers, IconMusic } from '@tabler/icons-react';
import { type ReactNode, Suspense, lazy, useEffect, useRef, useState } from 'react';
import { useSession } from '../api/session';
import { t } from '../i18n/t';
import { useLive } from '../live/store';
import { useNewVoicemail, useParking } from '../api/queries';
import { Mark } from '../ui/Mark';
import { type Mode, useMode } from './mode';
import { Link, useAddress } from './router';
import { useShortcuts } from './shortcuts';

const Palette = lazy(() => import('./Palette'));
const KeyHelp = lazy(() => import('./KeyHelp'));

interface Stop {
  to: string;
  name: string;
  icon: typeof IconHome;
  admin?: boolean;
  count?: number;
}

function useStops(): { group?: string; stops: Stop[] }[] {
  const { admin } = useSession();
  const fresh = useNewVoicemail();
  const parked = useParking().data?.items.length ?? 0;
  const calls = useLive((s) => s.calls.size);
  const all: { group?: string; stops: Stop[] }[] = [
    { stops: [{ to: '/', name: t('nav.home'), icon: IconHome }] },
    { group: t('nav.group.calls'), stops: [{ to: '/calls', name: t('nav.calls'), icon: IconPhoneCall, count: calls }, { to: '/voicemail', name: t('nav.voicemail'), icon: IconRecordMail, count: fresh }, { to: '/parking', name: t('nav.parking'), icon: IconParking, count: parked }] },
    { group: t('nav.group.people'), stops: [{ to: '/users', name: t('nav.users'), icon: IconUsers, admin: true }] },
    { group: t('nav.group.routing'), stops: [{ to: '/phone-numbers', name: t('nav.numbers'), icon: IconHash, admin: true }, { to: '/ring-groups', name: t('nav.ringGroups'), icon: IconUsersGroup, admin: true }, { to: '/mailboxes', name: t('nav.mailboxes'), icon: IconMailbox, admin: true }, { to: '/call-flow', name: t('nav.callFlow'), icon: IconRoute, admin: true }, { to: '/audio-clips', name: t('nav.clips'), icon: IconMusic, admin: true }] },
    { group: t('nav.group.equipment'), stops: [{ to: '/devices', name: t('nav.devices'), icon: IconDeviceMobile, admin: true }, { to: '/lamps', name: t('nav.lamps'), icon: IconBulb, admin: true }, { to: '/trunks', name: t('nav.trunks'), icon: IconBuildingBroadcastTower, admin: true }] },
    { group: t('nav.group.account'), stops: [{ to: '/settings', name: t('nav.settings'), icon: IconSettings, admin: true }, { to: '/my-settings', name: t('nav.mySettings'), icon: IconUserCircle }] },
  ];
  return all.map((g) => ({ ...g, stops: g.stops.filter((s) => admin || !s.admin) })).filter((g) => g.stops.length);
}

function Track({ onGo }: { onGo?: () => void }) {
  const groups = useStops();
  const { path } = useAddress();
  return (
    <div className="track">
      {groups.map((g, i) => (
        <div key={g.group ?? i}>
          {g.group && <div className="track-group">{g.group}</div>}
          {g.stops.map((s) => {
            const here = s.to === '/' ? path === '/' : path === s.to || path.startsWith(`${s.to}/`);
            return (
              <Link key={s.to} to={s.to} className="stop" aria-current={here ? 'page' : undefined} onClick={onGo}>
                {s.name}
                {s.count ? <span className="count"><span aria-hidden>{s.count}</span><span className="hidden-at-once">{t(s.to === '/calls' ? 'nav.callsNow' : 'nav.newMessages', { count: s.count })}</span></span> : null}
              </Link>
            );
          })}
        </div>
      ))}
    </div>
  );
}

function LivePill() {
  const link = useLive((s) => s.link);
  const name = t(link === 'live' ? 'live.live' : link === 'connecting' ? 'live.connecting' : 'live.offline');
  const [slow, setSlow] = useState(false);
  // A first connection that takes no time needs no word.
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), 800);
    return () => clearTimeout(timer);
  }, []);
  const quiet = link === 'connecting' && !slow;
  return (
    <span role="status" className={`pill live ${link === 'live' ? 'ok' : link === 'offline' ? 'bad' : 'beat'}`} style={quiet ? { visibility: 'hidden' } : undefined}>
      {name}
    </span>
  );
}

const modes: Mode[] = ['light', 'dark', 'system'];

function Gear({ onKeys }: { onKeys: () => void }) {
  const { signOut, me } = useSession();
  const [mode, setMode] = useMode();
  return (
    <Menu position="bottom-end" width={248} withinPortal withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <Tooltip label={t('gear.name')}>
          <ActionIcon variant="subtle" color="gray" size={36} aria-label={t('gear.name')}><IconSettings size={20} aria-hidden /></ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        <div role="presentation" style={{ padding: '0.5rem 0.75rem' }}>
          <div className="cut" style={{ fontWeight: 620 }}><bdi>{me.name}</bdi></div>
          <div className="dim cut"><bdi>{me.email || me.username}</bdi></div>
        </div>
        <Menu.Divider />
        <Menu.Item component={Link} to="/my-settings" leftSection={<IconUserCircle size={17} aria-hidden />}>{t('nav.mySettings')}</Menu.Item>
        <Menu.Sub>
          <Menu.Sub.Target>
            <Menu.Sub.Item leftSection={<IconSunMoon size={17} aria-hidden />}>{t('gear.theme')}</Menu.Sub.Item>
          </Menu.Sub.Target>
          <Menu.Sub.Dropdown>
            <Menu.RadioGroup value={mode} onChange={(m) => setMode(m as Mode)}>
              {modes.map((m) => <Menu.RadioItem key={m} value={m}>{t(`theme.${m}`)}</Menu.RadioItem>)}
            </Menu.RadioGroup>
          </Menu.Sub.Dropdown>
        </Menu.Sub>
        <Menu.Divider />
        <Menu.Item leftSection={<IconKeyboard size={17} aria-hidden />} rightSection={<kbd>?</kbd>} onClick={onKeys}>{t('gear.keys')}</Menu.Item>
        <Menu.Item leftSection={<IconLogout size={17} aria-hidden />} onClick={() => void signOut()}>{t('gear.signOut')}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

export const mac = /Mac|iPhone|iPad/.test(navigator.platform);

export function Shell({ children }: { children: ReactNode }) {
  const { path } = useAddress();
  const [drawer, setDrawer] = useState(false);
  const [palette, setPalette] = useState(false);
  const [keys, setKeys] = useState(false);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useShortcuts({ palette: () => setPalette(true), keys: () => setKeys(true) });
  // A new page is announced by moving the focus to it, as a page load would.
  useEffect(() => {
    setDrawer(false);
    if (first.current) first.current = false;
    else main.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <>
      <a className="skip" href="#content" onClick={(e) => { e.preventDefault(); main.current?.focus(); main.current?.scrollIntoView(); }}>{t('shell.skip')}</a>
      <header className="bar">
        <ActionIcon className="only-small" variant="subtle" color="gray" size={44} aria-label={t('shell.openNav')} aria-expanded={drawer} onClick={() => setDrawer(true)}><IconMenu2 size={22} aria-hidden /></ActionIcon>
        <Link to="/" className="brand" aria-label={t('shell.brand')}><Mark /><span className="only-wide">Branchline</span></Link>
        <div className="grow row" style={{ justifyContent: 'flex-start' }}>
          <button type="button" className="search-button" aria-label={t('action.search')} aria-haspopup="dialog" onClick={() => setPalette(true)}>
            <IconSearch size={17} aria-hidden />
            <span className="only-wide">{t('action.search')}</span>
            <kbd className="only-wide" aria-hidden>{mac ? '⌘ K' : 'Ctrl K'}</kbd>
          </button>
        </div>
        <LivePill />
        <Gear onKeys={() => setKeys(true)} />
      </header>
      <div className="shell">
        <nav className="side" aria-label={t('shell.nav')}><Track /></nav>
        <main id="content" className="page" ref={main} tabIndex={-1}>{children}</main>
      </div>
      <Drawer opened={drawer} onClose={() => setDrawer(false)} size={280} title={<span className="row"><IconPhone size={18} aria-hidden />Branchline</span>}>
        <nav aria-label={t('shell.nav')}><Track onGo={() => setDrawer(false)} /></nav>
      </Drawer>
      <Suspense fallback={null}>
        {palette && <Palette onClose={() => setPalette(false)} onKeys={() => { setPalette(false); setKeys(true); }} />}
        {keys && <KeyHelp onClose={() => setKeys(false)} />}
      </Suspense>
    </>
  );
}
