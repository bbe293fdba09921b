package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
)

// Inspect checks the database in dir without changing anything, also while another process uses it:
// that it can be read, is whole, and that the key file belongs to it.
func Inspect(ctx context.Context, dir string) error {
	path := filepath.Join(dir, databaseFile)
	missing, err := missingOrEmpty(path)
	if err != nil {
		return fmt.Errorf("inspect database: %w", failure(err))
	}
	if missing {
		return fmt.Errorf("inspect database: %s is missing or empty", path)
	}
	pool, err := connect(path, 1, "&_pragma=query_only(1)")
	if err != nil {
		return fmt.Errorf("inspect database: %w", err)
	}
	defer pool.Close()
	if err := pragmaCheck(ctx, pool, "integrity_check"); err != nil {
		return err
	}
	var sealed []byte
	if err := pool.QueryRowContext(ctx, `SELECT key_check FROM vault`).Scan(&sealed); err != nil {
		return fmt.Errorf("inspect database: %w", failure(err))
	}
	_, err = openVault(ctx, pool, filepath.Join(dir, keyFile))
	return err
}
