import { Button } from '@mantine/core';
import { type QueryKey } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { cache, conflictOf, forgetConflict, onConflict } from '../api/cache';
import { t } from '../i18n/t';
import { useLive } from '../live/store';
import { Note } from './bits';
import { ago, useSlowNow } from './format';

/** "Changed by <actor> <time ago>", when a change was refused because the object is newer. */
export function ConflictNote({ id, queryKey }: { id: string; queryKey: QueryKey }) {
  const conflict = useSyncExternalStore(onConflict, () => conflictOf(id));
  const last = useLive((s) => s.changes.get(id));
  const now = useSlowNow();
  if (!conflict) return null;
  return (
    <div style={{ marginBottom: 16 }}>
      <Note
        tone="warn"
        action={
          <span className="row" style={{ gap: 6 }}>
            <Button size="compact-sm" variant="default" onClick={() => { forgetConflict(id); void cache.invalidateQueries({ queryKey }); }}>{t('conflict.reload')}</Button>
            <Button size="compact-sm" onClick={() => { forgetConflict(id); void conflict.keepMine(); }}>{t('conflict.keep')}</Button>
          </span>
        }
      >
        <span role="status">{last?.actor ? t('conflict.by', { actor: last.actor, when: ago(last.time, now) }) : t('conflict.short')}</span>
      </Note>
    </div>
  );
}
