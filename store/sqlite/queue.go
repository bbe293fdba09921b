package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"pbx/event"
	"pbx/store"
)

const (
	queueSize = 1024 // writes that may wait; more are refused at once
	batchSize = 256  // writes that share a commit

	crowd = 3 // writes that share a commit when the house counts as busy

	// breath is the time from one commit to the next while several write: a commit costs more than what
	// is in it. Nobody notices a wait so short; who answers a call waits for its record, up to a quarter of a second.
	breath = 20 * time.Millisecond
)

// queue is the line before the one goroutine that writes for calls, telephones
// and logs. All that waits goes into one transaction, and while the house is busy
// it waits a breath for more: the busier the house, the fewer syncs a record costs.
type queue struct {
	db   *DB
	jobs chan *job
	stop chan struct{} // closed by close
	done chan struct{} // closed when the goroutine has ended
	down atomic.Bool
	// failing is true while writing fails, so that a full disk is logged once and not at every call. Only the goroutine uses it.
	failing bool
	free    time.Time // before it, nothing is committed; only the goroutine uses it
}

type job struct {
	what  string
	run   func(ctx context.Context, tx *sql.Tx) error
	one   bool                // one statement: it fails as a whole by itself
	key   store.ID            // of what it writes whole, or "": a later job of the same batch and key does all that it would do
	by    *job                // that one
	after func() []event.News // after the commit, in the order of the commits; may be nil
	state atomic.Int32
	err   error
	ended chan struct{} // nil: nobody waits
}

const (
	jobWaiting int32 = iota
	jobTaken
	jobAbandoned
)

func startQueue(db *DB) *queue {
	q := &queue{db: db, jobs: make(chan *job, queueSize), stop: make(chan struct{}), done: make(chan struct{})}
	go q.loop()
	return q
}

// close writes what waits and ends the goroutine.
func (q *queue) close() {
	q.down.Store(true)
	close(q.stop)
	<-q.done
}

func (q *queue) closed() bool { return q.down.Load() }

// do writes and waits for the commit, but never longer than patience.
func (q *queue) do(ctx context.Context, what string, run func(context.Context, *sql.Tx) error, after func() []event.News) error {
	return q.wait(ctx, &job{what: what, run: run, after: after})
}

// wait queues a job and waits for the commit, but never longer than patience.
func (q *queue) wait(ctx context.Context, j *job) error {
	what := j.what
	j.ended = make(chan struct{})
	if err := q.put(j); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-j.ended:
		return j.result()
	case <-wait.Done():
	case <-q.done:
	}
	select {
	case <-j.ended:
		return j.result()
	default:
	}
	j.state.CompareAndSwap(jobWaiting, jobAbandoned)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case wait.Err() != nil:
		return fmt.Errorf("%s: %w", what, store.ErrBusy)
	}
	return store.ErrClosed
}

// later writes without anybody waiting; a failure is logged.
func (q *queue) later(what string, run func(context.Context, *sql.Tx) error, after func() []event.News) error {
	return q.put(&job{what: what, run: run, after: after})
}

func (q *queue) put(j *job) error {
	if q.closed() {
		return store.ErrClosed
	}
	select {
	case q.jobs <- j:
		return nil
	default:
		return fmt.Errorf("%s: %w", j.what, store.ErrBusy)
	}
}

// flush waits until everything that was queued before is written or refused.
func (q *queue) flush(ctx context.Context) error {
	err := q.do(ctx, "flush", func(context.Context, *sql.Tx) error { return nil }, nil)
	if ctx.Err() != nil {
		return err
	}
	return nil // a disk that refuses writes can still be read
}

func (j *job) result() error {
	if j.err == nil || errors.Is(j.err, store.ErrNotFound) {
		return j.err
	}
	return fmt.Errorf("%s: %w", j.what, j.err)
}

