//go:build race

package media

// Raced says that the race detector is on: work that it makes ten times slower is done in part, and in full without it
// ("make unit" does both).
const Raced = true
