import { Fragment, useId, useMemo, useState } from 'react';
import { t } from '../i18n/t';
import { clockTime } from './format';

export interface LadderLeg {
  name: string;
  /** What else tells it apart, such as its transport and address. */
  detail?: string;
}

export interface LadderMessage {
  at: string;
  sent: boolean;
  transport: string;
  local: string;
  remote: string;
  /** Which leg it belongs to. */
  leg: number;
  /** Repeats an earlier message, octet for octet. */
  again: boolean;
  raw: string;
}

/** A message with the repetitions of it that were folded into it. */
export interface Rung extends LadderMessage {
  title: string;
  note: string;
  repeats: number;
}

const header = (raw: string, name: RegExp) => name.exec(raw)?.[1]?.trim() ?? '';

/** What a message is, in a few words: "INVITE", "200 OK", and the method that an answer belongs to. */
export function summary(raw: string): { title: string; note: string } {
  const first = raw.slice(0, raw.search(/\r?\n|$/));
  const method = header(raw, /^CSeq\s*:\s*\d+\s+(\S+)/im);
  const sdp = /^Content-Type\s*:\s*application\/sdp/im.test(raw) || /^c\s*:\s*application\/sdp/im.test(raw);
  const answer = /^SIP\/2\.0 (\d{3})\s?(.*)$/.exec(first);
  const note = [answer ? method : '', sdp ? 'SDP' : ''].filter(Boolean).join(', ');
  return answer ? { title: `${answer[1]} ${answer[2]}`.trim(), note } : { title: first.split(' ')[0] ?? '', note };
}

/** Folds repetitions into the message they repeat. */
export function fold(messages: LadderMessage[]): Rung[] {
  const rungs: Rung[] = [];
  for (const m of messages) {
    const same = m.again && rungs.find((r) => r.leg === m.leg && r.sent === m.sent && r.raw === m.raw);
    if (same) same.repeats++;
    else rungs.push({ ...m, ...summary(m.raw), repeats: 0 });
  }
  return rungs;
}

function Arrow({ left, refusal }: { left: boolean; refusal: boolean }) {
  return (
    <svg className={`arrow${refusal ? ' refusal' : ''}`} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden>
      <line x1="0" y1="4" x2="100" y2="4" vectorEffect="non-scaling-stroke" />
      <path d={left ? 'M6 0 0 4l6 4' : 'M94 0l6 4-6 4'} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

/**
 * The messages of a call as a ladder: one column for each party, the system
 * between the caller and everybody else. It is a table, and read as one.
 */
export function Ladder({ legs, messages }: { legs: LadderLeg[]; messages: LadderMessage[] }) {
  const rungs = useMemo(() => fold(messages), [messages]);
  const [open, setOpen] = useState<number | null>(null);
  const id = useId();
  const start = rungs.length ? Date.parse(rungs[0]!.at) : 0;
  const since = (at: string) => `+${((Date.parse(at) - start) / 1000).toFixed(3)}`;
  const [caller, ...others] = legs.map((leg, i) => ({ ...leg, i }));
  if (!caller) return null;
  const cell = (m: Rung, n: number, leg: number, mine: boolean) => {
    const rail = mine ? 'rail caller' : 'rail';
    if (m.leg !== leg) return <td key={leg} className={rail} />;
    const left = mine ? m.sent : !m.sent; // the caller stands left of us, the others right
    const from = m.sent ? t('ladder.us') : legs[leg]!.name;
    const to = m.sent ? legs[leg]!.name : t('ladder.us');
    return (
      <td key={leg} className={rail}>
        <button type="button" className="rung" aria-label={[t('ladder.fromTo', { from, to }), m.title, m.note, m.repeats ? t('ladder.repeats', { count: m.repeats }) : ''].filter(Boolean).join(' ')} aria-expanded={open === n} aria-controls={open === n ? `${id}-${n}` : undefined} onClick={() => setOpen(open === n ? null : n)}>
          <span className="rung-text"><bdi>{m.title}</bdi>{m.note && <span className="dim"> <bdi>{m.note}</bdi></span>}{m.repeats > 0 && <span className="pill warn plain">{t('ladder.repeats', { count: m.repeats })}</span>}</span>
          <Arrow left={left} refusal={/^[3-6]\d\d /.test(m.title)} />
        </button>
      </td>
    );
  };
  return (
    <div className="ladder-frame" role="region" aria-label={t('ladder.name')} tabIndex={0}>
      <table className="ladder" aria-label={t('ladder.name')}>
        <thead>
          <tr>
            <th scope="col">{t('ladder.time')}</th>
            <th scope="col"><LegName leg={caller} /></th>
            <th scope="col" className="us"><span className="hidden-at-once">{t('ladder.us')}</span></th>
            {others.map((leg) => <th key={leg.i} scope="col"><LegName leg={leg} /></th>)}
          </tr>
        </thead>
        <tbody>
          {rungs.map((m, n) => (
            <Fragment key={n}>
              <tr className={open === n ? 'open' : undefined}>
                <td className="when mono" title={m.at}>{n === 0 ? clockTime(m.at) : since(m.at)}</td>
                {cell(m, n, caller.i, true)}
                <td className="us" />
                {others.map((leg) => cell(m, n, leg.i, false))}
              </tr>
              {open === n && (
                <tr>
                  <td colSpan={3 + others.length} id={`${id}-${n}`} className="letter">
                    <div>
                      <p className="dim small mono"><bdi>{m.sent ? `${m.local} → ${m.remote}` : `${m.remote} → ${m.local}`}</bdi> · {m.transport.toUpperCase()} · {t('ladder.octets', { count: new TextEncoder().encode(m.raw).length })}</p>
                      <pre tabIndex={0}><bdi>{m.raw}</bdi></pre>
                    </div>
                  </td>
                </tr>
              )}
            </Fragment>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function LegName({ leg }: { leg: LadderLeg }) {
  return <><bdi>{leg.name}</bdi>{leg.detail && <span className="dim small mono leg-detail"><bdi>{leg.detail}</bdi></span>}</>;
}
