import { beforeEach, describe, expect, it, vi } from 'vitest';
import { cache, change, conflictOf, forgetConflict, mergePatch, refusal } from '../src/api/cache';
import { Problem, toProblem } from '../src/api/problem';

interface Thing {
  version: number;
  name: string;
  voicemail: { enabled: boolean; has_pin: boolean };
}
const key = ['thing', 't1'];
const thing: Thing = { version: 3, name: 'Ada', voicemail: { enabled: true, has_pin: false } };
const shown = () => cache.getQueryData<Thing>(key);

beforeEach(() => {
  cache.clear();
  forgetConflict('t1');
  cache.setQueryData(key, thing);
});

describe('mergePatch', () => {
  it('changes what is named and leaves the rest', () => {
    expect(mergePatch(thing, { voicemail: { enabled: false } })).toEqual({ ...thing, voicemail: { enabled: false, has_pin: false } });
    expect(mergePatch(thing, { name: undefined })).toEqual(thing);
    expect(mergePatch({ a: 1 } as { a: number | null }, { a: null })).toEqual({ a: null });
  });
});

describe('change', () => {
  it('is on the screen before the server has answered', async () => {
    let answer: ((t: Thing) => void) | undefined;
    const done = change<Thing, object>({ key, id: 't1', patch: { name: 'Grace' }, lists: [], send: () => new Promise((r) => (answer = r)) });
    await vi.waitFor(() => expect(answer).toBeTypeOf('function'));
    expect(shown()?.name).toBe('Grace');
    answer?.({ ...thing, name: 'Grace', version: 4 });
    await done;
    expect(shown()).toEqual({ ...thing, name: 'Grace', version: 4 });
  });
  it('sends the version that was read', async () => {
    let sent: number | undefined;
    await change<Thing, object>({ key, id: 't1', patch: {}, lists: [], send: async (_, v) => ((sent = v), thing) });
    expect(sent).toBe(3);
  });
  it('goes back when the server refuses', async () => {
    const refused = change<Thing, object>({ key, id: 't1', patch: { name: 'x' }, lists: [], send: async () => Promise.reject(new Problem(422, 'no', { name: 'Name is required.' })) });
    await expect(refused).rejects.toThrow('no');
    expect(shown()).toEqual(thing);
    expect(conflictOf('t1')).toBeUndefined();
  });
  it('offers to keep mine after a conflict, which then wins', async () => {
    const versions: (number | undefined)[] = [];
    const send = async (_: object, v?: number) => {
      versions.push(v);
      if (v !== undefined) throw new Problem(412, 'stale');
      return { ...thing, name: 'Mine', version: 9 };
    };
    await expect(change<Thing, object>({ key, id: 't1', patch: { name: 'Mine' }, lists: [], send })).rejects.toThrow('stale');
    expect(shown()).toEqual(thing);
    await conflictOf('t1')!.keepMine();
    expect(versions).toEqual([3, undefined]);
    expect(shown()?.name).toBe('Mine');
    expect(conflictOf('t1')).toBeUndefined();
  });
});

describe('problems', () => {
  it('names the field', () => {
    const p = toProblem(422, { title: 'Unprocessable', detail: 'Some fields need attention.', errors: [{ field: 'email', message: 'Enter a valid email address.' }] }, null);
    expect(p.fields).toEqual({ email: 'Enter a valid email address.' });
    expect(refusal(p, 'email')).toBe('Enter a valid email address.');
    expect(refusal(p, 'name')).toBe('Enter a valid email address.');
  });
  it('reads how long to wait', () => {
    expect(toProblem(429, {}, '30').retryAfter).toBe(30);
    expect(toProblem(429, 'not json', null).retryAfter).toBe(0);
  });
});
