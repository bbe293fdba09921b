import { Button, NumberInput, Select, Switch, TextInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import type { Destination, FindMe, Forward, SettingsPatch } from '../api/client';
import { autosave } from '../api/cache';
import { t } from '../i18n/t';
import { Card } from './bits';
import { DestinationFields } from './destination';
import { useDraft } from './draft';
import { DraftCard } from './DraftCard';
import { Targets } from './targets';

export interface Reach {
  find_me: FindMe;
  forward: Forward;
  call_waiting: boolean;
  reject_anonymous: boolean;
}
type Save = (patch: Pick<SettingsPatch, 'find_me' | 'forward' | 'call_waiting' | 'reject_anonymous'>) => Promise<unknown>;

/** Find me, forwarding and call waiting, for a user's page and for one's own settings. */
export function ReachFields({ value, self, save }: { value: Reach; self: string; save: Save }) {
  return (
    <>
      <FindMeCard value={value} self={self} save={save} />
      <ForwardCard value={value} save={save} />
    </>
  );
}

function FindMeCard({ value, self, save }: { value: Reach; self: string; save: Save }) {
  const form = useDraft<Reach, { find_me: FindMe }>(value, save);
  const f = form.value.find_me;
  const steps = f.steps ?? [];
  const set = (patch: FindMe) => form.set({ find_me: { ...f, ...patch } });
  const step = (i: number, patch: Partial<(typeof steps)[number]>) => set({ steps: steps.map((s, n) => (n === i ? { ...s, ...patch } : s)) });
  const fallback = f.fallback ?? { action: 'voicemail' };
  return (
    <DraftCard title={t('findMe.card')} form={form}>
      <Switch label={t('findMe.enabled')} description={t('findMe.what')} checked={f.enabled ?? false} onChange={(e) => set({ enabled: e.currentTarget.checked, steps: steps.length ? steps : [{ timeout_s: 20, targets: [{ type: 'user', id: self }] }] })} />
      {(f.enabled || steps.length > 0) && (
        <>
          {steps.length > 0 && <Timeline steps={steps} />}
          {steps.map((s, i) => (
            // eslint-disable-next-line react/no-array-index-key -- a step is its place
            <fieldset key={i} className="step">
              <legend>{t('findMe.step', { n: i + 1 })}</legend>
              <div className="stack" style={{ gap: 12 }}>
                <NumberInput label={t('findMe.timeout')} suffix={t('ring.seconds')} w={180} min={5} max={300} clampBehavior="none" allowDecimal={false} hideControls value={s.timeout_s} onChange={(v) => step(i, { timeout_s: Number(v) })} error={form.errors[`find_me.steps[${i}].timeout_s`]} />
                <Targets name={`find_me.steps[${i}].targets`} value={s.targets} onChange={(targets) => step(i, { targets })} errors={form.errors} />
                <div className="row" style={{ justifyContent: 'flex-end' }}><Button variant="subtle" color="gray" size="compact-sm" aria-label={t('findMe.removeNamed', { n: i + 1 })} onClick={() => set({ steps: steps.filter((_, n) => n !== i) })}>{t('findMe.remove')}</Button></div>
              </div>
            </fieldset>
          ))}
          <div><Button variant="default" size="compact-md" leftSection={<IconPlus size={15} aria-hidden />} disabled={steps.length >= 10} onClick={() => set({ steps: [...steps, { timeout_s: 20, targets: [{ type: 'external', number: '', screening: 'press_1' }] }] })}>{t('findMe.add')}</Button></div>
          {form.errors['find_me.steps'] && <p className="bad small" role="alert">{form.errors['find_me.steps']}</p>}
          <Select label={t('findMe.fallback')} value={fallback.action} onChange={(v) => v && set({ fallback: v === 'route' ? { action: 'route', destination: { type: 'user', id: '' } } : { action: v as 'voicemail' | 'hangup' } })} data={(['voicemail', 'hangup', 'route'] as const).map((a) => ({ value: a, label: t(`findMe.fallback.${a}`) }))} />
          {fallback.action === 'route' && <DestinationFields value={(fallback.destination ?? { type: 'user', id: '' }) as Destination} onChange={(destination) => set({ fallback: { action: 'route', destination } })} error={form.errors['find_me.fallback.destination']} />}
        </>
      )}
    </DraftCard>
  );
}

/** When which step rings, as a picture. */
function Timeline({ steps }: { steps: { timeout_s: number; targets: unknown[] }[] }) {
  const whole = steps.reduce((sum, s) => sum + (s.timeout_s || 0), 0) || 1;
  let at = 0;
  return (
    <div className="timeline" role="img" aria-label={t('findMe.picture', { steps: steps.length, seconds: whole })}>
      {steps.map((s, i) => {
        const from = at;
        at += s.timeout_s || 0;
        // eslint-disable-next-line react/no-array-index-key -- a step is its place
        return <span key={i} style={{ width: `${((s.timeout_s || 0) / whole) * 100}%` }}><b>{t('findMe.step', { n: i + 1 })}</b><small>{from}–{at} s</small></span>;
      })}
    </div>
  );
}

const kinds = ['always', 'busy', 'no_answer', 'unreachable'] as const;

function ForwardCard({ value, save }: { value: Reach; save: Save }) {
  const form = useDraft<Reach, { forward: Forward }>(value, (patch) => save({ forward: Object.fromEntries(Object.entries(patch.forward).map(([k, v]) => [k, v === '' ? null : v])) }));
  const f = form.value.forward;
  return (
    <>
      <DraftCard title={t('forward.card')} form={form}>
        <p className="dim">{t('forward.what')}</p>
        <div className="grid2">
          {kinds.map((k) => <TextInput key={k} label={t(`forward.${k}`)} inputMode="tel" value={f[k] ?? ''} onChange={(e) => form.set({ forward: { ...f, [k]: e.currentTarget.value } })} error={form.errors[`forward.${k}`]} placeholder={t('forward.none')} autoComplete="off" maxLength={64} />)}
        </div>
      </DraftCard>
      <Card title={t('waiting.card')}>
        <div className="stack" style={{ gap: 16 }}>
          <Switch label={t('waiting.on')} description={t('waiting.what')} checked={value.call_waiting} onChange={(e) => { const on = e.currentTarget.checked; void autosave(() => save({ call_waiting: on })); }} />
          <Switch label={t('waiting.anonymous')} description={t('waiting.anonymousWhat')} checked={value.reject_anonymous} onChange={(e) => { const on = e.currentTarget.checked; void autosave(() => save({ reject_anonymous: on })); }} />
        </div>
      </Card>
    </>
  );
}
