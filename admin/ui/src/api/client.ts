import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type User = Schemas['User'];
export type Account = Schemas['Account'];
export type Session = Schemas['Session'];
export type Device = Schemas['Device'];
export type DeviceKind = Schemas['DeviceKind'];
export type DeviceModel = Schemas['DeviceModel'];
export type LineCredentials = Schemas['LineCredentials'];
export type CallRecord = Schemas['CallRecord'];
export type Call = Schemas['Call'];
export type Message = Schemas['VoicemailMessage'];
export type Activity = Schemas['Activity'];
export type Settings = Schemas['Settings'];
export type Trunk = Schemas['Trunk'];
export type PhoneNumber = Schemas['Number'];
export type AudioClip = Schemas['AudioClip'];
export type Recording = Schemas['Recording'];
export type Destination = Schemas['Destination'];
export type RingTarget = Schemas['RingTarget'];
export type RingGroup = Schemas['RingGroup'];
export type Mailbox = Schemas['Mailbox'];
export type ParkedCall = Schemas['ParkedCall'];
export type FindMe = Schemas['FindMe'];
export type Forward = Schemas['Forward'];
export type SettingsPatch = Schemas['SettingsPatch'];

export const base = '/api/v1';

/** `default` names the account of the person who is signed in. */
export const account = 'default';
export const inAccount = { account } as const;

/** The typed client; the same origin, so the session cookie goes along. */
export const api = createClient<paths>({ baseUrl: `${location.origin}${base}`, credentials: 'same-origin' });

export const ifMatch = (version?: number) => (version === undefined ? {} : { 'If-Match': `"${version}"` });