func (q *queue) loop() {
	defer close(q.done)
	for {
		select {
		case j := <-q.jobs:
			q.pause()
			q.commit(q.gather(j))
			continue
		case <-q.stop:
		}
		for { // what was queued before the end is still written
			select {
			case j := <-q.jobs:
				q.commit(q.gather(j))
			default:
				return
			}
		}
	}
}

// pause waits until the latest commit is a breath ago, if a crowd shared it: one who writes
// alone, again and again, gains nothing by waiting.
func (q *queue) pause() {
	wait := time.Until(q.free)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.stop:
	}
}

// gather takes what else waits, without waiting.
func (q *queue) gather(first *job) []*job {
	batch := make([]*job, 0, batchSize)
	for j := first; ; {
		if j.state.CompareAndSwap(jobWaiting, jobTaken) {
			batch = append(batch, j)
		}
		if len(batch) == batchSize {
			return batch
		}
		select {
		case j = <-q.jobs:
		default:
			return batch
		}
	}
}

// commit writes a batch in one transaction. A job that is wrong fails alone; a disk that fails fails all.
func (q *queue) commit(batch []*job) {
	if len(batch) == 0 {
		return
	}
	if supersede(batch) >= crowd {
		q.free = time.Now().Add(breath)
	}
	db := q.db
	db.turn <- struct{}{}
	defer db.yield()
	err := q.write(batch)
	var news []event.News
	for _, j := range batch {
		if err != nil {
			j.err = err
		}
		if j.err == nil && j.after != nil {
			news = append(news, j.after()...)
		}
	}
	db.publish(news)
	for _, j := range batch {
		if j.ended != nil {
			close(j.ended)
		} else if j.err != nil && err == nil {
			db.log.Error("record not saved", "what", j.what, "err", j.err)
		}
	}
	q.report(err)
}

func (q *queue) write(batch []*job) error {
	ctx := context.Background()
	tx, err := q.db.write.BeginTx(ctx, nil)
	if err != nil {
		return failure(err)
	}
	defer tx.Rollback() // does nothing after the commit
	for _, j := range batch {
		if j.by != nil {
			continue
		}
		if err := q.runAlone(ctx, tx, j); err != nil {
			return failure(err)
		}
	}
	for _, j := range batch {
		if j.by != nil {
			j.err = j.by.err
		}
	}
	return failure(tx.Commit())
}

// supersede finds the jobs of a batch that need not run, since a later one writes the same anew. It returns how many do run.
func supersede(batch []*job) int {
	run, latest := 0, make(map[store.ID]*job)
	for _, j := range slices.Backward(batch) {
		if j.by = latest[j.key]; j.by != nil {
			continue
		}
		run++
		if j.key != "" {
			latest[j.key] = j
		}
	}
	return run
}

// runAlone runs a job inside a savepoint. What it returns dooms the whole transaction; what fails only the job is in j.err.
func (q *queue) runAlone(ctx context.Context, tx *sql.Tx, j *job) error {
	if j.one {
		if j.err = j.run(ctx, tx); fatal(j.err) {
			return j.err
		}
		return nil
	}
	if _, err := tx.StmtContext(ctx, q.db.savepoint).ExecContext(ctx); err != nil {
		return err
	}
	if j.err = j.run(ctx, tx); j.err != nil {
		if fatal(j.err) {
			return j.err
		}
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO job`); err != nil {
			return err
		}
	}
	_, err := tx.StmtContext(ctx, q.db.releaseJob).ExecContext(ctx)
	return err
}

// report logs when writing begins to fail and when it works again.
func (q *queue) report(err error) {
	switch {
	case err != nil && !q.failing:
		q.db.log.Error("database does not accept writes", "err", err)
	case err == nil && q.failing:
		q.db.log.Info("database accepts writes again")
	}
	q.failing = err != nil
}

// Flush waits until everything that was recorded before is written or refused.
func (db *DB) Flush(ctx context.Context) error { return db.queue.flush(ctx) }
