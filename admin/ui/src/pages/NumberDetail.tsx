import { Button } from '@mantine/core';
import { autosave, cache, refusal } from '../api/cache';
import { type PhoneNumber, api, ifMatch, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { type NumberPatch, keys, saveNumber, useNumber, useUsers } from '../api/queries';
import { useAccount } from '../api/queries';
import { Link, navigate } from '../app/router';
import { t } from '../i18n/t';
import { T } from '../i18n/T';
import { Card, Failed, Loading, PageHead, Pill } from '../ui/bits';
import { ask } from '../ui/confirm';
import { ConflictNote } from '../ui/conflict';
import { CopyButton } from '../ui/CopyButton';
import { DestinationFields } from '../ui/destination';
import { useDraft } from '../ui/draft';
import { DraftCard } from '../ui/DraftCard';
import { InlineEdit } from '../ui/InlineEdit';
import { saved, toast } from '../ui/toast';
import { TrunkSelect, destinationError } from './PhoneNumbers';

export default function NumberDetail({ params }: { params: Record<string, string> }) {
  const number = useNumber(params.id!);
  if (number.isPending) return <Loading rows={4} />;
  if (number.isError && !number.data) {
    return (
      <>
        <PageHead title={t('numbers.one')} docTitle={t('numbers.one')} back={{ to: '/phone-numbers', label: t('nav.numbers') }} />
        <Failed what={words(number.error)} retry={() => void number.refetch()} />
      </>
    );
  }
  const n = number.data;
  const relabel = async (label: string) => {
    try {
      await saveNumber(n.id, { label: label || null });
      saved();
      return undefined;
    } catch (e) {
      return refusal(e, 'label');
    }
  };
  return (
    <>
      <PageHead
        docTitle={n.number}
        back={{ to: '/phone-numbers', label: t('nav.numbers') }}
        title={<h1 className="row"><bdi className="mono">{n.number}</bdi><CopyButton what={t('numbers.number').toLowerCase()} value={n.number} /></h1>}
        aside={<Pill tone={n.status === 'active' ? 'ok' : 'warn'}>{n.status}</Pill>}
      />
      <ConflictNote id={n.id} queryKey={keys.number(n.id)} />
      <div className="cards two">
        <div className="stack" style={{ gap: 16 }}>
          <Incoming number={n} />
        </div>
        <div className="stack" style={{ gap: 16 }}>
          <Card title={t('numbers.about')}>
            <dl className="facts middle">
              <dt>{t('numbers.label')}</dt><dd><InlineEdit label={t('numbers.label')} value={n.label} save={relabel} /></dd>
              <dt>{t('numbers.kind')}</dt><dd>{t(`numbers.kind.${n.kind}`)}</dd>
            </dl>
            <div style={{ marginTop: 14 }}>
              <TrunkSelect value={n.trunk_id} onChange={(trunk_id) => trunk_id !== n.trunk_id && void autosave(() => saveNumber(n.id, { trunk_id }))} />
            </div>
          </Card>
          <ShownBy number={n} />
          <Card title={t('user.danger')}>
            <div className="row apart wrap">
              <span className="dim grow">{t('numbers.deleteWhat')}</span>
              <Button
                color="red.8"
                variant="outline"
                className="danger"
                onClick={() =>
                  ask({
                    title: t('numbers.release'),
                    body: <T k="numbers.releaseBody" v={{ number: <b className="mono">{n.number}</b> }} />,
                    verb: t('numbers.release'),
                    run: async () => {
                      await ok(api.DELETE('/accounts/{account}/numbers/{number}', { params: { path: { ...inAccount, number: n.id } }, headers: ifMatch(n.version) }));
                      cache.setQueryData<PhoneNumber[]>(keys.numbers, (all) => all?.filter((x) => x.id !== n.id));
                      navigate('/phone-numbers');
                      cache.removeQueries({ queryKey: keys.number(n.id) });
                      toast({ title: t('numbers.released'), message: t('numbers.releasedWhat', { number: n.number }) });
                    },
                  })
                }
              >
                {t('numbers.release')}
              </Button>
            </div>
          </Card>
        </div>
      </div>
    </>
  );
}

function Incoming({ number: n }: { number: PhoneNumber }) {
  const form = useDraft<PhoneNumber, NumberPatch>(n, (patch) => saveNumber(n.id, patch));
  return (
    <DraftCard title={t('numbers.incoming')} form={form}>
      <DestinationFields value={form.value.destination} onChange={(destination) => form.set({ destination })} error={destinationError(form.errors)} />
      {!form.dirty && <p className="dim">{t('numbers.leadsTo', { destination: n.destination_label })}</p>}
    </DraftCard>
  );
}

/** Who shows this number when they call out. */
function ShownBy({ number: n }: { number: PhoneNumber }) {
  const users = useUsers();
  const account = useAccount();
  const mine = (users.data ?? []).filter((u) => u.outbound_number_id === n.id);
  const standard = account.data?.default_outbound_number_id === n.id;
  return (
    <Card title={t('numbers.shownBy')} flush>
      {!standard && mine.length === 0 ? <p className="card-body dim">{t('numbers.shownByNobody')}</p> : (
        <ul className="list">
          {standard && <li>{t('numbers.shownByAll')}</li>}
          {mine.map((u) => <li key={u.id}><Link to={`/users/${u.id}`}><bdi>{u.name}</bdi></Link> <span className="dim">{u.extension}</span></li>)}
        </ul>
      )}
    </Card>
  );
}
