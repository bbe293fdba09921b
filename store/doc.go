// Package store holds the nouns of the house: accounts, users, devices, lines,
// bindings, messages, call records and activity, as plain records.
//
// It knows what a valid record is and nothing else: no database, no clock that
// anybody waits for, no network. The one implementation of a database lives in
// store/sqlite.
package store
