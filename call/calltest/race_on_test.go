//go:build race

package calltest_test

// raced says that the race detector is on: work that it makes ten times slower is done in part, and in full without it
// ("make unit" does both).
const raced = true
