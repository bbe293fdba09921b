import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { type ParkedCall, api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { useParking } from '../api/queries';
import { t } from '../i18n/t';
import { Failed, Loading, PageHead } from '../ui/bits';
import { toast } from '../ui/toast';

/** The parking board: one tile a slot, with a ring that fills until the call goes back. */
export default function Parking() {
  const parking = useParking();
  const [now, setNow] = useState(Date.now());
  const busy = (parking.data?.items.length ?? 0) > 0;
  useEffect(() => {
    if (!busy) return;
    const tick = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(tick);
  }, [busy]);
  return (
    <>
      <PageHead title={t('nav.parking')} docTitle={t('nav.parking')} />
      {parking.isPending ? <Loading rows={4} /> : parking.isError && !parking.data ? <Failed what={words(parking.error)} retry={() => void parking.refetch()} /> : (
        <>
          <p className="dim">{t('parking.what')}</p>
          <ul className="slots">
            {parking.data.slots.map((slot) => <Slot key={slot} slot={slot} call={parking.data.items.find((p) => p.slot === slot)} now={now} />)}
          </ul>
        </>
      )}
    </>
  );
}

const who = (p: ParkedCall['caller']) => p.name || p.extension || p.number || t('parking.unknown');

function Slot({ slot, call, now }: { slot: string; call?: ParkedCall; now: number }) {
  const take = async () => {
    try {
      await ok(api.POST('/accounts/{account}/calls', { params: { path: inAccount }, body: { to: slot } }));
      toast({ title: t('parking.ringing'), message: t('parking.ringingWhat') });
    } catch (e) {
      toast({ title: t('toast.error'), message: words(e), bad: true });
    }
  };
  if (!call) return <li className="slot dim"><b className="mono">{slot}</b><span>{t('parking.free')}</span></li>;
  const since = Math.max(0, Math.round((now - Date.parse(call.since)) / 1000));
  const whole = call.returns_at ? (Date.parse(call.returns_at) - Date.parse(call.since)) / 1000 : 0;
  const part = whole ? Math.min(1, since / whole) : 0;
  return (
    <li className="slot taken">
      <svg viewBox="0 0 36 36" width="36" height="36" role="img" aria-label={t('parking.waited', { seconds: since })}>
        <circle cx="18" cy="18" r="15" className="ring" />
        <circle cx="18" cy="18" r="15" className="ring part" strokeDasharray={`${part * 94.2} 94.2`} transform="rotate(-90 18 18)" />
      </svg>
      <span className="grow cut">
        <b className="mono">{slot}</b> <bdi>{who(call.caller)}</bdi>
        <small className="dim">{t('parking.by', { name: who(call.parked_by) })} · {t('parking.waited', { seconds: since })}</small>
      </span>
      <Button size="compact-sm" variant="light" onClick={() => void take()}>{t('parking.take')}</Button>
    </li>
  );
}
