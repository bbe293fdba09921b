//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockDir makes sure that one process at a time uses a data directory: settings live in memory, so a second one would not see the first one's changes.
// The lock ends with the process, however it ends.
func lockDir(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another pbx process uses this data directory")
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
