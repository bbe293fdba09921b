package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"pbx/store"
)

// failure gives the errors of the disk names that the house knows. All others pass unchanged.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	// The file that readers share could not grow: there is no other reason for it than a full disk.
	case e.Code() == lib.SQLITE_IOERR_SHMSIZE, e.Code()&0xff == lib.SQLITE_FULL:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case e.Code()&0xff == lib.SQLITE_READONLY:
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	case e.Code()&0xff == lib.SQLITE_BUSY, e.Code()&0xff == lib.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", store.ErrBusy, err)
	}
	return err
}

// fatal reports whether an error of one statement dooms the whole transaction.
// A full disk or a failed read makes SQLite roll back by itself, and whatever
// followed would be committed statement by statement.
func fatal(err error) bool {
	var e *driver.Error
	if !errors.As(err, &e) {
		return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	return e.Code()&0xff != lib.SQLITE_CONSTRAINT
}

func validUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
