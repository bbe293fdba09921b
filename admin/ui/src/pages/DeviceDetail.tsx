import { Button, Select } from '@mantine/core';
import { IconPlugConnectedX, IconRefresh, IconRotateClockwise } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { autosave, cache, refusal } from '../api/cache';
import { type Device, type LineCredentials, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type DevicePatch, keys, saveDevice, useDevice, useUsers } from '../api/queries';
import { Link, navigate } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Empty, Failed, Loading, PageHead, Pill, Time, Why } from '../ui/bits';
import { ask } from '../ui/confirm';
import { ConflictNote } from '../ui/conflict';
import { Credentials, DeviceStatus, ModelSelect, UserSelect, kindName, modelName, readCredentials } from '../ui/devices';
import { formatMac, parseMac } from '../ui/format';
import { InlineEdit } from '../ui/InlineEdit';
import { saved, toast } from '../ui/toast';

export default function DeviceDetail({ params }: { params: Record<string, string> }) {
  const device = useDevice(params.id!);
  if (device.isPending) return <Loading rows={6} />;
  if (device.isError && !device.data) {
    return (
      <>
        <PageHead title={t('devices.one')} docTitle={t('devices.one')} back={{ to: '/devices', label: t('nav.devices') }} />
        <Failed what={words(device.error)} retry={() => void device.refetch()} />
      </>
    );
  }
  return <Loaded device={device.data} />;
}

const field = (d: Device, name: keyof DevicePatch & string) => async (value: string) => {
  let v: string | null = value;
  if (name === 'mac') {
    v = value ? parseMac(value) : null;
    if (value && !v) return t('devices.macWrong');
  }
  try {
    await saveDevice(d.id, { [name]: v } as DevicePatch);
    saved();
    return undefined;
  } catch (e) {
    return refusal(e, name);
  }
};

async function askPhone(id: string, what: 'resync' | 'reboot' | 'unregister') {
  try {
    const path = `/accounts/{account}/devices/{device}/${what}` as const;
    await ok(api.POST(path, { params: { path: { ...inAccount, device: id } } }));
    toast({ title: t(`device.${what}Asked`) });
  } catch (e) {
    toast({ title: t('toast.error'), message: words(e), bad: true });
  }
}

