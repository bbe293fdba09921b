import { Button, Select, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import type { RingTarget } from '../api/client';
import { t } from '../i18n/t';
import { UserSelect } from './devices';

const screenings = ['none', 'press_1', 'amd', 'both'] as const;

/** Whom a ring group or a step of find me rings: people and numbers outside. */
export function Targets({ value, onChange, name, errors = {} }: { value: RingTarget[]; onChange: (v: RingTarget[]) => void; name: string; errors?: Record<string, string> }) {
  const set = (i: number, target: RingTarget) => onChange(value.map((x, n) => (n === i ? target : x)));
  const error = (i: number) => Object.entries(errors).find(([k]) => k.startsWith(`${name}[${i}]`))?.[1];
  return (
    <div className="stack" style={{ gap: 10 }}>
      {value.map((target, i) => (
        // eslint-disable-next-line react/no-array-index-key -- a target has no name of its own
        <div key={i} className="pair wrap" role="group" aria-label={t('targets.one', { n: i + 1 })}>
          {target.type === 'user' ? (
            <UserSelect label={t('targets.user')} value={target.id ?? null} onChange={(id) => set(i, { type: 'user', id: id ?? '' })} error={error(i)} />
          ) : (
            <>
              <TextInput label={t('destination.number')} inputMode="tel" value={target.number ?? ''} onChange={(e) => set(i, { ...target, number: e.currentTarget.value })} error={error(i)} placeholder="+49 170 123456" autoComplete="off" maxLength={64} />
              <Select label={t('targets.screening')} value={target.screening ?? 'none'} onChange={(v) => v && set(i, { ...target, screening: v as (typeof screenings)[number] })} data={screenings.map((s) => ({ value: s, label: t(`targets.screening.${s}`) }))} />
            </>
          )}
          <Button variant="subtle" color="gray" size="compact-sm" style={{ alignSelf: 'flex-end' }} aria-label={t('targets.removeNamed', { n: i + 1 })} onClick={() => onChange(value.filter((_, n) => n !== i))}>{t('targets.remove')}</Button>
        </div>
      ))}
      <div className="row wrap">
        <Button variant="default" size="compact-md" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => onChange([...value, { type: 'user', id: '' }])}>{t('targets.addUser')}</Button>
        <Button variant="default" size="compact-md" leftSection={<IconPlus size={15} aria-hidden />} onClick={() => onChange([...value, { type: 'external', number: '', screening: 'press_1' }])}>{t('targets.addNumber')}</Button>
      </div>
      {errors[name] && <p className="bad small" role="alert">{errors[name]}</p>}
    </div>
  );
}
