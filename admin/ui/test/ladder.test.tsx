import { fireEvent, screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { Ladder, type LadderMessage, fold, summary } from '../src/ui/Ladder';
import { show } from './wrap';

const message = (over: Partial<LadderMessage>): LadderMessage => ({
  at: '2026-11-24T10:00:00.000Z', sent: false, transport: 'udp', local: '192.0.2.1:5060', remote: '192.0.2.7:5060', leg: 0, again: false, raw: 'INVITE sip:102@pbx SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n', ...over,
});

describe('summary', () => {
  it('names a request by its method and says that it carries a description', () => {
    expect(summary('INVITE sip:102@pbx SIP/2.0\r\nc: application/sdp\r\n\r\n')).toEqual({ title: 'INVITE', note: 'SDP' });
  });
  it('names an answer by status, phrase and the method it belongs to', () => {
    expect(summary('SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\n\r\n')).toEqual({ title: '200 OK', note: 'BYE' });
  });
  it('survives what is no message', () => {
    expect(summary('')).toEqual({ title: '', note: '' });
  });
});

describe('fold', () => {
  it('counts repetitions with the message that they repeat', () => {
    const rungs = fold([message({}), message({ again: true }), message({ again: true }), message({ sent: true, raw: 'SIP/2.0 100 Trying\r\n\r\n' })]);
    expect(rungs.map((r) => [r.title, r.repeats])).toEqual([['INVITE', 2], ['100 Trying', 0]]);
  });
  it('keeps a repetition whose first copy was not kept', () => {
    expect(fold([message({ again: true })])).toHaveLength(1);
  });
});

describe('Ladder', () => {
  const legs = [{ name: 'Ada' }, { name: 'Bob' }];
  const messages = [message({}), message({ leg: 1, sent: true, at: '2026-11-24T10:00:00.140Z', raw: 'INVITE sip:x@192.0.2.8 SIP/2.0\r\nFrom: "<b>Eve</b>"\r\n\r\n' }), message({ leg: 1, at: '2026-11-24T10:00:01.000Z', raw: 'SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n' })];
  it('is a table that says who speaks to whom', () => {
    show(<Ladder legs={legs} messages={messages} />);
    const rows = within(screen.getByRole('table', { name: 'SIP messages' })).getAllByRole('row');
    expect(rows).toHaveLength(4);
    expect(screen.getByRole('button', { name: /From Ada to Branchline: INVITE/ })).toBeTruthy();
    expect(screen.getByRole('button', { name: /From Bob to Branchline: 486 Busy Here/ })).toBeTruthy();
    expect(rows[2]!.textContent).toContain('+0.140');
  });
  it('opens a message as text, never as markup', () => {
    const { container } = show(<Ladder legs={legs} messages={messages} />);
    fireEvent.click(screen.getByRole('button', { name: /From Branchline to Bob: INVITE/ }));
    expect(container.querySelector('pre')!.textContent).toContain('From: "<b>Eve</b>"');
    expect(container.querySelector('b')).toBeNull();
    fireEvent.click(screen.getByRole('button', { name: /From Branchline to Bob: INVITE/ }));
    expect(container.querySelector('pre')).toBeNull();
  });
});