function Loaded({ device: d }: { device: Device }) {
  const wired = d.kind === 'deskphone' || d.kind === 'dect_base';
  const offline = d.online ? undefined : t('device.mustBeOn');
  return (
    <>
      <PageHead
        docTitle={d.name}
        back={{ to: '/devices', label: t('nav.devices') }}
        title={<InlineEdit label={t('devices.name')} value={d.name} save={field(d, 'name')} display={<h1 className="cut" title={d.name}><bdi>{d.name}</bdi></h1>} />}
        aside={<DeviceStatus device={d} />}
        actions={
            <>
              <Why reason={offline}>
                <Button
                  variant="default"
                  disabled={!d.online}
                  leftSection={<IconPlugConnectedX size={17} aria-hidden />}
                  onClick={() => ask({ title: t('device.unregisterTitle'), body: <T k="device.unregisterBody" v={{ name: <b><bdi>{d.name}</bdi></b> }} />, verb: t('device.unregister'), danger: false, run: () => askPhone(d.id, 'unregister') })}
                >
                  {t('device.unregister')}
                </Button>
              </Why>
              {d.kind !== 'softphone' && <>
              <Why reason={offline}><Button variant="default" disabled={!d.online} leftSection={<IconRefresh size={17} aria-hidden />} onClick={() => void askPhone(d.id, 'resync')}>{t('device.resync')}</Button></Why>
              <Why reason={offline}>
                <Button
                  variant="default"
                  disabled={!d.online}
                  leftSection={<IconRotateClockwise size={17} aria-hidden />}
                  onClick={() => ask({ title: t('device.rebootTitle'), body: <T k="device.rebootBody" v={{ name: <b><bdi>{d.name}</bdi></b> }} />, verb: t('device.reboot'), danger: false, run: () => askPhone(d.id, 'reboot') })}
                >
                  {t('device.reboot')}
                </Button>
              </Why>
              </>}
            </>
        }
      />
      <ConflictNote id={d.id} queryKey={keys.device(d.id)} />
      <div className="cards two">
        <div className="stack" style={{ gap: 16 }}>
          <Card title={t('device.about')}>
            <dl className="facts middle">
              <dt>{t('devices.kind')}</dt>
              <dd>{kindName(d.kind)}</dd>
              {d.kind !== 'softphone' && (
                <>
                  <dt>{t('devices.model')}</dt>
                  <dd><Model device={d} /></dd>
                </>
              )}
              {wired && (
                <>
                  <dt>{t('devices.mac')}</dt>
                  <dd><InlineEdit label={t('devices.mac')} value={d.mac ? formatMac(d.mac) : ''} save={field(d, 'mac')} display={d.mac ? <span className="mono">{formatMac(d.mac)}</span> : undefined} /></dd>
                </>
              )}
              {d.kind === 'dect_handset' && (
                <>
                  <dt>{t('devices.ipei')}</dt>
                  <dd><InlineEdit label={t('devices.ipei')} value={d.ipei ?? ''} save={field(d, 'ipei')} /></dd>
                  <dt>{t('devices.base')}</dt>
                  <dd>{d.base_id ? <Base id={d.base_id} /> : <span className="dim">{t('value.none')}</span>}</dd>
                </>
              )}
              <dt id="transport-name">{t('sip.transport')}</dt>
              <dd>
                <Select
                  aria-labelledby="transport-name"
                  w={130}
                  value={d.transport}
                  onChange={(v) => v && v !== d.transport && void autosave(() => saveDevice(d.id, { transport: v as Device['transport'] }))}
                  data={[{ value: 'udp', label: 'UDP' }, { value: 'tcp', label: 'TCP' }, { value: 'tls', label: 'TLS' }, ...(d.kind === 'softphone' || d.transport === 'wss' ? [{ value: 'wss', label: 'WSS' }] : [])]}
                />
              </dd>
              <dt id="srtp-name">{t('sip.srtp')}</dt>
              <dd>
                <Select
                  aria-labelledby="srtp-name"
                  w={230}
                  value={d.srtp}
                  onChange={(v) => v && v !== d.srtp && void autosave(() => saveDevice(d.id, { srtp: v as Device['srtp'] }))}
                  data={(['off', 'optional', 'required'] as const).map((x) => ({ value: x, label: t(`sip.srtp.${x}`) }))}
                />
                {d.srtp !== 'off' && d.transport !== 'tls' && d.transport !== 'wss' && <div className="dim small">{t('sip.srtp.open')}</div>}
              </dd>
              <dt id="digest-name">{t('device.digest')}</dt>
              <dd>
                <Select
                  aria-labelledby="digest-name"
                  w={230}
                  value={d.digest}
                  onChange={(v) => v && v !== d.digest && void autosave(() => saveDevice(d.id, { digest: v as Device['digest'] }))}
                  data={(['any', 'md5', 'sha256'] as const).map((x) => ({ value: x, label: t(`device.digest.${x}`) }))}
                />
              </dd>
              <dt>{t('devices.lastSeen')}</dt>
              <dd><Time at={d.last_seen} /></dd>
            </dl>
          </Card>
          {d.kind !== 'dect_base' && <Lines device={d} />}
          {d.lines.length > 0 && <SIP device={d} />}
        </div>
        <div className="stack" style={{ gap: 16 }}>
          <Registrations device={d} />
          {d.kind !== 'softphone' && <Log id={d.id} />}
          {d.kind !== 'softphone' && <Files id={d.id} />}
          <Card title={t('user.danger')}>
            <div className="row apart wrap">
              <span className="dim grow">{t('device.deleteWhat')}</span>
              <Button
                color="red.8"
                variant="outline"
                className="danger"
                onClick={() =>
                  ask({
                    title: t('device.deleteTitle'),
                    body: <T k="device.deleteBody" v={{ name: <b><bdi>{d.name}</bdi></b> }} />,
                    verb: t('device.delete'),
                    run: async () => {
                      await ok(api.DELETE('/accounts/{account}/devices/{device}', { params: { path: { ...inAccount, device: d.id } }, headers: ifMatch(d.version) }));
                      cache.setQueryData<Device[]>(keys.devices, (all) => all?.filter((x) => x.id !== d.id));
                      navigate('/devices');
                      cache.removeQueries({ queryKey: keys.device(d.id) });
                      void cache.invalidateQueries({ queryKey: keys.users });
                      toast({ title: t('device.deleted'), message: d.name });
                    },
                  })
                }
              >
                {t('device.delete')}
              </Button>
            </div>
          </Card>
        </div>
      </div>
    </>
  );
}

