import { Button } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { api, base, account, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { t } from '../i18n/t';
import { Card, Empty, Failed, Loading, Note } from '../ui/bits';
import { Ladder } from '../ui/Ladder';

/** The SIP messages of a call: the ladder, and the same as a capture file. */
export default function CallTrace({ id }: { id: string }) {
  const trace = useQuery({
    queryKey: ['record', id, 'trace'],
    queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/call-records/{call}/trace', { params: { path: { ...inAccount, call: id } }, signal })),
    refetchInterval: (q) => (q.state.data?.running ? 2000 : false),
  });
  if (trace.isPending) return <Loading rows={6} />;
  if (trace.isError && !trace.data) return <Failed what={words(trace.error)} retry={() => void trace.refetch()} />;
  const { items, legs, dropped } = trace.data;
  if (!items.length) return <div className="card"><Empty>{t('trace.none')}</Empty></div>;
  const place = new Map(legs.map((l, i) => [l.leg, i]));
  return (
    <Card
      title={t('trace.title')}
      flush
      action={<Button component="a" href={`${base}/accounts/${account}/call-records/${id}/trace.pcap`} download variant="default" size="compact-md" leftSection={<IconDownload size={16} aria-hidden />}>{t('trace.pcap')}</Button>}
    >
      {dropped > 0 && <div className="card-body"><Note>{t('trace.dropped', { count: dropped })}</Note></div>}
      <Ladder
        legs={legs.map((l) => ({ name: l.name || t('trace.leg', { n: l.leg }), detail: l.remote }))}
        messages={items.map((m) => ({ at: m.at, sent: m.direction === 'sent', transport: m.transport, local: m.local, remote: m.remote, leg: place.get(m.leg) ?? 0, again: m.retransmission, raw: m.raw }))}
      />
    </Card>
  );
}
