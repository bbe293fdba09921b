import { Select, TextInput } from '@mantine/core';
import type { Destination } from '../api/client';
import { useMailboxes, useRingGroups } from '../api/queries';
import { t } from '../i18n/t';
import { UserSelect } from './devices';

const types = ['user', 'ring_group', 'mailbox', 'shared', 'external', 'parking', 'hangup'] as const;
type Kind = (typeof types)[number];

/** Where calls go: a kind, and what that kind needs. A shared mailbox is a kind of its own here, as people see it. */
export function DestinationFields({ value, onChange, error }: { value: Destination; onChange: (d: Destination) => void; error?: string }) {
  const groups = useRingGroups();
  const boxes = useMailboxes();
  const kind: Kind = value.type === 'mailbox' && (value.id ?? '').startsWith('mbx_') ? 'shared' : (value.type as Kind);
  const needsUser = kind === 'user' || kind === 'mailbox';
  const choose = (k: Kind) => {
    if (k === 'shared') return onChange({ type: 'mailbox', id: boxes.data?.[0]?.id ?? 'mbx_' });
    if (k === 'ring_group') return onChange({ type: 'ring_group', id: groups.data?.[0]?.id ?? '' });
    onChange({ type: k, ...(needsUser && (k === 'user' || k === 'mailbox') ? { id: value.id } : k === 'user' || k === 'mailbox' ? { id: '' } : {}) } as Destination);
  };
  return (
    <div className="pair wrap">
      <Select label={t('destination.type')} value={kind} onChange={(v) => v && choose(v as Kind)} error={kind === 'hangup' || kind === 'parking' ? error : undefined} data={types.map((k) => ({ value: k, label: t(`destination.${k}`) }))} />
      {needsUser && <UserSelect label={t('destination.who')} value={value.id ?? null} onChange={(id) => onChange({ type: value.type, id: id ?? '' })} error={error} />}
      {kind === 'ring_group' && <Select label={t('destination.ring_group')} searchable nothingFoundMessage={t('palette.none')} value={value.id || null} onChange={(id) => onChange({ type: 'ring_group', id: id ?? '' })} error={error} data={(groups.data ?? []).map((g) => ({ value: g.id, label: g.name }))} />}
      {kind === 'shared' && <Select label={t('destination.shared')} searchable nothingFoundMessage={t('palette.none')} value={value.id === 'mbx_' ? null : (value.id ?? null)} onChange={(id) => onChange({ type: 'mailbox', id: id ?? 'mbx_' })} error={error} data={(boxes.data ?? []).map((m) => ({ value: m.id, label: m.name }))} />}
      {kind === 'external' && <TextInput label={t('destination.number')} inputMode="tel" value={value.number ?? ''} onChange={(e) => onChange({ type: 'external', number: e.currentTarget.value })} error={error} placeholder="+49 30 123456" autoComplete="off" maxLength={64} />}
    </div>
  );
}
