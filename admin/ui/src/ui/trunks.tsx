import { NumberInput, Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import type { Trunk } from '../api/client';
import { t } from '../i18n/t';
import { Pill } from './bits';

/** What a trunk is doing, in one pill. */
export function TrunkState({ trunk }: { trunk: Pick<Trunk, 'enabled' | 'register' | 'status'> }) {
  const { status: s } = trunk;
  if (!trunk.enabled) return <Pill hollow>{t('trunk.off')}</Pill>;
  if (!s.reachable) return <Pill tone="bad" hollow>{t('trunk.down')}</Pill>;
  if (trunk.register && !s.registered) return <Pill tone="warn">{t('trunk.notRegistered')}</Pill>;
  return <Pill tone="ok">{t(trunk.register ? 'trunk.registered' : 'trunk.up')}</Pill>;
}

export const trunkDown = (trunk: Trunk) => trunk.enabled && (!trunk.status.reachable || (trunk.register && !trunk.status.registered));

export const rtt = (ms: number | null) => (ms === null ? t('value.none') : t('trunk.ms', { ms: ms < 10 ? ms.toFixed(1) : Math.round(ms) }));

/** The address of a carrier as it is typed: "sip.carrier.example:5060". */
export const place = (trunk: Pick<Trunk, 'host' | 'port'>) => (trunk.port ? `${trunk.host.includes(':') ? `[${trunk.host}]` : trunk.host}:${trunk.port}` : trunk.host);

export function TransportSelect({ value, onChange, error }: { value: Trunk['transport']; onChange: (v: Trunk['transport']) => void; error?: string }) {
  return (
    <Select
      label={t('sip.transport')}
      value={value ?? ''}
      onChange={(v) => onChange((v || null) as Trunk['transport'])}
      error={error}
      data={[{ value: '', label: t('trunk.transport.auto') }, { value: 'udp', label: 'UDP' }, { value: 'tcp', label: 'TCP' }, { value: 'tls', label: 'TLS' }]}
    />
  );
}

export function PortInput({ value, onChange, error }: { value: number | null; onChange: (v: number | null) => void; error?: string }) {
  return (
    <NumberInput label={t('sip.port')} placeholder={t('trunk.port.auto')} hideControls allowDecimal={false} allowNegative={false} value={value ?? ''} onChange={(v) => onChange(v === '' ? null : Number(v))} error={error} />
  );
}

/** Several short values in one line, separated by commas or blanks. */
export function Tags({ label, description, value, onChange, error, placeholder }: { label: string; description: string; value: string[]; onChange: (v: string[]) => void; error?: string; placeholder?: string }) {
  const [text, setText] = useState<string | null>(null);
  const split = (s: string) => s.split(/[\s,;]+/).filter(Boolean);
  // What is typed stays as it is; anything else, such as "Cancel", shows the values.
  const shown = text !== null && split(text).join() === value.join() ? text : value.join(', ');
  return (
    <TextInput
      label={label}
      description={description}
      value={shown}
      onChange={(e) => {
        setText(e.currentTarget.value);
        onChange(split(e.currentTarget.value));
      }}
      error={error}
      placeholder={placeholder}
      autoComplete="off"
      spellCheck={false}
    />
  );
}

export const HostInput = (props: { label: string; description?: string; value: string; onChange: (v: string) => void; error?: string; placeholder?: string; focus?: boolean }) => (
  <TextInput
    label={props.label}
    description={props.description}
    placeholder={props.placeholder}
    value={props.value}
    onChange={(e) => props.onChange(e.currentTarget.value.trim())}
    error={props.error}
    autoComplete="off"
    spellCheck={false}
    autoCapitalize="none"
    data-autofocus={props.focus || undefined}
  />
);
