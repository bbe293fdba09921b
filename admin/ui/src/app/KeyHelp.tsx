import { Modal, Switch } from '@mantine/core';
import { useState } from 'react';
import { t } from '../i18n/t';
import { lettersOn, setLetters } from './shortcuts';
import { mac } from './Shell';

export default function KeyHelp({ onClose }: { onClose: () => void }) {
  const [on, setOn] = useState(lettersOn);
  const rows: [string[], string][] = [
    [[mac ? '⌘ K' : 'Ctrl K'], t('keys.palette')],
    [['/'], t('keys.search')],
    [['c'], t('keys.create')],
    [['g', 'h'], t('nav.home')],
    [['g', 'c'], t('nav.calls')],
    [['g', 'v'], t('nav.voicemail')],
    [['g', 'u'], t('nav.users')],
    [['g', 'd'], t('nav.devices')],
    [['g', 's'], t('nav.settings')],
    [['Space'], t('keys.play')],
    [['←', '→'], t('keys.skip')],
    [['n', 'p'], t('keys.nextPrevious')],
    [['d'], t('keys.delete')],
    [['?'], t('keys.help')],
  ];
  return (
    <Modal opened onClose={onClose} title={t('gear.keys')}>
      <dl style={{ display: 'grid', gridTemplateColumns: 'auto 1fr', gap: '0.55rem 1.25rem', alignItems: 'center' }}>
        {rows.map(([keys, what]) => [
          <dt key={`${what}k`} className="row" style={{ gap: 4 }}>{keys.map((k) => <kbd key={k}>{k}</kbd>)}</dt>,
          <dd key={what}>{what}</dd>,
        ])}
      </dl>
      <Switch mt="lg" checked={on} onChange={(e) => { setOn(e.currentTarget.checked); setLetters(e.currentTarget.checked); }} label={t('keys.letters')} description={t('keys.lettersWhy')} />
    </Modal>
  );
}
