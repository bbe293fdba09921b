import { Button, CloseButton, TextInput } from '@mantine/core';
import { IconChevronDown, IconChevronUp, IconSearch, IconSelector } from '@tabler/icons-react';
import { type ReactNode, useDeferredValue, useEffect, useRef, useState } from 'react';
import { navigate, setQuery, useQueryParam } from '../app/router';
import { t } from '../i18n/t';

/** The search box of a list; what is typed is in the address as ?q=. */
export function SearchBox({ placeholder, width }: { placeholder: string; width?: string }) {
  const [q, setQ] = useQueryParam('q');
  const [text, setText] = useState(q);
  const mine = useRef(q);
  useEffect(() => {
    if (q !== mine.current) {
      mine.current = q;
      setText(q);
    }
  }, [q]);
  const change = (v: string) => {
    setText(v);
    mine.current = v;
    setQ(v);
  };
  return (
    <TextInput
      type="search"
      role="searchbox"
      aria-label={t('action.search')}
      data-list-search
      className="search"
      w={width}
      placeholder={placeholder}
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={text ? <CloseButton size="sm" aria-label={t('action.clearSearch')} onClick={() => change('')} /> : undefined}
      value={text}
      onChange={(e) => change(e.currentTarget.value)}
    />
  );
}

/** What the search box holds, a beat behind the typing. */
export function useSearchText() {
  const [q] = useQueryParam('q');
  return useDeferredValue(q.trim());
}

export interface Column<T> {
  id: string;
  title: string;
  cell: (row: T) => ReactNode;
  /** Makes the column sortable. */
  by?: (row: T) => string | number;
  /** The column that stands for the row: shown big on small screens. */
  lead?: boolean;
  /** Not shown on small screens. */
  wide?: boolean;
}

/** Splits ?sort=-name. */
export function useSort(first: string): [string, boolean] {
  const [sort] = useQueryParam('sort');
  const s = sort || first;
  return s.startsWith('-') ? [s.slice(1), true] : [s, false];
}

export function sortRows<T>(rows: T[], columns: Column<T>[], id: string, down: boolean): T[] {
  const by = columns.find((c) => c.id === id)?.by;
  if (!by) return rows;
  const sorted = [...rows].sort((a, b) => {
    const x = by(a);
    const y = by(b);
    return typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true, sensitivity: 'base' });
  });
  return down ? sorted.reverse() : sorted;
}

export interface TableProps<T> {
  name: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
  /** Where a click on the row leads. */
  to?: (row: T) => string;
  sort?: [string, boolean];
  flash?: string;
  /** A second row of the head, such as filters. */
  filters?: ReactNode;
}

export function Table<T>({ name, columns, rows, rowKey, to, sort, flash, filters }: TableProps<T>) {
  return (
    <div className="card table-frame" role="region" aria-label={name} tabIndex={0}>
      <table className="table as-cards" aria-label={name}>
        <thead>
          <tr>
            {columns.map((c) => {
              const active = sort?.[0] === c.id;
              const down = active && sort![1];
              const Icon = active ? (down ? IconChevronDown : IconChevronUp) : IconSelector;
              return (
                <th key={c.id} scope="col" aria-sort={active ? (down ? 'descending' : 'ascending') : undefined}>
                  {c.by && sort ? (
                    <button type="button" className="sort" onClick={() => setQuery({ sort: active && !down ? `-${c.id}` : c.id })}>{c.title}<Icon aria-hidden /></button>
                  ) : c.title}
                </th>
              );
            })}
          </tr>
          {filters}
        </thead>
        <tbody>
          {rows.map((row) => {
            const key = rowKey(row);
            return (
              <tr
                key={key}
                className={[to && 'clickable', flash === key && 'flash'].filter(Boolean).join(' ') || undefined}
                onClick={to && ((e) => {
                  if ((e.target as HTMLElement).closest('a,button,input,[role=menuitem]') || getSelection()?.toString()) return;
                  navigate(to(row));
                })}
              >
                {columns.map((c) => <td key={c.id} data-label={c.title} className={[c.lead && 'lead', c.wide && 'only-wide'].filter(Boolean).join(' ') || undefined}>{c.cell(row)}</td>)}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

const pageSize = 50;

/** Cuts the rows to the page in ?page= and gives the buttons for it. */
export function usePage<T>(rows: T[]): [T[], ReactNode] {
  const [page] = useQueryParam('page');
  const pages = Math.max(1, Math.ceil(rows.length / pageSize));
  const n = Math.min(pages, Math.max(1, Number.parseInt(page, 10) || 1));
  const go = (to: number) => setQuery({ page: to > 1 ? String(to) : '' }, true);
  return [
    rows.slice((n - 1) * pageSize, n * pageSize),
    pages > 1 && (
      <nav className="pager" aria-label={t('table.pages')}>
        <Button variant="default" size="compact-md" disabled={n <= 1} onClick={() => go(n - 1)}>{t('table.previous')}</Button>
        <span className="dim">{t('table.page', { page: n, pages })}</span>
        <Button variant="default" size="compact-md" disabled={n >= pages} onClick={() => go(n + 1)}>{t('table.next')}</Button>
      </nav>
    ),
  ];
}
