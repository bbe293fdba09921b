import { screen } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { FaultNote, moodOf } from '../src/pages/CallQuality';
import { en } from '../src/i18n/en';
import { type LegQuality, QualityChart, path, scaleTop } from '../src/ui/QualityChart';
import { show } from './wrap';

describe('path', () => {
  it('goes from left to right, up for better', () => {
    expect(path([1, 4.5], 1, 4.5)).toBe('M0.0 72.0L600.0 0.0');
  });
  it('breaks where nothing is known, and shows a lone point', () => {
    expect(path([0, null, 10], 0, 10)).toBe('M0.0 72.0h2M600.0 0.0h2');
    expect(path([null, null], 0, 10)).toBe('');
  });
  it('stays within the picture', () => {
    expect(path([-5, 99], 0, 10)).toBe('M0.0 72.0L600.0 0.0');
  });
});

it('chooses a round scale', () => {
  expect(scaleTop('mos', [3])).toBe(4.5);
  expect(scaleTop('loss_pct', [0])).toBe(5);
  expect(scaleTop('jitter_ms', [51, 3])).toBe(100);
});

it('calls a score good, fair or poor', () => {
  expect([4.4, 3.7, 2, null].map((m) => moodOf(m).key)).toEqual(['quality.good', 'quality.fair', 'quality.poor', 'quality.unknown']);
});

const flow = (mos: number | null, loss_pct = 0) => ({ mos, loss_pct, jitter_ms: 2 });
const total = { mos: 4.2, worst_mos: 3, loss_pct: 1, worst_loss_pct: 7, jitter_ms: 2, worst_jitter_ms: 5, packets: 100, missed: 1 };

describe('the chart', () => {
  const leg: LegQuality = {
    side: 'caller', name: 'Ada', codec: 'PCMU', remote: '', round_trip_ms: null, from: total, to: total,
    samples: [
      { at: '2026-01-01T00:00:05Z', round_trip_ms: null, from: flow(4.4), to: flow(null) },
      { at: '2026-01-01T00:00:10Z', round_trip_ms: null, from: flow(3.1, 7), to: flow(4.1, 1) },
    ],
  };
  it('has both directions and says the worst in words', () => {
    const { container } = show(<QualityChart leg={leg} figure="loss_pct" />);
    expect(screen.getByRole('figure', { name: /Loss/ }).textContent).toContain('worst 7 %');
    expect(container.querySelectorAll('path')).toHaveLength(2);
  });
  it('is not there when nothing is known', () => {
    const { container } = show(<QualityChart leg={{ ...leg, samples: [{ ...leg.samples[0]!, from: flow(null) }] }} figure="mos" />);
    expect(container.querySelector('figure')).toBeNull();
  });
});

describe('a fault', () => {
  it('has words for each class', () => {
    for (const c of ['nothing', 'elsewhere', 'private', 'codec', 'encryption', 'blocked']) {
      expect(en).toHaveProperty([`fault.${c}`]);
      expect(en).toHaveProperty([`remedy.${c}`]);
    }
  });
  it('says who is not heard, why, and what helps', () => {
    show(<FaultNote fault={{ side: 'callee', direction: 'from', class: 'private', address: '10.0.0.7:4000', began_at: '2026-01-01T00:00:05Z', ended_at: null, repaired: false }} />);
    const note = screen.getByRole('alert').textContent;
    expect(note).toContain('Called side: nothing is heard of the phone.');
    expect(note).toContain('10.0.0.7:4000');
    expect(note).toContain('SIP ALG');
  });
});
