package calltest_test

import "context"

// divertVerbs are what scripts can say of phones that send calls on.
var divertVerbs = []verb{
	{pattern(`(\w+) diverts to (\S+?)(?: because of (\S+))?`), (*scenario).divert},
}

// divert presses the divert key: 302 with the number as the phone would write it.
func (s *scenario) divert(ctx context.Context, w []string) error {
	c, err := s.rings(ctx, w[0])
	if err != nil {
		return err
	}
	headers := []string{"Contact: <sip:" + s.number(w[1]) + "@pbx;user=phone>"}
	if w[2] != "" {
		headers = append(headers, "Diversion: <sip:"+s.extension(w[0])+"@pbx>;reason="+w[2])
	}
	return c.RefuseWith(302, headers...)
}
