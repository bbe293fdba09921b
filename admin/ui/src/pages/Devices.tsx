import { Button, Modal } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import type { Device, DeviceKind } from '../api/client';
import { words } from '../api/problem';
import { useDevices } from '../api/queries';
import { Link, useQueryParam } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Empty, Failed, Loading, Note, PageHead, Time } from '../ui/bits';
import { type Created, Credentials, DeviceForm, DeviceStatus, modelName } from '../ui/devices';
import { formatMac } from '../ui/format';
import { type Column, SearchBox, Table, sortRows, usePage, useSearchText, useSort } from '../ui/table';
import { toast } from '../ui/toast';

const people = (d: Device) => d.lines.map((l) => l.user_name).join(', ');
const address = (d: Device) => d.registrations[0]?.source ?? '';

function Assigned({ device: d }: { device: Device }) {
  if (!d.lines.length) return <span className="dim">{t('devices.unassigned')}</span>;
  const owners = new Set(d.user_ids);
  if (owners.size > 1) return <span title={people(d)}>{t('devices.shared', { count: owners.size })}</span>;
  return <bdi className="cut">{d.lines[0]!.user_name}</bdi>;
}

const columns: Column<Device>[] = [
  { id: 'name', title: t('devices.name'), lead: true, by: (d) => d.name, cell: (d) => <Link className="name cut" to={`/devices/${d.id}`}><bdi>{d.name}</bdi></Link> },
  { id: 'model', title: t('devices.model'), by: modelName, cell: (d) => modelName(d) },
  { id: 'mac', title: t('devices.macShort'), by: (d) => d.mac ?? '', cell: (d) => (d.mac ? <span className="mono">{formatMac(d.mac)}</span> : <span className="dim">{t('value.none')}</span>) },
  { id: 'user', title: t('devices.assignedTo'), by: people, cell: (d) => <Assigned device={d} /> },
  { id: 'status', title: t('devices.status'), by: (d) => (d.online ? 0 : d.last_seen ? 1 : 2), cell: (d) => <DeviceStatus device={d} /> },
  { id: 'address', title: t('devices.address'), by: address, wide: true, cell: (d) => (address(d) ? <span className="mono">{address(d)}</span> : <span className="dim">{t('value.none')}</span>) },
  { id: 'seen', title: t('devices.lastSeen'), by: (d) => Date.parse(d.last_seen ?? '') || 0, wide: true, cell: (d) => <span className="dim"><Time at={d.last_seen} /></span> },
];

const kinds: DeviceKind[] = ['deskphone', 'dect_base', 'dect_handset', 'softphone'];

export default function Devices() {
  const devices = useDevices();
  const text = useSearchText().toLowerCase();
  const [, setQ] = useQueryParam('q');
  const [adding, setAdding] = useQueryParam('new');
  const [made, setMade] = useState<Created | null>(null);
  const [fresh, setFresh] = useState('');
  const sort = useSort('name');
  const found = useMemo(() => {
    const all = devices.data ?? [];
    const digits = text.replace(/[:\-.]/g, '');
    const hits = text ? all.filter((d) => `${d.name} ${modelName(d)} ${people(d)}`.toLowerCase().includes(text) || (digits && (d.mac ?? '').includes(digits))) : all;
    return sortRows(hits, columns, sort[0], sort[1]);
  }, [devices.data, text, sort[0], sort[1]]);
  const [rows, pager] = usePage(found);
  const close = () => {
    setAdding('');
    setMade(null);
  };
  const button = <Button data-create leftSection={<IconPlus size={17} aria-hidden />} onClick={() => setAdding('1')}>{t('devices.add')}</Button>;

  return (
    <>
      <PageHead title={t('nav.devices')} docTitle={t('nav.devices')} actions={button} />
      {devices.isPending ? <Loading rows={6} /> : devices.isError && !devices.data ? <Failed what={words(devices.error)} retry={() => void devices.refetch()} /> : devices.data.length === 0 ? (
        <div className="card"><Empty action={button}>{t('devices.empty')}</Empty></div>
      ) : (
        <>
          <div className="toolbar">
            <SearchBox placeholder={t('devices.searchHint')} />
            <span className="dim" role="status" style={{ marginInlineStart: 'auto' }}>{t('devices.count', { count: found.length })}</span>
          </div>
          {found.length === 0 ? (
            <div className="card"><Empty action={<Button variant="default" onClick={() => setQ('')}>{t('action.clearSearch')}</Button>}><T k="devices.noMatch" v={{ text: <bdi>{text}</bdi> }} /></Empty></div>
          ) : <Table name={t('nav.devices')} columns={columns} rows={rows} rowKey={(d) => d.id} to={(d) => `/devices/${d.id}`} sort={sort} flash={fresh} />}
          {pager}
        </>
      )}
      <Modal opened={Boolean(adding)} onClose={close} title={made ? t('devices.ready') : t('devices.add')}>
        {made ? (
          <div className="stack" style={{ gap: 14 }}>
            <Note tone="ok">{t(made.kind === 'softphone' ? 'devices.typeIn' : 'devices.typeInOr', { name: made.name })}</Note>
            {made.sip && <Credentials line={made.sip} />}
            <div className="row" style={{ justifyContent: 'flex-end' }}>
              <Button component={Link} to={`/devices/${made.id}`} variant="default">{t('devices.open')}</Button>
              <Button onClick={close}>{t('action.done')}</Button>
            </div>
          </div>
        ) : (
          <DeviceForm
            kinds={kinds}
            submit={t('devices.add')}
            onDone={(d) => {
              setFresh(d.id);
              toast({ title: t('devices.added'), message: d.name });
              if (d.sip) setMade(d);
              else close();
            }}
          />
        )}
      </Modal>
    </>
  );
}
