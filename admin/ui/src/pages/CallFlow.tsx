import { Button, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, useEffect, useState } from 'react';
import { api, inAccount } from '../api/client';
import { ok, words } from '../api/problem';
import { useUsers } from '../api/queries';
import type { components } from '../api/schema';
import { setQuery, useAddress } from '../app/router';
import { has, t } from '../i18n/t';
import { Card, Empty, Failed, Loading, PageHead } from '../ui/bits';
import { clock } from '../ui/format';

type Step = components['schemas']['SimulationStep'];

/** "What happens if … calls … at …?", answered by the routing itself. */
export default function CallFlow() {
  const { search } = useAddress();
  const asked = { from: search.get('from') ?? '', to: search.get('to') ?? '', at: search.get('at') ?? '' };
  const [from, setFrom] = useState(asked.from);
  const [to, setTo] = useState(asked.to);
  const [at, setAt] = useState(asked.at);
  const users = useUsers();
  useEffect(() => {
    setFrom(asked.from);
    setTo(asked.to);
    setAt(asked.at);
  }, [asked.from, asked.to, asked.at]);
  const time = asked.at ? new Date(asked.at) : null;
  const answer = useQuery({
    queryKey: ['simulate', asked.from, asked.to, asked.at],
    enabled: asked.to !== '',
    staleTime: 0,
    queryFn: ({ signal }) => ok(api.POST('/accounts/{account}/simulate', { params: { path: inAccount }, body: { to: asked.to, ...(asked.from ? { from: asked.from } : {}), ...(time && !Number.isNaN(time.getTime()) ? { at: time.toISOString() } : {}) }, signal })),
  });
  const run = (e: FormEvent) => {
    e.preventDefault();
    if (!to.trim()) return document.getElementById('flow-to')?.focus();
    if (to.trim() === asked.to && from.trim() === asked.from && at === asked.at) void answer.refetch();
    setQuery({ from: from.trim(), to: to.trim(), at }, true);
  };
  const numbers = (users.data ?? []).filter((u) => u.extension);
  return (
    <>
      <PageHead title={t('nav.callFlow')} docTitle={t('nav.callFlow')} />
      <form className="card card-body flow-question" onSubmit={run}>
        <TextInput label={t('flow.from')} value={from} onChange={(e) => setFrom(e.currentTarget.value)} placeholder={t('flow.anyone')} list="flow-numbers" autoComplete="off" />
        <TextInput id="flow-to" label={t('flow.to')} value={to} onChange={(e) => setTo(e.currentTarget.value)} placeholder="101" list="flow-numbers" autoComplete="off" data-list-search />
        <TextInput label={t('flow.at')} type="datetime-local" value={at} onChange={(e) => setAt(e.currentTarget.value)} />
        <Button type="submit">{t('flow.run')}</Button>
        <datalist id="flow-numbers">{numbers.map((u) => <option key={u.id} value={u.extension ?? ''}>{u.name}</option>)}</datalist>
      </form>
      <div aria-live="polite" style={{ marginTop: 16 }}>
        {!asked.to ? <div className="card"><Empty>{t('flow.what')}</Empty></div> : answer.isPending ? <Loading rows={3} /> : answer.isError ? <div className="card"><Failed what={words(answer.error)} retry={() => void answer.refetch()} /></div> : (
          <Card title={t('flow.result', { from: asked.from || t('flow.anyone'), to: asked.to })}>
            {answer.data.steps.length === 0 ? <p className="dim">{t('flow.nothing')}</p> : (
              <>
                <Picture to={asked.to} from={asked.from} steps={answer.data.steps} />
                <ol className="stations">
                  {answer.data.steps.map((s, i) => (
                    <li key={i} className={`station leg-${s.action}`}>
                      <div className="row apart"><b>{actionName(s.action)}</b><span className="dim">{clock(s.at_s)}</span></div>
                      <div><bdi>{s.detail}</bdi></div>
                      <div className="dim"><bdi>{s.because}</bdi></div>
                    </li>
                  ))}
                </ol>
              </>
            )}
          </Card>
        )}
      </div>
    </>
  );
}

const actionName = (a: string) => {
  const key = `flow.action.${a}`;
  return has(key) ? t(key) : a;
};

const width = 176;
const gap = 44;
const height = 62;

const cutText = (s: string, n: number) => ([...s].length > n ? `${[...s].slice(0, n - 1).join('')}…` : s);

/** The same steps from left to right; people who cannot see it have the list below. */
function Picture({ from, to, steps }: { from: string; to: string; steps: Step[] }) {
  const boxes = [{ title: from || t('flow.anyone'), text: t('flow.calls', { to }), kind: 'start', at: '' }, ...steps.map((s) => ({ title: actionName(s.action), text: s.detail, kind: s.action, at: clock(s.at_s) }))];
  const total = boxes.length * width + (boxes.length - 1) * gap;
  return (
    <div className="flow-picture only-wide" tabIndex={0} role="region" aria-label={t('flow.picture')}>
      <svg width={total + 4} height={height + 26} viewBox={`-2 -22 ${total + 4} ${height + 26}`} aria-hidden>
        {boxes.map((b, i) => {
          const x = i * (width + gap);
          return (
            <g key={i} className={`node ${b.kind}`}>
              {i > 0 && <path className="edge" d={`M${x - gap + 4} ${height / 2}H${x - 5}`} />}
              {i > 0 && <circle className="joint" cx={x - 5} cy={height / 2} r="4" />}
              <rect x={x} y={0} width={width} height={height} rx="11" />
              <text className="at" x={x + 2} y={-7}>{b.at}</text>
              <text className="title" x={x + 14} y={25}>{cutText(b.title, 20)}</text>
              <text x={x + 14} y={45}>{cutText(b.text, 24)}</text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
