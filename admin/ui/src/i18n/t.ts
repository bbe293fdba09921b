import { en } from './en';

export type MessageKey = keyof typeof en;
export type Values = Record<string, string | number>;

/** The language of the catalogue in use; `Intl` formats for it. */
export const locale = 'en';

const plurals = new Intl.PluralRules(locale);
const numbers = new Intl.NumberFormat(locale);

type Part = string | { name: string } | { name: string; kind: 'plural' | 'select'; cases: Record<string, Part[]> } | { count: true };

const parsed = new Map<string, Part[]>();

/**
 * Reads the part of ICU MessageFormat that the catalogue uses: `{name}`,
 * `{n, plural, one {…} other {…}}` with `#`, and `{x, select, a {…} other {…}}`.
 */
export function parse(message: string): Part[] {
  const known = parsed.get(message);
  if (known) return known;
  let at = 0;
  const fail = (why: string): never => {
    throw new Error(`message ${JSON.stringify(message)}: ${why} at ${at}`);
  };
  const space = () => {
    while (/\s/.test(message[at] ?? '')) at++;
  };
  const word = () => {
    space();
    const from = at;
    while (/[\w=]/.test(message[at] ?? '')) at++;
    const w = message.slice(from, at) || fail('a name is missing');
    space();
    return w;
  };
  const sequence = (inPlural: boolean, nested: boolean): Part[] => {
    const parts: Part[] = [];
    let text = '';
    const flush = () => {
      if (text) parts.push(text);
      text = '';
    };
    while (at < message.length) {
      const c = message[at]!;
      if (c === '}') {
        if (!nested) fail('a brace too many');
        break;
      }
      if (c === '#' && inPlural) {
        flush();
        parts.push({ count: true });
        at++;
      } else if (c === '{') {
        flush();
        at++;
        parts.push(argument());
      } else {
        text += c;
        at++;
      }
    }
    flush();
    return parts;
  };
  const argument = (): Part => {
    const name = word();
    if (message[at] === '}') {
      at++;
      return { name };
    }
    if (message[at++] !== ',') fail('a comma is missing');
    const kind = word();
    if (kind !== 'plural' && kind !== 'select') return fail(`unknown kind ${kind}`);
    if (message[at++] !== ',') fail('a comma is missing');
    const cases: Record<string, Part[]> = {};
    space();
    while (message[at] !== '}') {
      const label = word();
      if (message[at++] !== '{') fail('a case is missing its brace');
      cases[label] = sequence(kind === 'plural', true);
      if (message[at++] !== '}') fail('a case is not closed');
      space();
      if (at >= message.length) fail('not closed');
    }
    at++;
    if (!cases.other) fail('the case "other" is missing');
    return { name, kind, cases };
  };
  const parts = sequence(false, false);
  parsed.set(message, parts);
  return parts;
}

type Out<T> = (value: T | string) => void;

function render<T>(parts: Part[], values: Record<string, T | string | number>, out: Out<T>, count?: number): void {
  for (const p of parts) {
    if (typeof p === 'string') out(p);
    else if ('count' in p) out(numbers.format(count ?? 0));
    else {
      const value = values[p.name];
      if (value === undefined) throw new Error(`value ${p.name} is missing`);
      if ('kind' in p) {
        if (p.kind === 'plural') {
          const n = Number(value);
          render(p.cases[`=${n}`] ?? p.cases[plurals.select(n)] ?? p.cases.other!, values, out, n);
        } else render(p.cases[String(value)] ?? p.cases.other!, values, out, count);
      } else out(typeof value === 'number' ? numbers.format(value) : value);
    }
  }
}

/** The text of a message. */
export function t(key: MessageKey, values: Values = {}): string {
  let text = '';
  render<string>(parse(en[key]), values, (s) => {
    text += s;
  });
  return text;
}

/** The parts of a message whose values are more than text, such as React elements. */
export function tParts<T>(key: MessageKey, values: Record<string, T | string | number>): (T | string)[] {
  const all: (T | string)[] = [];
  render<T>(parse(en[key]), values, (p) => all.push(p));
  return all;
}

export function has(key: string): key is MessageKey {
  return key in en;
}
