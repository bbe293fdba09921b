import { screen } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { Verified } from '../src/ui/calls';
import { show } from './wrap';

describe('what a carrier found of a caller', () => {
  it('says that the number is theirs, and how well that is known', () => {
    show(<Verified caller={{ verstat: 'passed', attestation: 'B' }} />);
    expect(screen.getByText('It is the caller’s')).toBeTruthy();
    expect(screen.getByText(/level B/)).toBeTruthy();
  });
  it('says that it is not theirs, without a level', () => {
    const { container } = show(<Verified caller={{ verstat: 'failed', attestation: null }} />);
    expect(screen.getByText('It is not the caller’s')).toBeTruthy();
    expect(container.textContent).not.toMatch(/level/);
  });
  it('says nothing where nobody is believed', () => {
    const { container } = show(<Verified caller={{ verstat: null, attestation: null }} />);
    expect(container.querySelector('.pill')).toBeNull();
  });
});
