package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"pbx/store"
)

// Page is store.Page: the doors of the rooms above name that one.
type Page = store.Page

const (
	defaultLimit = 50
	maxLimit     = 500
)

// limit is how many rows a page has.
func limit(p Page) int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// cut takes the one row off that was read too many and returns the cursor of the next page, empty at the end.
func cut[T any](p Page, items []T, cursor func(*T) string) ([]T, string) {
	if len(items) <= limit(p) {
		return items, ""
	}
	items = items[:limit(p)]
	return items, cursor(&items[len(items)-1])
}

// pageOf lists rows that are in memory. The result is the caller's own.
func pageOf[T any](all []T, p Page, id func(*T) store.ID, wanted func(*T) bool) ([]T, string, error) {
	var found []*T
	for i := range all {
		if (p.Cursor == "" || id(&all[i]) < store.ID(p.Cursor)) && wanted(&all[i]) {
			found = append(found, &all[i])
		}
	}
	slices.SortFunc(found, func(a, b *T) int { return cmp.Compare(id(b), id(a)) })
	items := make([]T, 0, min(len(found), limit(p)+1))
	for _, t := range found[:min(len(found), limit(p)+1)] {
		items = append(items, *t)
	}
	items, next := cut(p, items, func(t *T) string { return string(id(t)) })
	return items, next, nil
}

// querier is what *sql.DB and *sql.Tx have in common for reading.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

type scanner func(dest ...any) error

// each runs a query and hands every row to fn.
func each(ctx context.Context, q querier, fn func(scan scanner) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// where collects the conditions of a query.
type where struct {
	text string
	args []any
}

func (w *where) and(condition string, args ...any) {
	if w.text == "" {
		w.text = " WHERE "
	} else {
		w.text += " AND "
	}
	w.text += "(" + condition + ")"
	w.args = append(w.args, args...)
}

// any adds a condition that one of n values must fulfil.
func (w *where) any(condition string, values []string) {
	if len(values) == 0 {
		return
	}
	text := ""
	args := make([]any, len(values))
	for i, v := range values {
		if i > 0 {
			text += " OR "
		}
		text += condition
		args[i] = v
	}
	w.and(text, args...)
}
