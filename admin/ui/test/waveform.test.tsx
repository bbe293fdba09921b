import { fireEvent, screen } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { Waveform, bars } from '../src/ui/Waveform';
import { show } from './wrap';

describe('bars', () => {
  it('keeps the loudest of each part', () => {
    expect(bars([0.1, 1, 0.2, 0.5], 2)).toEqual([1, 0.5]);
  });
  it('raises quiet messages so that they can be seen', () => {
    expect(Math.max(...bars([0.1, 0.2, 0.05], 3))).toBe(1);
  });
  it('draws a thin line for silence and for no peaks at all', () => {
    expect(bars([], 3)).toEqual([0.04, 0.04, 0.04]);
    expect(bars([0, 0], 2)).toEqual([0.04, 0.04]);
  });
  it('stretches few peaks over many bars', () => {
    expect(bars([0.5, 1], 4)).toEqual([0.5, 0.5, 1, 1]);
  });
});

describe('Waveform', () => {
  const setUp = (position = 10) => {
    const onSeek = vi.fn();
    const { container } = show(<Waveform peaks={[0.2, 1, 0.4]} duration={40} position={position} onSeek={onSeek} />);
    return { onSeek, slider: screen.getByRole('slider', { name: 'Position' }), container };
  };
  it('says where it is', () => {
    const { slider } = setUp();
    expect(slider.getAttribute('aria-valuetext')).toBe('0:10 of 0:40');
    expect(slider.getAttribute('aria-valuemax')).toBe('40');
  });
  it('colours the part that was played', () => {
    const { container } = setUp();
    expect((container.querySelector('.played') as HTMLElement).style.width).toBe('25%');
  });
  it('seeks with the arrow keys, within the message', () => {
    const { onSeek, slider } = setUp(2);
    fireEvent.keyDown(slider, { key: 'ArrowRight' });
    fireEvent.keyDown(slider, { key: 'ArrowLeft' });
    fireEvent.keyDown(slider, { key: 'End' });
    fireEvent.keyDown(slider, { key: 'x' });
    expect(onSeek.mock.calls).toEqual([[7], [0], [40]]);
  });
  it('seeks where it is clicked', () => {
    const { onSeek, slider } = setUp();
    slider.getBoundingClientRect = () => ({ left: 100, width: 200, top: 0, height: 10, right: 300, bottom: 10, x: 100, y: 0, toJSON: () => '' });
    fireEvent(slider, new MouseEvent('pointerdown', { clientX: 150, bubbles: true }));
    expect(onSeek).toHaveBeenLastCalledWith(10);
  });
});
