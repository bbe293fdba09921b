import { Modal, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { IconArrowRight, IconBolt, IconBuildingBroadcastTower, IconDeviceMobile, IconHash, IconSearch, IconUser } from '@tabler/icons-react';
import { useId, useMemo, useState } from 'react';
import { useDevices, useNumbers, useTrunks, useUsers } from '../api/queries';
import { useSession } from '../api/session';
import { type MessageKey, t } from '../i18n/t';
import { formatMac } from '../ui/format';
import { navigate } from './router';

interface Item {
  id: string;
  group: 'recent' | 'users' | 'devices' | 'numbers' | 'trunks' | 'pages' | 'actions';
  name: string;
  hint?: string;
  /** What is searched, in lower case. */
  text: string;
  icon: typeof IconUser;
  run: () => void;
}

const memory = 'branchline-recent';
const most = 8;

function recent(): string[] {
  try {
    const v: unknown = JSON.parse(localStorage.getItem(memory) ?? '[]');
    return Array.isArray(v) ? v.filter((x) => typeof x === 'string').slice(0, 5) : [];
  } catch {
    return [];
  }
}
function remember(id: string) {
  try {
    localStorage.setItem(memory, JSON.stringify([id, ...recent().filter((x) => x !== id)].slice(0, 5)));
  } catch {
    // Nothing is remembered then.
  }
}

export default function Palette({ onClose, onKeys }: { onClose: () => void; onKeys: () => void }) {
  const { admin, signOut } = useSession();
  const users = useUsers(admin);
  const devices = useDevices(admin);
  const numbers = useNumbers(admin);
  const trunks = useTrunks(admin);
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const listId = useId();

  const items = useMemo(() => {
    const page = (to: string, key: MessageKey): Item => ({ id: to, group: 'pages', name: t(key), text: t(key).toLowerCase(), icon: IconArrowRight, run: () => navigate(to) });
    const action = (id: string, key: MessageKey, run: () => void): Item => ({ id, group: 'actions', name: t(key), text: t(key).toLowerCase(), icon: IconBolt, run });
    const all: Item[] = [];
    for (const u of users.data ?? []) {
      const hint = [u.extension, u.email ?? u.username].filter(Boolean).join(' · ');
      all.push({ id: u.id, group: 'users', name: u.name, hint, text: `${u.name} ${hint}`.toLowerCase(), icon: IconUser, run: () => navigate(`/users/${u.id}`) });
    }
    for (const d of devices.data ?? []) {
      const hint = [d.model, d.mac && formatMac(d.mac)].filter(Boolean).join(' · ');
      all.push({ id: d.id, group: 'devices', name: d.name, hint, text: `${d.name} ${d.vendor} ${hint} ${d.mac ?? ''}`.toLowerCase(), icon: IconDeviceMobile, run: () => navigate(`/devices/${d.id}`) });
    }
    for (const n of numbers.data ?? []) all.push({ id: n.id, group: 'numbers', name: n.number, hint: n.label || n.destination_label, text: `${n.number} ${n.label} ${n.destination_label}`.toLowerCase(), icon: IconHash, run: () => navigate(`/phone-numbers/${n.id}`) });
    for (const x of trunks.data ?? []) all.push({ id: x.id, group: 'trunks', name: x.name, hint: x.host, text: `${x.name} ${x.host}`.toLowerCase(), icon: IconBuildingBroadcastTower, run: () => navigate(`/trunks/${x.id}`) });
    all.push(page('/', 'nav.home'), page('/calls', 'nav.calls'), page('/voicemail', 'nav.voicemail'));
    if (admin) all.push(page('/users', 'nav.users'), page('/devices', 'nav.devices'), page('/phone-numbers', 'nav.numbers'), page('/ring-groups', 'nav.ringGroups'), page('/mailboxes', 'nav.mailboxes'), page('/parking', 'nav.parking'), page('/lamps', 'nav.lamps'), page('/trunks', 'nav.trunks'), page('/call-flow', 'nav.callFlow'), page('/audio-clips', 'nav.clips'), page('/settings', 'nav.settings'), page('/settings?tab=security', 'settings.security'), page('/settings?tab=activity', 'settings.activity'));
    all.push(page('/my-settings', 'nav.mySettings'));
    if (admin) all.push(action('new-user', 'users.new', () => navigate('/users?new=1')), action('add-device', 'devices.add', () => navigate('/devices?new=1')), action('add-trunk', 'trunks.add', () => navigate('/trunks?new=1')), action('simulate', 'flow.action', () => navigate('/call-flow')));
    all.push(action('dark', 'palette.dark', () => setColorScheme(dark ? 'light' : 'dark')), action('keys', 'gear.keys', onKeys), action('sign-out', 'gear.signOut', () => void signOut()));
    return all;
  }, [users.data, devices.data, numbers.data, trunks.data, admin, dark, setColorScheme, onKeys, signOut]);

  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.length) {
      const last = recent();
      const again = last.map((id) => items.find((i) => i.id === id)).filter((i) => i !== undefined).map((i): Item => ({ ...i, group: 'recent' }));
      return [...again, ...items.filter((i) => !last.includes(i.id) && (i.group === 'pages' || i.group === 'actions'))];
    }
    const groups = new Map<string, Item[]>();
    for (const i of items) {
      if (!wanted.every((w) => i.text.includes(w))) continue;
      const g = groups.get(i.group) ?? [];
      if (g.length < most) groups.set(i.group, [...g, i]);
    }
    return [...groups.values()].flat();
  }, [items, text]);

  const chosen = Math.min(at, found.length - 1);
  const run = (i?: Item) => {
    if (!i) return;
    remember(i.id);
    onClose();
    // After the dialog has given the focus back.
    setTimeout(i.run, 0);
  };
  const option = (i: number) => `${listId}-${i}`;
  const move = (to: number) => {
    const n = (to + found.length) % found.length;
    setAt(n);
    document.getElementById(option(n))?.scrollIntoView({ block: 'nearest' });
  };

  return (
    <Modal.Root opened onClose={onClose} padding={0} size={600} yOffset="12vh">
      <Modal.Overlay />
      <Modal.Content aria-label={t('action.search')}>
      <div className="palette-head">
        <IconSearch size={19} aria-hidden />
        <input
          role="combobox"
          aria-label={t('action.search')}
          aria-expanded
          aria-controls={listId}
          aria-activedescendant={found.length ? option(chosen) : undefined}
          aria-autocomplete="list"
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          placeholder={t(admin ? 'palette.placeholder' : 'palette.placeholderMember')}
          value={text}
          onChange={(e) => { setText(e.currentTarget.value); setAt(0); }}
          onKeyDown={(e) => {
            if (e.key === 'ArrowDown') move(chosen + 1);
            else if (e.key === 'ArrowUp') move(chosen - 1);
            else if (e.key === 'Enter') run(found[chosen]);
            else return;
            e.preventDefault();
          }}
        />
        <kbd aria-hidden>Esc</kbd>
      </div>
      <div className="palette-list" role="listbox" id={listId} aria-label={t('palette.results')} tabIndex={-1}>
        {found.map((i, n) => (
          <div key={i.group + i.id}>
            {found[n - 1]?.group !== i.group && <div className="palette-group" role="presentation">{t(`palette.group.${i.group}`)}</div>}
            <div id={option(n)} role="option" aria-selected={n === chosen} className="palette-item" onMouseMove={() => setAt(n)} onClick={() => run(i)}>
              <i.icon size={17} aria-hidden />
              <bdi className="cut">{i.name}</bdi>
              {i.hint && <span className="dim cut"><bdi>{i.hint}</bdi></span>}
            </div>
          </div>
        ))}
      </div>
      {!found.length && <p className="dim" style={{ padding: '0 1rem 1.25rem' }} role="status">{t('palette.none')}</p>}
      </Modal.Content>
    </Modal.Root>
  );
}
