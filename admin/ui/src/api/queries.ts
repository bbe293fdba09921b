import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { setCalls } from '../live/store';
import { type Change, cache, change } from './cache';
import { type Account, type Device, type Message, type Mailbox, type PhoneNumber, type RingGroup, type Settings, type Trunk, type User, api, ifMatch, inAccount } from './client';
import { useSession } from './session';
import { ok } from './problem';
import type { components } from './schema';

type Schemas = components['schemas'];

/** As many objects of a kind as the portal keeps for searching. */
const most = 5000;

async function all<T>(page: (cursor?: string) => Promise<{ items: T[]; next_cursor: string | null }>): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const p = await page(cursor);
    items.push(...p.items);
    cursor = p.next_cursor ?? undefined;
  } while (cursor && items.length < most);
  return items;
}

export const keys = {
  users: ['users'],
  user: (id: string) => ['user', id],
  devices: ['devices'],
  device: (id: string) => ['device', id],
  models: ['models'],
  provisioning: ['provisioning'],
  messages: ['messages'],
  calls: ['calls'],
  records: ['records'],
  activity: ['activity'],
  settings: ['my-settings'],
  account: ['account'],
  bans: ['bans'],
  lamps: ['lamps'],
  trunks: ['trunks'],
  trunk: (id: string) => ['trunk', id],
  numbers: ['numbers'],
  ringGroups: ['ring-groups'],
  mailboxes: ['mailboxes'],
  parking: ['parking'],
  codes: ['feature-codes'],
  number: (id: string) => ['number', id],
  clips: ['clips'],
  recordings: ['recordings'],
};

