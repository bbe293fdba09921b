package sqlite

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"pbx/store"
)

// ErrKey says that the key file does not fit the database.
var ErrKey = errors.New("key file")

const (
	keySize  = 32 // AES-256
	keyCheck = "this key belongs to this database"
)

// vault seals what must be shown to a phone again: AES-256-GCM with a key file
// beside the database, so a stolen copy of the database alone opens nothing.
type vault struct{ aead cipher.AEAD }

// openVault reads the key file, or creates it for a database that has none yet.
func openVault(ctx context.Context, pool *sql.DB, path string) (*vault, error) {
	var sealed []byte
	err := pool.QueryRowContext(ctx, `SELECT key_check FROM vault`).Scan(&sealed)
	fresh := errors.Is(err, sql.ErrNoRows)
	if err != nil && !fresh {
		return nil, err
	}
	key, err := readKey(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		key, err = createKey(path)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is missing; without it the passwords of the phones cannot be read: put back the file that belongs to this database", ErrKey, path)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	v := &vault{aead: aead}
	if fresh {
		_, err := pool.ExecContext(ctx, `INSERT INTO vault (id, key_check) VALUES (1, ?)`, v.seal(keyCheck, "vault", "1", ""))
		return v, err
	}
	if text, err := v.open(sealed, "vault", "1", ""); err != nil || text != keyCheck {
		return nil, fmt.Errorf("%w: %s belongs to another database; put back the file that belongs to this one", ErrKey, path)
	}
	return v, nil
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%w: %s is damaged: it must hold %d hexadecimal digits", ErrKey, path, 2*keySize)
	}
	return key, nil
}

// createKey writes a new key so that the file is there whole or not at all.
func createKey(path string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := os.WriteFile(tmp, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, err
	}
	return key, syncAndRename(tmp, path)
}

// seal encrypts a secret. The place it is kept at is bound to it: moved to
// another row or column it cannot be opened. An empty secret stays empty.
func (v *vault) seal(secret store.Secret, table string, row store.ID, column string) []byte {
	if secret == "" {
		return []byte{}
	}
	return v.aead.Seal(nil, nil, []byte(secret), place(table, row, column))
}

func (v *vault) open(sealed []byte, table string, row store.ID, column string) (store.Secret, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	plain, err := v.aead.Open(nil, nil, sealed, place(table, row, column))
	if err != nil {
		return "", fmt.Errorf("decrypt %s of %s %s: %w", column, table, row, err)
	}
	return store.Secret(plain), nil
}

func place(table string, row store.ID, column string) []byte {
	return []byte(table + "\x00" + string(row) + "\x00" + column)
}
