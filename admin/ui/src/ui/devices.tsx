import { Button, Select, TextInput } from '@mantine/core';
import { IconEye, IconEyeOff } from '@tabler/icons-react';
import { type FormEvent, type ReactNode, useState } from 'react';
import { cache } from '../api/cache';
import { type Device, type DeviceKind, type LineCredentials, type User, api, inAccount } from '../api/client';
import { Problem, ok, words } from '../api/problem';
import { keys, useDevices, useModels, useUsers } from '../api/queries';
import type { components } from '../api/schema';
import { t } from '../i18n/t';
import { Note, Pill } from './bits';
import { CopyButton } from './CopyButton';
import { parseMac } from './format';
import { toast } from './toast';

export const kindName = (k: DeviceKind) => t(`kind.${k}`);

/** Model and vendor as people say them: "Yealink T54W". */
export function modelName(d: { vendor: string; model: string; kind: DeviceKind }): string {
  const vendor = d.vendor ? d.vendor[0]!.toUpperCase() + d.vendor.slice(1) : '';
  return [vendor, d.model].filter(Boolean).join(' ') || kindName(d.kind);
}

export function DeviceStatus({ device }: { device: Pick<Device, 'online' | 'last_seen'> }) {
  if (device.online) return <Pill tone="ok">{t('device.registered')}</Pill>;
  return device.last_seen ? <Pill tone="bad" hollow>{t('device.offline')}</Pill> : <Pill hollow>{t('device.never')}</Pill>;
}

/** One value with its name and a copy button; a secret stays masked until "Show". */
export function Value({ name, value, secret, mono = true, reveal }: { name: string; value: string; secret?: boolean; mono?: boolean; reveal?: () => Promise<string> }) {
  const [shown, setShown] = useState<string | null>(secret ? null : value);
  const [busy, setBusy] = useState(false);
  const get = async () => (reveal ? await reveal() : value);
  return (
    <div className="value">
      <span className="value-name">{name}</span>
      <span className={`value-text cut${mono ? ' mono' : ''}`} title={shown ?? undefined}>{shown ?? '••••••••••'}</span>
      <span className="row" style={{ gap: 2 }}>
        {secret && (
          <Button
            size="compact-sm"
            variant="subtle"
            color="gray"
            loading={busy}
            leftSection={shown === null ? <IconEye size={16} aria-hidden /> : <IconEyeOff size={16} aria-hidden />}
            aria-label={t(shown === null ? 'secret.showNamed' : 'secret.hideNamed', { name: name.toLowerCase() })}
            onClick={async () => {
              if (shown !== null) return setShown(null);
              setBusy(true);
              try {
                setShown(await get());
              } catch (e) {
                toast({ title: t('toast.error'), message: words(e), bad: true });
              } finally {
                setBusy(false);
              }
            }}
          >
            {t(shown === null ? 'secret.show' : 'secret.hide')}
          </Button>
        )}
        <CopyButton what={name.toLowerCase()} value={shown ?? get} />
      </span>
    </div>
  );
}

/** What is typed into a phone by hand. */
export function Credentials({ line, title }: { line: LineCredentials; title?: ReactNode }) {
  return (
    <div className="values">
      {title}
      <Value name={t('sip.server')} value={line.server} />
      <Value name={t('sip.port')} value={String(line.port)} />
      <Value name={t('sip.transport')} value={line.transport.toUpperCase()} />
      {line.domain !== line.server && <Value name={t('sip.domain')} value={line.domain} />}
      <Value name={t('sip.username')} value={line.username} />
      <Value name={t('sip.password')} value={line.password} secret />
    </div>
  );
}

/** Reads the credentials of a device; the read is in the activity log. */
export const readCredentials = async (device: string) => (await ok(api.GET('/accounts/{account}/devices/{device}/sip-credentials', { params: { path: { ...inAccount, device } } }))).lines;

export type Created = components['schemas']['DeviceCreated'];

export async function createDevice(body: components['schemas']['DeviceCreate']): Promise<Created> {
  const made = await ok(api.POST('/accounts/{account}/devices', { params: { path: inAccount }, body }));
  for (const queryKey of [keys.devices, keys.users, ['user']]) void cache.invalidateQueries({ queryKey });
  return made;
}

export function UserSelect({ value, onChange, label, error, users, description }: { value: string | null; onChange: (id: string | null) => void; label: string; error?: string; users?: User[]; description?: string }) {
  const all = useUsers(users === undefined);
  const list = users ?? all.data ?? [];
  return (
    <Select
      label={label}
      description={description}
      searchable
      clearable
      allowDeselect
      clearButtonProps={{ 'aria-label': t('action.clear'), 'aria-hidden': false, tabIndex: 0 }}
      placeholder={t('devices.nobody')}
      nothingFoundMessage={t('palette.none')}
      value={value}
      onChange={onChange}
      error={error}
      data={list.map((u) => ({ value: u.id, label: u.extension ? t('user.withExtension', { name: u.name, extension: u.extension }) : u.name }))}
    />
  );
}

