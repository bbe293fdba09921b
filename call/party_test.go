package call

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPressed merges keys that come in the sound (s) and by INFO (i).
func TestPressed(t *testing.T) {
	for _, c := range []struct{ name, keys, want string }{
		{"in the sound", "s1 s2 s2 s3", "1223"},
		{"by INFO", "i1 i1 i2", "112"},
		{"both ways", "i1 s1 i2 s2 i2 s2 s3 i3", "1223"},
		{"one way, then the other much later", "s1 - i1", "11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p Party
				got := ""
				for _, k := range strings.Fields(c.keys) {
					if k == "-" {
						<-time.After(time.Second)
						continue
					}
					if p.pressed(rune(k[1]), k[0] == 'i') {
						got += k[1:]
					}
					<-time.After(20 * time.Millisecond)
				}
				if got != c.want {
					t.Errorf("%s was taken for %s", c.keys, got)
				}
			})
		})
	}
}
