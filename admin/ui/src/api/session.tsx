import { type ReactNode, createContext, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import { navigate } from '../app/router';
import { setTitleAccount } from '../ui/bits';
import { setZone } from '../ui/format';
import { cache, onSessionEnd } from './cache';
import { type Account, type Session, type User, api } from './client';
import { isProblem, ok } from './problem';

export type Phase = 'asking' | 'setup' | 'out' | 'in' | 'ended' | 'unreachable';

interface Sessions {
  phase: Phase;
  session: Session | null;
  tokenNeeded: boolean;
  /** After sign-in or set-up. */
  enter: (s: Session) => void;
  signOut: () => Promise<void>;
  /** Reads the session anew, after the account or the person changed. */
  refresh: () => Promise<void>;
}

const Context = createContext<Sessions | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [phase, setPhase] = useState<Phase>('asking');
  const [session, setSession] = useState<Session | null>(null);
  const [tokenNeeded, setTokenNeeded] = useState(false);

  const enter = useCallback((s: Session) => {
    setTitleAccount(s.account.name);
    setZone(s.account.timezone);
    setSession(s);
    setPhase('in');
  }, []);

  const refresh = useCallback(async () => {
    try {
      enter(await ok(api.GET('/session')));
    } catch (e) {
      if (!isProblem(e, 401)) return setPhase((p) => (p === 'asking' ? 'unreachable' : p));
      try {
        const setup = await ok(api.GET('/setup'));
        setTokenNeeded(setup.token_needed);
        setPhase(setup.needed ? 'setup' : 'out');
      } catch {
        setPhase('unreachable');
      }
    }
  }, [enter]);

  useEffect(() => {
    void refresh();
    onSessionEnd(() => setPhase((p) => (p === 'in' ? 'ended' : p)));
    return () => onSessionEnd(() => {});
  }, [refresh]);

  useEffect(() => {
    if (phase !== 'unreachable') return;
    const timer = setInterval(() => void refresh(), 3000);
    return () => clearInterval(timer);
  }, [phase, refresh]);

  const signOut = useCallback(async () => {
    try {
      await ok(api.DELETE('/session'));
    } catch (e) {
      if (!isProblem(e, 401)) throw e;
    }
    setPhase('out');
    setSession(null);
    cache.clear();
    navigate('/login');
  }, []);

  const value = useMemo(() => ({ phase, session, tokenNeeded, enter, signOut, refresh }), [phase, session, tokenNeeded, enter, signOut, refresh]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useSessions(): Sessions {
  const s = useContext(Context);
  if (!s) throw new Error('outside of SessionProvider');
  return s;
}

/** The person who is signed in; only inside the shell. */
export function useSession(): { me: User; account: Account; admin: boolean; version: string; signOut: () => Promise<void>; refresh: () => Promise<void> } {
  const { session, signOut, refresh } = useSessions();
  if (!session) throw new Error('nobody is signed in');
  return { me: session.user, account: session.account, admin: session.account.role === 'admin', version: session.version, signOut, refresh };
}
