package store

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// ID is an opaque, sortable name of a record: a prefix that says what it is
// ("usr_", "dev_") and 26 characters of time and chance.
type ID string

// Prefixes of the ids of each noun.
const (
	PrefixAccount      = "acc_"
	PrefixUser         = "usr_"
	PrefixDevice       = "dev_"
	PrefixLine         = "lin_"
	PrefixBinding      = "bnd_"
	PrefixSession      = "ses_"
	PrefixAPIKey       = "key_"
	PrefixMessage      = "msg_"
	PrefixCall         = "cal_"
	PrefixActivity     = "act_"
	PrefixProvisionLog = "prv_"
	PrefixTrunk        = "trk_"
	PrefixNumber       = "num_"
	PrefixText         = "txt_"
	PrefixClip         = "clp_"
	PrefixRecording    = "rec_"
	PrefixRingGroup    = "grp_"
	PrefixMailbox      = "mbx_"
)

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID returns a fresh id. Ids made in a later millisecond sort after it.
func NewID(prefix string) ID {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(raw[6:]) // never fails: crypto/rand aborts the process instead
	var b strings.Builder
	b.Grow(len(prefix) + 26)
	b.WriteString(prefix)
	hi, lo := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	for shift := 125; shift >= 0; shift -= 5 {
		var v uint64
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v = lo>>shift | hi<<(64-shift)
		default:
			v = lo >> shift
		}
		b.WriteByte(idAlphabet[v&31])
	}
	return ID(b.String())
}
