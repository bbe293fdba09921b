import { useEffect } from 'react';
import { cache } from '../api/cache';
import { account, base } from '../api/client';
import { keys, useLiveCalls } from '../api/queries';
import { useSessions } from '../api/session';
import { listen } from './socket';
import type { News } from './store';

/** Which lists an object of a kind is in. */
const shownIn: Record<string, unknown[][]> = {
  user: [keys.users, ['user'], keys.devices, ['device'], keys.settings],
  device: [keys.devices, ['device'], keys.users, ['user']],
  account: [keys.account, keys.codes, keys.parking, keys.provisioning, keys.clips],
  provisioning: [keys.provisioning],
  message: [keys.messages],
  clip: [keys.clips],
  recording: [keys.recordings, keys.records, ['record']],
  trunk: [keys.trunks, ['trunk'], keys.numbers],
  number: [keys.numbers, ['number'], keys.account],
  ring_group: [keys.ringGroups, keys.numbers],
  mailbox: [keys.mailboxes, keys.messages],
};

/** Turns news into "fetch this again", gathered so that a burst costs one fetch. */
function gatherer() {
  const due = new Map<string, unknown[]>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (queryKeys: unknown[][]) => {
    for (const k of queryKeys) due.set(JSON.stringify(k), k);
    timer ??= setTimeout(() => {
      timer = undefined;
      const all = [...due.values()];
      due.clear();
      for (const queryKey of all) void cache.invalidateQueries({ queryKey });
    }, 60);
  };
}

export function Live({ onSignedOut }: { onSignedOut: () => void }) {
  const { refresh } = useSessions();
  useLiveCalls();
  useEffect(() => {
    const again = gatherer();
    const onNews = (news: News) => {
      switch (news.type) {
        case 'registration.changed':
          return again([keys.devices, ['device'], keys.users, ['user']]);
        case 'call.quality':
        case 'call.trouble':
          return again([['record', (news.data as { call_id?: string; id?: string }).call_id ?? (news.data as { id?: string }).id, 'quality']]);
        case 'call.changed':
          return again([keys.lamps]);
        case 'call.started':
        case 'call.ended':
          return again([keys.records, ['record'], keys.lamps, keys.trunks]);
        case 'parking.changed':
          return again([keys.parking]);
        case 'trunk.changed':
          return again([keys.trunks, ['trunk']]);
        case 'ban.added':
        case 'ban.lifted':
          return again([keys.bans]);
        case 'voicemail.received':
        case 'voicemail.changed':
          return again([keys.messages, keys.mailboxes]);
        case 'object.changed': {
          const { type } = news.data as { type: string };
          if (type === 'account' || type === 'user') void refresh();
          return again(shownIn[type] ?? []);
        }
      }
    };
    return listen({
      url: (after) => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${base}/accounts/${account}/events${after === undefined ? '' : `?after=${after}`}`,
      onNews,
      onGap: () => void cache.invalidateQueries(),
      onSignedOut,
    });
  }, [refresh, onSignedOut]);
  return null;
}
