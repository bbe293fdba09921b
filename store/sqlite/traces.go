package sqlite

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pbx/store"
)

// maxTraces bounds the octets of all traces together: whatever the days that
// accounts ask for, the disk is not theirs alone. The oldest go first.
const maxTraces = 512 << 20

// traceSweep is after how many traces the old ones are looked for.
const traceSweep = 1000

// maxTraceOctets bounds one trace when it is unpacked.
const maxTraceOctets = 256 << 20

const insertTrace = `INSERT INTO traces (call_id, account_id, saved_at, messages) VALUES (?,?,?,?)
	ON CONFLICT (call_id) DO UPDATE SET messages = excluded.messages, saved_at = excluded.saved_at WHERE account_id = excluded.account_id`

// compressors are expensive to make.
var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// packTrace is the length of a JSON head, the head, and the messages as they were, all compressed.
func packTrace(t *store.Trace) ([]byte, error) {
	head := *t
	head.Messages = append([]store.TraceMessage(nil), t.Messages...)
	lengths := make([]int, len(t.Messages))
	for i := range head.Messages {
		lengths[i] = len(head.Messages[i].Raw)
		head.Messages[i].Raw = nil
	}
	text, err := json.Marshal(struct {
		store.Trace
		Lengths []int
	}{head, lengths})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(4096) // a short call takes about half of it
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	parts := [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(text))), text}
	for i := range t.Messages {
		parts = append(parts, t.Messages[i].Raw)
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpackTrace(packed []byte) (store.Trace, error) {
	all, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxTraceOctets))
	if err != nil {
		return store.Trace{}, err
	}
	errShort := errors.New("a trace is cut short")
	if len(all) < 4 || uint64(len(all)-4) < uint64(binary.BigEndian.Uint32(all)) {
		return store.Trace{}, errShort
	}
	n := int(binary.BigEndian.Uint32(all))
	var head struct {
		store.Trace
		Lengths []int
	}
	if err := json.Unmarshal(all[4:4+n], &head); err != nil {
		return store.Trace{}, err
	}
	rest := all[4+n:]
	if len(head.Lengths) != len(head.Messages) {
		return store.Trace{}, errShort
	}
	for i, n := range head.Lengths {
		if n < 0 || n > len(rest) {
			return store.Trace{}, errShort
		}
		head.Messages[i].Raw, rest = rest[:n:n], rest[n:]
	}
	return head.Trace, nil
}

// SaveTraces keeps what went over the wire for calls that have ended, all in one
// commit. Those of accounts that are gone are ignored.
func (db *DB) SaveTraces(ctx context.Context, all []store.Trace) error {
	type row struct {
		call, account store.ID
		packed        []byte
	}
	rows := make([]row, 0, len(all))
	for i := range all {
		if db.Snapshot(all[i].AccountID) == nil {
			continue
		}
		packed, err := packTrace(&all[i])
		if err != nil {
			return fmt.Errorf("save traces: %w", err)
		}
		rows = append(rows, row{all[i].CallID, all[i].AccountID, packed})
	}
	at := micros(now())
	return db.queue.do(ctx, "save traces", func(ctx context.Context, tx *sql.Tx) error {
		insert := tx.StmtContext(ctx, db.insertTrace)
		for _, r := range rows {
			if _, err := insert.ExecContext(ctx, r.call, r.account, at, r.packed); err != nil {
				return err
			}
			if db.traced++; db.traced%traceSweep == 1 {
				if err := db.dropOldTraces(ctx, tx, maxTraces); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil)
}

// dropOldTraces keeps traces within the days that each account asks for, and all together within some octets.
func (db *DB) dropOldTraces(ctx context.Context, tx *sql.Tx, most int64) error {
	day := (24 * time.Hour).Microseconds()
	_, err := tx.ExecContext(ctx, `DELETE FROM traces WHERE seq IN (SELECT t.seq FROM accounts a JOIN traces t ON t.account_id = a.id
		WHERE t.saved_at < ? - a.trace_days * ?)`, micros(now()), day)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM traces WHERE seq <= coalesce((SELECT seq FROM
		(SELECT seq, sum(length(messages)) OVER (ORDER BY seq DESC) AS octets FROM traces) WHERE octets > ? ORDER BY seq DESC LIMIT 1), -1)`, most)
	return err
}

// Trace returns what went over the wire for a call of the account that has ended.
func (db *DB) Trace(ctx context.Context, account, call store.ID) (store.Trace, error) {
	var packed []byte
	err := db.read.QueryRowContext(ctx, `SELECT messages FROM traces WHERE call_id = ? AND account_id = ?`, call, account).Scan(&packed)
	if err != nil {
		return store.Trace{}, readError("read trace", err)
	}
	t, err := unpackTrace(packed)
	if err != nil {
		return store.Trace{}, fmt.Errorf("read trace of %s: %w", call, err)
	}
	return t, nil
}
