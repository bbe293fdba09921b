package store

import "log/slog"

// Secret is text that no log and no %v shows. Convert it with string() where it is really needed.
type Secret string

const masked = "***"

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// String hides the secret from fmt.
func (Secret) String() string { return masked }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return masked }

// MarshalJSON hides the secret from encoding/json: a record that is printed
// whole cannot leak it. What must be sent is converted by hand.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + masked + `"`), nil }
