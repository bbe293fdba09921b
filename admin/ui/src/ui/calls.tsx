import { ActionIcon, Tooltip } from '@mantine/core';
import { IconLock, IconPhoneOff } from '@tabler/icons-react';
import { type Call, type CallRecord, api, inAccount } from '../api/client';
import { isProblem, ok, words } from '../api/problem';
import { useSession } from '../api/session';
import { has, t } from '../i18n/t';
import type { LiveCall, Party } from '../live/store';
import { Pill, Running, type Tone } from './bits';
import { clock } from './format';
import { toast } from './toast';

type SomeParty = Party | CallRecord['caller'];

/** How a party is called on the screen: name, else number, else extension. */
export function partyName(p: SomeParty, otherwise = ''): string {
  return p.name || p.extension || p.number || otherwise || t('party.unknown');
}
export function partyNumber(p: SomeParty): string {
  const n = p.extension || p.number || '';
  return n === partyName(p) ? '' : n;
}

/** A lock beside whose sound is encrypted. */
export function Lock({ suite }: { suite?: string }) {
  if (!suite) return null;
  const label = t('call.encrypted', { suite });
  return <Tooltip label={label}><IconLock size={14} role="img" aria-label={label} style={{ verticalAlign: '-0.15em' }} /></Tooltip>;
}

export function PartyText({ party, otherwise }: { party: SomeParty; otherwise?: string }) {
  const number = partyNumber(party);
  const name = partyName(party, otherwise);
  return (
    <span className="cut" title={name}>
      <bdi style={{ fontWeight: 560 }}>{name}</bdi>
      {number && <span className="dim"> <bdi>{number}</bdi></span>} <Lock suite={party.encrypted} />
    </span>
  );
}

const outcomeTones: Record<CallRecord['outcome'], Tone> = {
  ongoing: 'info', answered: 'ok', voicemail: 'accent', cancelled: 'quiet', busy: 'warn', no_answer: 'warn', unreachable: 'bad', declined: 'warn', failed: 'bad', interrupted: 'bad',
};
/** What a carrier found when it checked who calls, and how sure it is. */
export function Verified({ caller }: { caller: Pick<CallRecord['caller'], 'verstat' | 'attestation'> }) {
  if (!caller.verstat) return null;
  const tone: Record<string, Tone> = { passed: 'ok', failed: 'bad' };
  return <><Pill tone={tone[caller.verstat]}>{t(`verstat.${caller.verstat}`)}</Pill>{caller.attestation && <> <span className="dim">{t(`attestation.${caller.attestation}`)}</span></>}</>;
}

export function OutcomePill({ outcome }: { outcome: CallRecord['outcome'] }) {
  return <Pill tone={outcomeTones[outcome]}>{t(`outcome.${outcome}`)}</Pill>;
}

export function StatePill({ state }: { state: string }) {
  const key = `call.state.${state}`;
  const name = has(key) ? t(key) : state;
  const tone: Tone = state === 'ringing' ? 'warn' : state === 'held' ? 'info' : state === 'voicemail' || state === 'mailbox' ? 'accent' : 'ok';
  return <Pill tone={tone} beat={state === 'ringing'}>{name}</Pill>;
}

/** One call in a sentence, for its page and for people who cannot see the picture. */
export function sentence(r: CallRecord): string {
  const values = { caller: withNumber(r.caller), callee: withNumber(r.callee, r.dialed), dialed: r.dialed };
  const wait = r.answered_at ? clock((Date.parse(r.answered_at) - Date.parse(r.started_at)) / 1000) : '';
  switch (r.outcome) {
    case 'answered':
      return t('sentence.answered', { ...values, wait, talk: clock(r.talk_s ?? 0) });
    case 'voicemail':
      return t('sentence.voicemail', values);
    case 'ongoing':
      return t('sentence.ongoing', values);
    default:
      return t(`sentence.${r.outcome}`, values);
  }
}
function withNumber(p: CallRecord['caller'], otherwise?: string): string {
  const number = partyNumber(p);
  const name = partyName(p, otherwise);
  return number ? t('user.withExtension', { name, extension: number }) : name;
}

export async function hangUp(id: string) {
  try {
    await ok(api.DELETE('/accounts/{account}/calls/{call}', { params: { path: { ...inAccount, call: id } } }));
  } catch (e) {
    if (!isProblem(e, 404)) toast({ title: t('toast.error'), message: words(e), bad: true });
  }
}

/** A live call: who, with whom, for how long. */
export function LiveCallRow({ call, hang }: { call: LiveCall | Call; hang?: boolean }) {
  const { me, admin } = useSession();
  const mine = call.caller.user_id === me.id || call.callee.user_id === me.id;
  return (
    <li className="call">
      <div className="call-line grow">
        <PartyText party={call.caller} />
        <svg className={`wire ${call.state}`} viewBox="0 0 56 12" aria-hidden><path d="M6 6h44" /><circle cx="6" cy="6" r="4" /><circle className="far" cx="50" cy="6" r="4" /></svg>
        <span className="hidden-at-once">{t('call.to')}</span>
        <PartyText party={call.callee} otherwise={call.dialed} />
      </div>
      {!!call.faults?.length && <Pill tone="bad">{t('call.silent')}</Pill>}
      <StatePill state={call.state} />
      <span style={{ minWidth: '2.6rem', textAlign: 'end' }}><Running since={call.answered_at ?? call.started_at} /></span>
      {hang && (admin || mine) && (
        <Tooltip label={t('call.hangUp')}>
          <ActionIcon size={32} variant="subtle" color="red.8" aria-label={t('call.hangUpNamed', { caller: partyName(call.caller), callee: partyName(call.callee, call.dialed) })} onClick={() => void hangUp(call.id)}><IconPhoneOff size={18} aria-hidden /></ActionIcon>
        </Tooltip>
      )}
    </li>
  );
}
