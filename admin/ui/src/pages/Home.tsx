import { Button } from '@mantine/core';
import { type Device } from '../api/client';
import { useDevices, useMessages, useRecords, useTrunks, useUsers } from '../api/queries';
import { words } from '../api/problem';
import { useSession } from '../api/session';
import { Link } from '../app/router';
import { t } from '../i18n/t';
import { useLive } from '../live/store';
import { Card, Empty, Failed, Loading, Note, PageHead, Time } from '../ui/bits';
import { LiveCallRow, OutcomePill, PartyText } from '../ui/calls';
import { DeviceStatus, modelName } from '../ui/devices';
import { clock } from '../ui/format';
import { unfinished } from '../ui/setup';
import { TrunkState, rtt, trunkDown } from '../ui/trunks';

export default function Home() {
  const { admin, me } = useSession();
  const first = me.name.split(' ')[0] ?? me.name;
  return (
    <>
      <PageHead title={t('home.hello', { name: first })} docTitle={t('nav.home')} />
      {admin ? <AdminHome /> : <MemberHome />}
    </>
  );
}

function CallsNow({ hang }: { hang: boolean }) {
  const calls = useLive((s) => s.calls);
  const list = [...calls.values()].sort((a, b) => a.started_at.localeCompare(b.started_at));
  return (
    <Card title={t('home.callsNow')} flush action={<Link to="/calls?tab=now">{t('home.all')}</Link>}>
      <div className="card-body row" style={{ paddingBottom: list.length ? 4 : undefined }}>
        <span className="figure" aria-live="polite">{list.length}<span className="hidden-at-once"> {t('nav.callsNow', { count: list.length })}</span></span>
        {!list.length && <span className="dim">{t('home.quiet')}</span>}
      </div>
      {list.length > 0 && <ul className="list">{list.slice(0, 8).map((c) => <LiveCallRow key={c.id} call={c} hang={hang} />)}</ul>}
    </Card>
  );
}

function Phones() {
  const devices = useDevices();
  if (devices.isPending) return <Card title={t('home.phones')} flush><Loading rows={2} /></Card>;
  if (devices.isError) return <Card title={t('home.phones')} flush><Failed what={words(devices.error)} retry={() => void devices.refetch()} /></Card>;
  const phones = devices.data.filter((d) => d.lines.length > 0);
  const off = phones.filter((d) => !d.online);
  const on = phones.length - off.length;
  return (
    <Card title={t('home.phones')} flush action={<Link to="/devices">{t('home.all')}</Link>}>
      {phones.length === 0 ? (
        <Empty action={<Button component={Link} to="/devices?new=1" variant="light">{t('devices.add')}</Button>}>{t('home.noPhones')}</Empty>
      ) : (
        <>
          <div className="card-body stack" style={{ gap: 8 }}>
            <div className="row"><span className="figure">{on}<small> {t('home.of', { count: phones.length })}</small></span><span className="dim">{t('home.registered')}</span></div>
            <span className="gauge" aria-hidden><i style={{ width: `${(100 * on) / phones.length}%` }} /></span>
          </div>
          {off.length > 0 && (
            <ul className="list" aria-label={t('home.offline')}>
              {off.slice(0, 6).map((d) => <OfflineRow key={d.id} device={d} />)}
            </ul>
          )}
          {off.length > 6 && <p className="dim" style={{ padding: '0.5rem 1rem 0.75rem' }}>{t('home.more', { count: off.length - 6 })}</p>}
        </>
      )}
    </Card>
  );
}

function OfflineRow({ device: d }: { device: Device }) {
  return (
    <li>
      <span className="grow cut"><Link to={`/devices/${d.id}`}><bdi>{d.name}</bdi></Link> <span className="dim"><bdi>{d.lines.map((l) => l.user_name).join(', ')}</bdi></span></span>
      <DeviceStatus device={d} />
      {d.last_seen && <span className="dim"><Time at={d.last_seen} /></span>}
    </li>
  );
}

function VoicemailCard() {
  const messages = useMessages();
  const fresh = (messages.data?.items ?? []).filter((m) => !m.read);
  return (
    <Card title={t('home.voicemail')} flush action={<Link to="/voicemail">{t('home.all')}</Link>}>
      {messages.isError ? <Failed what={words(messages.error)} retry={() => void messages.refetch()} /> : (
        <>
          <div className="card-body row" style={{ paddingBottom: fresh.length ? 4 : undefined }}>
            <span className="figure">{fresh.length}</span>
            <span className="dim">{t('home.newMessages', { count: fresh.length })}</span>
          </div>
          {fresh.length > 0 && (
            <ul className="list">
              {fresh.slice(0, 5).map((m) => (
                <li key={m.id}>
                  <span className="grow cut"><Link to={`/voicemail?id=${m.id}`}><bdi>{m.caller.name || m.caller.number || t('party.unknown')}</bdi></Link></span>
                  <span className="dim">{clock(m.duration_s)}</span>
                  <span className="dim"><Time at={m.received_at} /></span>
                </li>
              ))}
            </ul>
          )}
        </>
      )}
    </Card>
  );
}

