package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// notifyContext ends when the process is asked (again) to stop.
func notifyContext(parent context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
}
