/** The time zones that the browser knows, with `current` among them. */
export function zones(current: string): string[] {
  const all = typeof Intl.supportedValuesOf === 'function' ? Intl.supportedValuesOf('timeZone') : [];
  return [...new Set([current, 'UTC', ...all])].filter(Boolean).sort();
}

/** The zone of this browser. */
export const guessZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
