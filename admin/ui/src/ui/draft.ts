import { type FormEvent, useState } from 'react';
import { Problem, words } from '../api/problem';
import { useLeaveGuard } from '../app/router';
import { saved } from './toast';

const same = (a: unknown, b: unknown) => a === b || JSON.stringify(a) === JSON.stringify(b);

/**
 * Fields that save together: what was changed is kept here until it is saved or
 * thrown away. `send` gets the changed fields alone.
 */
export function useDraft<T extends object, P extends object>(object: T, send: (patch: P) => Promise<unknown>) {
  const [draft, setDraft] = useState<Partial<P>>({});
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const dirty = Object.entries(draft).some(([k, v]) => !same(v, object[k as keyof T]));
  useLeaveGuard(dirty);
  return {
    value: { ...object, ...draft } as T & Partial<P>,
    errors,
    problem,
    busy,
    dirty,
    set(patch: Partial<P>) {
      setDraft((d) => ({ ...d, ...patch }));
      setErrors((e) => Object.fromEntries(Object.entries(e).filter(([k]) => !(k.split('.')[0]! in patch))));
    },
    cancel() {
      setDraft({});
      setErrors({});
      setProblem('');
    },
    async submit(e: FormEvent) {
      e.preventDefault();
      if (!dirty || busy) return;
      setBusy(true);
      setProblem('');
      try {
        await send(draft as P);
        setDraft({});
        setErrors({});
        saved();
      } catch (err) {
        if (err instanceof Problem && Object.keys(err.fields).length) setErrors(err.fields);
        else setProblem(words(err));
      } finally {
        setBusy(false);
      }
    },
  };
}
