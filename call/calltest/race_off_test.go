//go:build !race

package calltest_test

const raced = false