/** The lines to carriers; no card while there is none. */
function TrunksCard() {
  const trunks = useTrunks();
  const all = trunks.data ?? [];
  if (!all.length) return null;
  const up = all.filter((x) => x.enabled && !trunkDown(x)).length;
  return (
    <Card title={t('nav.trunks')} flush action={<Link to="/trunks">{t('home.all')}</Link>}>
      <div className="card-body row"><span className="figure">{up}<small> {t('home.of', { count: all.length })}</small></span><span className="dim">{t('home.trunksUp')}</span></div>
      <ul className="list">
        {all.slice(0, 6).map((x) => <li key={x.id}><span className="grow cut"><Link to={`/trunks/${x.id}`}><bdi>{x.name}</bdi></Link></span><span className="dim">{rtt(x.status.rtt_ms)}</span><TrunkState trunk={x} /></li>)}
      </ul>
    </Card>
  );
}

/** Only what is really wrong; no card when nothing is. */
function Problems() {
  const users = useUsers();
  const devices = useDevices();
  const link = useLive((s) => s.link);
  const trunks = useTrunks();
  const found: { text: string; to: string; cure: string }[] = [];
  const unreachable = (users.data ?? []).filter((u) => u.extension && u.devices.length === 0);
  const nobody = (devices.data ?? []).filter((d) => d.kind !== 'dect_base' && d.lines.length === 0);
  if (unreachable.length) found.push({ text: t('problem.noPhone', { count: unreachable.length, name: unreachable[0]!.name }), to: unreachable.length === 1 ? `/users/${unreachable[0]!.id}` : '/users', cure: t('users.assign') });
  if (nobody.length) found.push({ text: t('problem.noUser', { count: nobody.length, name: nobody[0]!.name }), to: nobody.length === 1 ? `/devices/${nobody[0]!.id}` : '/devices', cure: t('problem.assign') });
  for (const x of (trunks.data ?? []).filter(trunkDown)) found.push({ text: t('problem.trunk', { name: x.name, reason: x.status.reason }), to: `/trunks/${x.id}`, cure: t('problem.look') });
  if (link === 'offline') found.push({ text: t('problem.offline'), to: '/', cure: '' });
  if (!found.length) return null;
  return (
    <Card title={t('home.problems')} flush>
      <ul className="list">
        {found.map((p) => (
          <li key={p.text}>
            <span className="dot" style={{ color: 'var(--warn)' }} aria-hidden />
            <span className="grow">{p.text}</span>
            {p.cure && <Link to={p.to}>{p.cure}</Link>}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function LastCalls() {
  const records = useRecords({}, 6);
  const { me } = useSession();
  const items = records.data?.pages[0]?.items ?? [];
  return (
    <Card title={t('home.lastCalls')} flush action={<Link to="/calls?tab=history">{t('home.all')}</Link>}>
      {records.isPending ? <Loading rows={3} /> : records.isError ? <Failed what={words(records.error)} retry={() => void records.refetch()} /> : items.length === 0 ? <Empty>{t('calls.none')}</Empty> : (
        <ul className="list">
          {items.slice(0, 6).map((r) => (
            <li key={r.id}>
              <span className="grow cut">
                <Link to={`/calls/${r.id}`}><PartyText party={r.caller} /> <span aria-hidden>→</span> <span className="hidden-at-once">{t('call.to')}</span> <PartyText party={r.callee} otherwise={r.dialed} /></Link>
              </span>
              {r.callee.user_id === me.id && r.outcome !== 'answered' && r.outcome !== 'ongoing' ? <span className="hidden-at-once">{t('home.missed')}</span> : null}
              <OutcomePill outcome={r.outcome} />
              <span className="dim only-wide"><Time at={r.started_at} /></span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function AdminHome() {
  return (
    <div className="stack" style={{ gap: 16 }}>
      {unfinished() && <Note action={<Button component={Link} to="/setup" size="compact-md">{t('home.continue')}</Button>}>{t('home.unfinished')}</Note>}
      <div className="home">
        <div className="stack" style={{ gap: 16 }}><CallsNow hang /><LastCalls /></div>
        <div className="stack" style={{ gap: 16 }}><Problems /><Phones /><TrunksCard /><VoicemailCard /></div>
      </div>
    </div>
  );
}

function MemberHome() {
  const { me } = useSession();
  return (
    <div className="home">
      <div className="stack" style={{ gap: 16 }}><CallsNow hang /><LastCalls /></div>
      <div className="stack" style={{ gap: 16 }}>
        <VoicemailCard />
        <Card title={t('home.myDevices')} flush>
          {me.devices.length === 0 ? <Empty>{t('home.noDevices')}</Empty> : (
            <ul className="list">
              {me.devices.map((d) => (
                <li key={d.id}><span className="grow cut"><bdi>{d.name}</bdi> <span className="dim">{modelName(d)}</span></span><DeviceStatus device={{ online: d.online, last_seen: d.online ? null : '1' }} /></li>
              ))}
            </ul>
          )}
        </Card>
      </div>
    </div>
  );
}
