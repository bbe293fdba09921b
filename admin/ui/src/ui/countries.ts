import { locale } from '../i18n/t';

/** The countries of ISO 3166-1 that the browser has a name for, by name. */
export function countryNames(): { value: string; label: string }[] {
  const names = new Intl.DisplayNames(locale, { type: 'region', fallback: 'none' });
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  const found = new Map<string, string>();
  for (const a of letters) {
    for (const b of letters) {
      const code = a + b;
      // Codes of former countries have become those of their successors.
      if (reserved.has(code) || Intl.getCanonicalLocales(`und-${code}`)[0] !== `und-${code}`) continue;
      const label = names.of(code);
      if (label) found.set(code, label);
    }
  }
  return [...found].map(([value, label]) => ({ value, label })).sort((x, y) => x.label.localeCompare(y.label, locale));
}

/** Codes that are no country: unions, groups and what is kept free for private use. */
const reserved = new Set(['EU', 'EZ', 'UN', 'QO', 'ZZ', 'XA', 'XB', 'XK', 'AC', 'CP', 'CQ', 'DG', 'EA', 'IC', 'TA']);