export const useUsers = (enabled = true) =>
  useQuery({
    queryKey: keys.users,
    enabled,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/users', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useUser = (id: string) =>
  useQuery({ queryKey: keys.user(id), queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/users/{user}', { params: { path: { ...inAccount, user: id } }, signal })) });

export const useDevices = (enabled = true) =>
  useQuery({
    queryKey: keys.devices,
    enabled,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/devices', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useDevice = (id: string) =>
  useQuery({ queryKey: keys.device(id), queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/devices/{device}', { params: { path: { ...inAccount, device: id } }, signal })) });

export const useModels = (enabled = true) =>
  useQuery({ queryKey: keys.models, enabled, staleTime: Infinity, queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/device-models', { params: { path: inAccount }, signal }))).items });

export const useProvisioning = (enabled = true) =>
  useQuery({ queryKey: keys.provisioning, enabled, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/provisioning', { params: { path: inAccount }, signal })) });

export const useTrunks = (enabled = true) =>
  useQuery({
    queryKey: keys.trunks,
    enabled,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/trunks', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useTrunk = (id: string) =>
  useQuery({ queryKey: keys.trunk(id), queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/trunks/{trunk}', { params: { path: { ...inAccount, trunk: id } }, signal })) });

export const useNumbers = (enabled = true) =>
  useQuery({
    queryKey: keys.numbers,
    enabled,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/numbers', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useNumber = (id: string) =>
  useQuery({ queryKey: keys.number(id), queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/numbers/{number}', { params: { path: { ...inAccount, number: id } }, signal })) });

export const useClips = (enabled = true) =>
  useQuery({
    queryKey: keys.clips,
    enabled,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/audio-clips', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useRecording = (id: string) =>
  useQuery({ queryKey: [...keys.recordings, id], queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/recordings/{recording}', { params: { path: { ...inAccount, recording: id } }, signal })) });

/** Every lamp of the account. Calls change lamps, and repairs have no news of their own: the page looks again. */
export const useLamps = () =>
  useQuery({
    queryKey: keys.lamps,
    refetchInterval: 30_000,
    queryFn: async ({ signal }) => {
      let repairs = 0;
      const items = await all(async (cursor) => {
        const page = await ok(api.GET('/accounts/{account}/lamps', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }));
        repairs = page.repairs;
        return page;
      });
      return { items, repairs };
    },
  });

export const useBans = () =>
  useQuery({ queryKey: keys.bans, queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/bans', { params: { path: inAccount }, signal }))).items });

export const useRingGroups = () =>
  useQuery({
    queryKey: keys.ringGroups,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/ring-groups', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useMailboxes = () =>
  useQuery({
    queryKey: keys.mailboxes,
    queryFn: ({ signal }) => all((cursor) => ok(api.GET('/accounts/{account}/mailboxes', { params: { path: inAccount, query: { limit: 500, cursor } }, signal }))),
  });

export const useParking = () => useQuery({ queryKey: keys.parking, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}/parking', { params: { path: inAccount }, signal })) });

export const useFeatureCodes = () => useQuery({ queryKey: keys.codes, queryFn: async ({ signal }) => (await ok(api.GET('/accounts/{account}/feature-codes', { params: { path: inAccount }, signal }))).items });

export const useMySettings = () => useQuery({ queryKey: keys.settings, queryFn: ({ signal }) => ok(api.GET('/me/settings', { signal })) });

export const useAccount = () => useQuery({ queryKey: keys.account, queryFn: ({ signal }) => ok(api.GET('/accounts/{account}', { params: { path: inAccount }, signal })) });

/** Live calls: one answer fills the live store, the event stream keeps it. */
export const useLiveCalls = () =>
  useQuery({
    queryKey: keys.calls,
    queryFn: async ({ signal }) => {
      const { items } = await ok(api.GET('/accounts/{account}/calls', { params: { path: inAccount }, signal }));
      setCalls(items);
      return items.length;
    },
  });

/** The messages of one mailbox; without a name, of one's own. */
export const useMessages = (box = '') => {
  const { me } = useSession();
  const mailbox = box || me.id;
  return useQuery({
    queryKey: [...keys.messages, mailbox],
    queryFn: async ({ signal }) => {
      let counts: Schemas['MailboxCounts'] = { new: 0, old: 0 };
      const items = await all<Message>(async (cursor) => {
        const page = await ok(api.GET('/accounts/{account}/voicemail-messages', { params: { path: inAccount, query: { mailbox, limit: 500, cursor } }, signal }));
        counts = page.counts;
        return page;
      });
      return { items, counts };
    },
  });
};

export const useNewVoicemail = () => useMessages().data?.items.filter((m) => !m.read).length ?? 0;

export interface RecordFilter {
  q?: string;
  from?: string;
  to?: string;
  outcome?: Schemas['CallOutcome'];
  direction?: Schemas['CallDirection'];
  user_id?: string;
}
export const useRecords = (filter: RecordFilter, limit = 50) =>
  useInfiniteQuery({
    queryKey: [...keys.records, filter, limit],
    placeholderData: keepPreviousData,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) => ok(api.GET('/accounts/{account}/call-records', { params: { path: inAccount, query: { ...filter, limit, cursor: pageParam || undefined } }, signal })),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });

export interface ActivityFilter {
  from?: string;
  to?: string;
  event?: string[];
  resource?: string;
  actor?: string;
  outcome?: Schemas['ActivityOutcome'];
  ip?: string;
}
export const useActivity = (filter: ActivityFilter) =>
  useInfiniteQuery({
    queryKey: [...keys.activity, filter],
    placeholderData: keepPreviousData,
    staleTime: Infinity,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) => ok(api.GET('/accounts/{account}/activity', { params: { path: inAccount, query: { ...filter, limit: 50, cursor: pageParam || undefined } }, signal })),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });

// Changes. Each is on the screen at once and goes back when it is refused.

export type UserPatch = Schemas['UserPatch'];
export const saveUser = (id: string, patch: UserPatch) =>
  change<User, UserPatch>({
    key: keys.user(id),
    id,
    patch,
    lists: [keys.users],
    send: (body, version) => ok(api.PATCH('/accounts/{account}/users/{user}', { params: { path: { ...inAccount, user: id } }, headers: ifMatch(version), body })),
  });

export type DevicePatch = Schemas['DevicePatch'];
export const saveDevice = (id: string, patch: DevicePatch) =>
  change<Device, DevicePatch>({
    key: keys.device(id),
    id,
    patch,
    lists: [keys.devices, keys.users, ['user']],
    send: (body, version) => ok(api.PATCH('/accounts/{account}/devices/{device}', { params: { path: { ...inAccount, device: id } }, headers: ifMatch(version), body })),
  });

export type TrunkPatch = Schemas['TrunkPatch'];
export const saveTrunk = (id: string, patch: TrunkPatch) =>
  change<Trunk, TrunkPatch>({
    key: keys.trunk(id),
    id,
    patch,
    lists: [keys.trunks, keys.numbers],
    send: (body, version) => ok(api.PATCH('/accounts/{account}/trunks/{trunk}', { params: { path: { ...inAccount, trunk: id } }, headers: ifMatch(version), body })),
  });

export type NumberPatch = Schemas['NumberPatch'];
export const saveNumber = (id: string, patch: NumberPatch) =>
  change<PhoneNumber, NumberPatch>({
    key: keys.number(id),
    id,
    patch,
    lists: [keys.numbers],
    send: (body, version) => ok(api.PATCH('/accounts/{account}/numbers/{number}', { params: { path: { ...inAccount, number: id } }, headers: ifMatch(version), body })),
  });

export type RingGroupPatch = Schemas['RingGroupPatch'];
export const saveRingGroup = async (id: string, patch: RingGroupPatch) => {
  const version = cache.getQueryData<RingGroup[]>(keys.ringGroups)?.find((g) => g.id === id)?.version;
  const saved = await ok(api.PATCH('/accounts/{account}/ring-groups/{group}', { params: { path: { ...inAccount, group: id } }, headers: ifMatch(version), body: patch }));
  cache.setQueryData<RingGroup[]>(keys.ringGroups, (list) => list?.map((g) => (g.id === id ? saved : g)));
  return saved;
};

export type MailboxPatch = Schemas['MailboxPatch'];
export const saveMailbox = async (id: string, patch: MailboxPatch) => {
  const version = cache.getQueryData<Mailbox[]>(keys.mailboxes)?.find((m) => m.id === id)?.version;
  const saved = await ok(api.PATCH('/accounts/{account}/mailboxes/{mailbox}', { params: { path: { ...inAccount, mailbox: id } }, headers: ifMatch(version), body: patch }));
  cache.setQueryData<Mailbox[]>(keys.mailboxes, (list) => list?.map((m) => (m.id === id ? saved : m)));
  return saved;
};

export type AccountPatch = Schemas['AccountPatch'];
export const saveAccount = (id: string, patch: AccountPatch) =>
  change<Account, AccountPatch>({
    key: keys.account,
    id,
    patch,
    lists: [],
    send: (body, version) => ok(api.PATCH('/accounts/{account}', { params: { path: inAccount }, headers: ifMatch(version), body })),
  });

export const saveSettings = (patch: Schemas['SettingsPatch']) =>
  change<Settings, Schemas['SettingsPatch']>({
    key: keys.settings,
    id: 'my-settings',
    patch,
    lists: [],
    send: (body, version) => ok(api.PATCH('/me/settings', { headers: ifMatch(version), body })),
  });

export type { Change };
