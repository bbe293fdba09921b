package calltest_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"time"

	"pbx/sip/siptest"
)

// watches are the lamps of the phones of a scenario, by phone and by whom they are for.
type watches map[string]map[string]*siptest.Watch

// watch puts a lamp for somebody on a phone.
func (s *scenario) watch(ctx context.Context, w []string) error {
	p := s.phones[w[0]]
	if p == nil {
		return fmt.Errorf("no phone %s", w[0])
	}
	watch, err := p.SIP().Watch(ctx, "dialog", s.number(w[1]), 15*time.Minute)
	if err != nil {
		return err
	}
	if s.lamps == nil {
		s.lamps = make(watches)
	}
	if s.lamps[w[0]] == nil {
		s.lamps[w[0]] = make(map[string]*siptest.Watch)
	}
	s.lamps[w[0]][w[1]] = watch
	return nil
}

// lampShows waits until a lamp shows something: P-CALL-10, within half a second.
func (s *scenario) lampShows(_ context.Context, w []string) error {
	watch := s.lamps[w[0]][w[1]]
	if watch == nil {
		return fmt.Errorf("%s does not watch %s", w[0], w[1])
	}
	return until(500*time.Millisecond, func() error {
		got, err := lampOf(watch)
		if err == nil && got != w[2] {
			err = fmt.Errorf("shows %s", got)
		}
		return err
	})
}

// dark proves that all lamps are off and that phones and house agree about it.
func (s *scenario) dark() error {
	for name, lamps := range s.lamps {
		for target, watch := range lamps {
			if got, err := lampOf(watch); err != nil || got != "off" {
				return fmt.Errorf("%s's lamp for %s is %s: %v", name, target, got, err)
			}
		}
	}
	for _, v := range s.h.sip.LampTruth(s.h.account) {
		if v.Package == "dialog" && !v.Right() {
			return fmt.Errorf("lamp differs: %+v", v)
		}
	}
	return nil
}

// lampOf is what a phone makes of the latest document of a lamp.
func lampOf(watch *siptest.Watch) (string, error) {
	var doc struct {
		Dialogs []struct {
			Direction string `xml:"direction,attr"`
			State     string `xml:"state"`
			Params    []struct {
				Name  string `xml:"pname,attr"`
				Value string `xml:"pval,attr"`
			} `xml:"local>target>param"`
		} `xml:"dialog"`
	}
	n, _, count := watch.Last()
	if count == 0 {
		return "", fmt.Errorf("shows nothing yet")
	}
	if err := xml.Unmarshal([]byte(n.Body), &doc); err != nil {
		return "", err
	}
	shows := "off"
	for _, d := range doc.Dialogs {
		held := len(d.Params) == 1 && d.Params[0].Name == "+sip.rendering" && d.Params[0].Value == "no"
		switch {
		case d.State == "early" && d.Direction == "recipient":
			return "ringing", nil
		case d.State == "terminated" || shows == "busy":
		case d.State == "confirmed" && held:
			shows = "held"
		case d.State == "confirmed":
			shows = "busy"
		default:
			shows = "calling"
		}
	}
	return shows, nil
}
