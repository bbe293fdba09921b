import { t } from '../i18n/t';

/** A refusal of the server (RFC 9457), or the network's silence as status 0. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: Readonly<Record<string, string>> = {},
    /** Seconds to wait, of a 429. */
    readonly retryAfter = 0,
    readonly body: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = 'Problem';
  }
}

interface Body {
  title?: string;
  detail?: string;
  errors?: { field: string; message: string }[];
}

export function toProblem(status: number, body: unknown, retryAfter: string | null): Problem {
  const b = (typeof body === 'object' && body !== null ? body : {}) as Body;
  const fields: Record<string, string> = {};
  for (const e of Array.isArray(b.errors) ? b.errors : []) {
    if (e && typeof e.field === 'string' && !(e.field in fields)) fields[e.field] = String(e.message);
  }
  const words = Object.values(fields);
  const text = status === 403 ? t('error.forbidden') : status >= 500 ? t('error.server') : words.length === 1 ? words[0]! : b.detail || b.title || t('error.unknown', { status });
  return new Problem(status, text, fields, Number.parseInt(retryAfter ?? '', 10) || 0, b as Record<string, unknown>);
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer, or a thrown Problem. */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  let a: Answer<T>;
  try {
    a = await answer;
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new Problem(0, t('error.network'));
  }
  if (!a.response.ok) throw toProblem(a.response.status, a.error, a.response.headers.get('Retry-After'));
  return a.data as T;
}

export const isProblem = (e: unknown, status: number): e is Problem => e instanceof Problem && e.status === status;

/** What went wrong, in words, whatever was thrown. */
export const words = (e: unknown): string => (e instanceof Error ? e.message : String(e));
