// Generated from admin/openapi.yaml by "npm run api"; not edited by hand.

const reads: readonly string[] = [
  'account.list',
  'account.read',
  'activity.list',
  'api_key.list',
  'ban.list',
  'call.list',
  'call_record.list',
  'call_record.read',
  'call_record.route',
  'call_record.trace',
  'device.credentials',
  'device.list',
  'device.provisioning_files',
  'device.provisioning_log',
  'device.read',
  'device_model.list',
  'event.stream',
  'message.list',
  'message.listen',
  'message.peaks',
  'message.read',
  'provisioning.read',
  'provisioning.seen',
  'registration.list',
  'session.read',
  'setup.read',
  'user.list',
  'user.next_extension',
  'user.read',
];

const writes: readonly string[] = [
  'account.update',
  'api_key.create',
  'api_key.delete',
  'ban.create',
  'ban.delete',
  'call.create',
  'call.delete',
  'call.transfer',
  'device.create',
  'device.delete',
  'device.reboot',
  'device.resync',
  'device.rotate',
  'device.update',
  'message.delete',
  'message.update',
  'provisioning.rotate',
  'session.create',
  'session.delete',
  'setup.create',
  'simulation.create',
  'user.create',
  'user.delete',
  'user.password',
  'user.update',
];

/** All events of the activity log that the API can cause. */
export const eventNames: readonly string[] = [...reads, ...writes].sort();

const isReadOf = new Set(reads);
export const isRead = (event: string) => isReadOf.has(event);
