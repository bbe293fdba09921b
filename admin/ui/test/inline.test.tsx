import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { InlineEdit } from '../src/ui/InlineEdit';
import { show } from './wrap';

const setUp = (save = vi.fn(async (_: string): Promise<string | undefined> => undefined)) => {
  show(<InlineEdit label="Email" value="ada@acme.test" save={save} />);
  return { save, user: userEvent.setup() };
};

describe('InlineEdit', () => {
  it('shows the value and a named button', () => {
    setUp();
    expect(screen.getByText('ada@acme.test')).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Edit email' })).toBeTruthy();
  });

  it('saves with Enter and gives the focus back', async () => {
    const { save, user } = setUp();
    await user.click(screen.getByRole('button', { name: 'Edit email' }));
    const box = screen.getByRole('textbox', { name: 'Email' });
    expect(document.activeElement).toBe(box);
    await user.keyboard('bob@acme.test{Enter}');
    expect(save).toHaveBeenCalledExactlyOnceWith('bob@acme.test');
    expect(screen.queryByRole('textbox')).toBeNull();
    expect(document.activeElement).toBe(screen.getByRole('button', { name: 'Edit email' }));
  });

  it('saves with the checkmark', async () => {
    const { save, user } = setUp();
    await user.click(screen.getByRole('button', { name: 'Edit email' }));
    await user.keyboard('x@y.test');
    await user.click(screen.getByRole('button', { name: 'Save email' }));
    expect(save).toHaveBeenCalledExactlyOnceWith('x@y.test');
  });

  it('restores with Escape and saves nothing', async () => {
    const { save, user } = setUp();
    await user.click(screen.getByRole('button', { name: 'Edit email' }));
    await user.keyboard('nonsense{Escape}');
    expect(save).not.toHaveBeenCalled();
    expect(screen.getByText('ada@acme.test')).toBeTruthy();
    expect(document.activeElement).toBe(screen.getByRole('button', { name: 'Edit email' }));
  });

  it('saves nothing when nothing was changed', async () => {
    const { save, user } = setUp();
    await user.click(screen.getByRole('button', { name: 'Edit email' }));
    await user.keyboard('{Enter}');
    expect(save).not.toHaveBeenCalled();
    expect(screen.queryByRole('textbox')).toBeNull();
  });

  it('stays open with what was typed when the value is refused', async () => {
    const { user } = setUp(vi.fn(async (_: string) => 'A user with this email already exists.'));
    await user.click(screen.getByRole('button', { name: 'Edit email' }));
    await user.keyboard('grace@acme.test{Enter}');
    const box = screen.getByRole('textbox', { name: 'Email' }) as HTMLInputElement;
    expect(box.value).toBe('grace@acme.test');
    expect(box.getAttribute('aria-invalid')).toBe('true');
    const message = document.getElementById(box.getAttribute('aria-describedby')!);
    expect(message?.textContent).toBe('A user with this email already exists.');
  });
});
