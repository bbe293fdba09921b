//go:build !race

package media

const Raced = false
