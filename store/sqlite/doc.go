// Package sqlite keeps the nouns of package store in one SQLite file. It is
// the only implementation of a database, and nothing above it may know which
// engine it is.
//
// There are three ways in. Settings change through [DB.Update], the one write
// path: it validates, counts the version up, writes the activity entry, asks
// whether the result makes a plan, commits, and only then shows the change to
// readers and tells the news. Running calls, phones and logs write through one
// goroutine that puts all that waits into one transaction, so that a busy hour
// costs one sync of the disk for many records. Readers of settings read
// immutable snapshots in memory and never wait for the disk; readers of
// history use a small pool of read connections.
//
// Every commit is synced before it is acknowledged (synchronous=FULL): without
// that, SQLite syncs its log only at checkpoints, and a power cut could take
// away half a minute of confirmed settings. The cost is shared, because
// everything that waits for the disk at the same moment shares one commit.
package sqlite