function Base({ id }: { id: string }) {
  const base = useDevice(id);
  return <Link to={`/devices/${id}`}><bdi>{base.data?.name ?? t('state.loading')}</bdi></Link>;
}

function Model({ device: d }: { device: Device }) {
  const [open, setOpen] = useState(false);
  if (!open) return <span className="row">{modelName(d)}<Button size="compact-sm" variant="subtle" color="gray" onClick={() => setOpen(true)}>{t('device.changeModel')}</Button></span>;
  return (
    <div className="row" style={{ alignItems: 'flex-end' }}>
      <ModelSelect
        kind={d.kind}
        value={d.vendor && d.model ? `${d.vendor}/${d.model}` : null}
        onChange={(v) => {
          const [vendor, model] = (v ?? '').split('/');
          if (vendor && model) void autosave(() => saveDevice(d.id, { vendor, model })).then(() => setOpen(false));
        }}
      />
      <Button variant="default" onClick={() => setOpen(false)}>{t('action.cancel')}</Button>
    </div>
  );
}

function Lines({ device: d }: { device: Device }) {
  const users = useUsers();
  const [next, setNext] = useState<string | null>(null);
  const free = (users.data ?? []).filter((u) => !d.user_ids.includes(u.id));
  return (
    <Card title={t('device.lines')} flush>
      {d.lines.length === 0 ? <p className="card-body dim">{t('device.noLines')}</p> : (
        <ul className="list">
          {d.lines.map((l) => (
            <li key={l.id}>
              <span className="dim" style={{ minWidth: '1.2rem' }}>{l.index}</span>
              <span className="grow cut"><Link to={`/users/${l.user_id}`}><bdi>{l.user_name}</bdi></Link> {l.extension && <span className="dim">{l.extension}</span>}</span>
              {l.online ? <Pill tone="ok">{t('device.registered')}</Pill> : <Pill hollow>{t('device.notRegistered')}</Pill>}
              <Button size="compact-sm" variant="subtle" color="gray" aria-label={t('user.unassignNamed', { name: l.user_name })} onClick={() => ask({ title: t('user.unassignTitle'), body: <T k="user.unassignBody" v={{ device: <b><bdi>{d.name}</bdi></b>, name: <bdi>{l.user_name}</bdi> }} />, verb: t('user.unassign'), run: async () => void (await autosave(() => saveDevice(d.id, { lines: d.lines.filter((x) => x.id !== l.id).map((x) => ({ id: x.id, user_id: x.user_id, label: x.label })) }))) })}>{t('user.unassign')}</Button>
            </li>
          ))}
        </ul>
      )}
      <form
        className="card-foot"
        style={{ justifyContent: 'flex-start', alignItems: 'flex-end' }}
        onSubmit={(e) => {
          e.preventDefault();
          if (next) void autosave(() => saveDevice(d.id, { user_ids: [...d.user_ids, next] })).then((done) => done && setNext(null));
        }}
      >
        <div className="grow"><UserSelect label={t('device.addLine')} value={next} onChange={setNext} users={free} /></div>
        <Button type="submit" variant="light" disabled={!next}>{t('assign.assign')}</Button>
      </form>
    </Card>
  );
}

function SIP({ device: d }: { device: Device }) {
  const [lines, setLines] = useState<LineCredentials[] | null>(null);
  const [busy, setBusy] = useState(false);
  const show = async () => {
    setBusy(true);
    try {
      setLines(await readCredentials(d.id));
    } catch (e) {
      toast({ title: t('toast.error'), message: words(e), bad: true });
    } finally {
      setBusy(false);
    }
  };
  const rotate = (l: LineCredentials, who: string) =>
    ask({
      title: t('device.rotateTitle'),
      body: <T k="device.rotateBody" v={{ name: <b><bdi>{who}</bdi></b> }} />,
      verb: t('device.rotate'),
      run: async () => {
        const fresh = await ok(api.POST('/accounts/{account}/devices/{device}/lines/{line}/rotate', { params: { path: { ...inAccount, device: d.id, line: l.line_id } } }));
        setLines((all) => all && all.map((x) => (x.line_id === fresh.line_id ? fresh : x)));
        void cache.invalidateQueries({ queryKey: keys.device(d.id) });
        toast({ title: t('device.rotated') });
      },
    });
  return (
    <Card title={t('device.sip')} action={<Button size="compact-md" variant={lines ? 'default' : 'light'} loading={busy} aria-expanded={lines !== null} aria-label={t(lines ? 'secret.hideNamed' : 'secret.showNamed', { name: t('device.sip').toLowerCase() })} onClick={() => (lines ? setLines(null) : void show())}>{t(lines ? 'secret.hide' : 'secret.show')}</Button>}>
      {!lines ? <p className="dim">{t('device.sipWhat')}</p> : (
        <div className="stack" style={{ gap: 16 }}>
          {lines.map((l) => {
            const line = d.lines.find((x) => x.id === l.line_id);
            const who = line?.user_name ?? '';
            return (
              <div key={l.line_id} className="stack" style={{ gap: 8 }}>
                <Credentials key={l.password} line={l} title={<div className="values-title row apart"><span><T k="device.lineOf" v={{ index: l.index, name: <bdi>{who}</bdi> }} /></span><Button size="compact-sm" variant="subtle" color="gray" onClick={() => rotate(l, who)}>{t('device.rotate')}</Button></div>} />
              </div>
            );
          })}
        </div>
      )}
    </Card>
  );
}

