import { Select, TextInput } from '@mantine/core';
import type { Destination } from '../api/client';
import { t } from '../i18n/t';
import { UserSelect } from './devices';

const types = ['user', 'mailbox', 'external', 'hangup'] as const;

/** Where calls go: a kind, and what that kind needs. */
export function DestinationFields({ value, onChange, error }: { value: Destination; onChange: (d: Destination) => void; error?: string }) {
  const needsUser = value.type === 'user' || value.type === 'mailbox';
  return (
    <div className="pair wrap">
      <Select label={t('destination.type')} value={value.type} onChange={(v) => v && onChange({ type: v as Destination['type'], ...(needsUser && (v === 'user' || v === 'mailbox') ? { id: value.id } : {}) })} error={value.type === 'hangup' ? error : undefined} data={types.map((k) => ({ value: k, label: t(`destination.${k}`) }))} />
      {needsUser && <UserSelect label={t('destination.who')} value={value.id ?? null} onChange={(id) => onChange({ type: value.type, id: id ?? '' })} error={error} />}
      {value.type === 'external' && <TextInput label={t('destination.number')} inputMode="tel" value={value.number ?? ''} onChange={(e) => onChange({ type: 'external', number: e.currentTarget.value })} error={error} placeholder="+49 30 123456" autoComplete="off" maxLength={64} />}
    </div>
  );
}