export function ModelSelect({ value, onChange, kind, error }: { value: string | null; onChange: (v: string | null) => void; kind: DeviceKind; error?: string }) {
  const models = useModels();
  const list = (models.data ?? []).filter((m) => m.kind === kind);
  const vendors = [...new Set(list.map((m) => m.vendor_name))];
  return (
    <Select
      label={t('devices.model')}
      searchable
      placeholder={t('devices.modelHint')}
      nothingFoundMessage={t('palette.none')}
      value={value}
      onChange={onChange}
      error={error ?? (models.isError ? words(models.error) : undefined)}
      data={vendors.map((v) => ({ group: v, items: list.filter((m) => m.vendor_name === v).map((m) => ({ value: `${m.vendor}/${m.model}`, label: m.model })) }))}
    />
  );
}

/** A form for a device of any kind. */
export function DeviceForm({ kinds, user, onDone, submit }: { kinds: DeviceKind[]; user?: User; onDone: (made: Created) => void; submit: string }) {
  const [kind, setKind] = useState<DeviceKind>(kinds[0]!);
  const [name, setName] = useState('');
  const [mac, setMac] = useState('');
  const [model, setModel] = useState<string | null>(null);
  const [ipei, setIpei] = useState('');
  const [baseId, setBaseId] = useState<string | null>(null);
  const [userId, setUserId] = useState<string | null>(user?.id ?? null);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const users = useUsers(!user);
  const devices = useDevices(kinds.includes('dect_handset'));
  const owner = user ?? users.data?.find((u) => u.id === userId);
  const wired = kind === 'deskphone' || kind === 'dect_base';
  const suggestion = owner ? t('devices.nameOf', { name: owner.name.split(' ')[0]!, kind: kindName(kind).toLowerCase() }) : model ? model.split('/')[1]! : kindName(kind);
  const bases = (devices.data ?? []).filter((d) => d.kind === 'dect_base');

  const send = async (e: FormEvent) => {
    e.preventDefault();
    const found: Record<string, string> = {};
    const digits = parseMac(mac);
    if (wired && !digits) found.mac = t('devices.macWrong');
    if (wired && !model) found.model = t('devices.modelMissing');
    if (kind === 'dect_handset' && !baseId) found.base_id = t('devices.baseMissing');
    setErrors(found);
    setProblem('');
    if (Object.keys(found).length) return;
    const [vendor, type] = model && kind !== 'softphone' ? model.split('/') : ['', ''];
    setBusy(true);
    try {
      onDone(await createDevice({
        kind,
        name: name.trim() || suggestion,
        user_ids: kind === 'dect_base' || !userId ? [] : [userId],
        ...(kind !== 'softphone' && model ? { vendor, model: type } : {}),
        ...(wired ? { mac: digits } : {}),
        ...(kind === 'dect_handset' ? { base_id: baseId, ...(ipei.trim() ? { ipei: ipei.trim() } : {}) } : {}),
      }));
    } catch (err) {
      if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
      else setProblem(words(err));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="stack" style={{ gap: 14 }} onSubmit={send} noValidate>
      {problem && <Note tone="bad">{problem}</Note>}
      {kinds.length > 1 && (
        <Select label={t('devices.kind')} value={kind} data-autofocus onChange={(v) => { if (v) { setKind(v as DeviceKind); setModel(null); setErrors({}); } }} data={kinds.map((k) => ({ value: k, label: kindName(k) }))} error={errors.kind} />
      )}
      {wired && (
        <TextInput label={t('devices.mac')} description={t('devices.macHint')} value={mac} onChange={(e) => setMac(e.currentTarget.value)} error={errors.mac} spellCheck={false} autoComplete="off" placeholder="80:5e:c0:12:34:56" className="mono-input" data-autofocus={kinds.length === 1 || undefined} required withAsterisk={false} />
      )}
      {kind !== 'softphone' && <ModelSelect kind={kind} value={model} onChange={setModel} error={errors.model ?? errors.vendor} />}
      {kind === 'dect_handset' && (
        <>
          <Select label={t('devices.base')} value={baseId} onChange={setBaseId} error={errors.base_id} data={bases.map((b) => ({ value: b.id, label: b.name }))} placeholder={bases.length ? undefined : t('devices.noBase')} disabled={!bases.length} />
          <TextInput label={t('devices.ipei')} description={t('devices.ipeiHint')} value={ipei} onChange={(e) => setIpei(e.currentTarget.value)} error={errors.ipei} spellCheck={false} autoComplete="off" />
        </>
      )}
      {!user && kind !== 'dect_base' && <UserSelect label={t('devices.assignedTo')} value={userId} onChange={setUserId} error={errors.user_ids} users={users.data} />}
      <TextInput label={t('devices.name')} value={name} onChange={(e) => setName(e.currentTarget.value)} error={errors.name} placeholder={suggestion} maxLength={80} />
      <div className="row" style={{ justifyContent: 'flex-end' }}><Button type="submit" loading={busy}>{submit}</Button></div>
    </form>
  );
}