function Registrations({ device: d }: { device: Device }) {
  return (
    <Card title={t('device.registrations')} flush>
      {d.registrations.length === 0 ? <Empty>{t('device.noRegistrations')}</Empty> : (
        <ul className="list">
          {d.registrations.map((r) => (
            <li key={r.contact + r.source} style={{ display: 'block' }}>
              <div className="row apart"><span className="mono cut">{r.source}</span><Pill plain>{r.transport.toUpperCase()}</Pill></div>
              <div className="cut dim" title={r.user_agent}><bdi>{r.user_agent}</bdi></div>
              <div className="dim cut mono" style={{ fontSize: '0.78rem' }} title={r.contact}><bdi>{r.contact}</bdi></div>
              <div className="dim small"><T k="device.since" v={{ since: <Time at={r.registered_at} />, until: <Time at={r.expires_at} /> }} /></div>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Log({ id }: { id: string }) {
  const log = useQuery({ queryKey: [...keys.device(id), 'log'], queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/devices/{device}/provisioning-log', { params: { path: { ...inAccount, device: id }, query: { limit: 20 } }, signal }))).items });
  return (
    <Card title={t('device.log')} flush action={<Button size="compact-md" variant="subtle" color="gray" onClick={() => void log.refetch()}>{t('action.refresh')}</Button>}>
      {log.isPending ? <Loading rows={2} /> : log.isError ? <Failed what={words(log.error)} retry={() => void log.refetch()} /> : log.data.length === 0 ? <Empty action={<Button component={Link} to="/settings?tab=devices" variant="default" size="compact-md">{t('device.howProvisioned')}</Button>}>{t('device.noLog')}</Empty> : (
        <ul className="list">
          {log.data.map((f) => (
            <li key={f.id}>
              <Pill tone={f.status < 300 ? 'ok' : f.status < 400 ? 'quiet' : 'bad'} plain>{f.status}</Pill>
              <span className="grow cut mono" title={f.file}><bdi>{f.file}</bdi></span>
              <span className="dim mono only-wide">{f.source}</span>
              <span className="dim"><Time at={f.at} /></span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Files({ id }: { id: string }) {
  const [open, setOpen] = useState(false);
  const [name, setName] = useState<string | null>(null);
  const files = useQuery({ queryKey: [...keys.device(id), 'files'], enabled: open, queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/devices/{device}/provisioning-files', { params: { path: { ...inAccount, device: id } }, signal }))).items });
  const file = files.data?.find((f) => f.name === name) ?? files.data?.[0];
  return (
    <Card title={t('device.config')} action={<Button size="compact-md" variant="light" aria-expanded={open} onClick={() => setOpen(!open)}>{t(open ? 'device.hideConfig' : 'device.showConfig')}</Button>}>
      {!open ? <p className="dim">{t('device.configWhat')}</p> : files.isPending ? <Loading rows={3} /> : files.isError ? <Failed what={words(files.error)} retry={() => void files.refetch()} /> : !file ? <p className="dim">{t('device.noConfig')}</p> : (
        <div className="stack">
          {files.data.length > 1 && <Select aria-label={t('device.file')} value={file.name} onChange={setName} data={files.data.map((f) => f.name)} />}
          {files.data.length === 1 && <span className="mono dim">{file.name}</span>}
          <pre className="config" tabIndex={0} role="region" aria-label={file.name}>{file.content}</pre>
        </div>
      )}
    </Card>
  );
}
