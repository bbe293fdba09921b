//go:build !unix

package sqlite

import (
	"io"
	"os"
)

// lockDir opens the lock file. Systems without flock rely on SQLite's own locks between processes.
func lockDir(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
