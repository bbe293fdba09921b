package calltest_test

import (
	"context"
	"fmt"
	"time"
)

// deedVerbs are what scripts say of keys that people press while they talk.
var deedVerbs = []verb{
	{pattern(`(\w+) hears the keys (\S+)`), (*scenario).hearsKeys},
	{pattern(`(\w+) hears no keys`), func(s *scenario, ctx context.Context, w []string) error {
		return s.hearsKeys(ctx, append(w, ""))
	}},
}

// hearsKeys waits until exactly those keys came since the last time, and no others for longer than a code is waited for.
func (s *scenario) hearsKeys(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	got := ""
	for quiet := time.Now().Add(3 * time.Second); time.Now().Before(quiet); <-time.After(20 * time.Millisecond) {
		if keys := c.Keys(); keys != "" {
			got += keys
			quiet = time.Now().Add(2500 * time.Millisecond)
		}
	}
	if got != w[1] {
		return fmt.Errorf("heard %q", got)
	}
	return nil
}
