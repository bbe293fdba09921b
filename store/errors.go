package store

import (
	"errors"
	"strings"
)

var (
	// ErrNotFound says that the account holds no such record.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the change collides with another record.
	ErrConflict = errors.New("conflict")
	// ErrStale says that the record changed since the version that was named.
	ErrStale = errors.New("changed meanwhile")

	// ErrFull says that the disk is full: nothing was written, and reading goes on.
	ErrFull = errors.New("the disk is full")
	// ErrReadOnly says that the disk or the database refuses all writing.
	ErrReadOnly = errors.New("the disk is read-only")
	// ErrBusy says that writing takes too long; the caller should go on without it or try later.
	ErrBusy = errors.New("the database is busy")
	// ErrTooMany says that as many wait there as may.
	ErrTooMany = errors.New("too many wait already")
	// ErrClosed says that the store is closed.
	ErrClosed = errors.New("the store is closed")
)

// FieldError names the field that is wrong, in the spelling of the API, and what is wrong with it, in a whole sentence.
type FieldError struct{ Field, Problem string }

func (e FieldError) Error() string { return e.Field + ": " + e.Problem }

// FieldErrors is all that is wrong with one record.
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	all := make([]string, len(e))
	for i, f := range e {
		all[i] = f.Error()
	}
	return strings.Join(all, "; ")
}

// Add notes one more problem.
func (e *FieldErrors) Add(field, problem string) {
	*e = append(*e, FieldError{field, problem})
}

// Err returns e as an error, or nil when nothing is wrong.
func (e FieldErrors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// ConflictError is an ErrConflict that names the field and the record it collides with.
type ConflictError struct {
	Field   string // in the spelling of the API
	Problem string // "Extension 101 is already used by Ada Lovelace."
	With    ID     // the record that has it
}

func (e ConflictError) Error() string { return e.Field + ": " + e.Problem }

// Is makes errors.Is(err, ErrConflict) true.
func (e ConflictError) Is(target error) bool { return target == ErrConflict }
