package calltest_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"time"
)

// deedVerbs are what scripts say of keys that people press while they talk.
var deedVerbs = []verb{
	{pattern(`(\w+) hears the keys (\S+)`), (*scenario).hearsKeys},
	{pattern(`(\w+)'s lamp for (\d+) shows (\w+)`), (*scenario).lampNames},
	{pattern(`(\w+) fetches by the lamp for (\d+)`), (*scenario).fetch},
	{pattern(`(\w+) hears no keys`), func(s *scenario, ctx context.Context, w []string) error {
		return s.hearsKeys(ctx, append(w, ""))
	}},
}

// hearsKeys waits longer than any code is waited for, and looks which keys came by then since the last time.
func (s *scenario) hearsKeys(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	<-time.After(4 * time.Second)
	if got := c.Keys(); got != w[1] {
		return fmt.Errorf("heard %q", got)
	}
	return nil
}

// slotLamp is what a phone reads of the lamp of a slot.
type slotLamp struct {
	Dialogs []struct {
		CallID    string `xml:"call-id,attr"`
		LocalTag  string `xml:"local-tag,attr"`
		RemoteTag string `xml:"remote-tag,attr"`
		Name      struct {
			Display string `xml:"display,attr"`
		} `xml:"remote>identity"`
	} `xml:"dialog"`
}

func (s *scenario) slotLamp(phone, slot string) (doc slotLamp, err error) {
	watch := s.lamps[phone][slot]
	if watch == nil {
		return doc, fmt.Errorf("%s does not watch %s", phone, slot)
	}
	n, _, _ := watch.Last()
	if err = xml.Unmarshal([]byte(n.Body), &doc); err == nil && len(doc.Dialogs) == 0 {
		err = fmt.Errorf("it shows nobody")
	}
	return doc, err
}

func (s *scenario) lampNames(_ context.Context, w []string) error {
	return until(500*time.Millisecond, func() error {
		doc, err := s.slotLamp(w[0], w[1])
		if err == nil && doc.Dialogs[0].Name.Display != w[2] {
			err = fmt.Errorf("it shows %q", doc.Dialogs[0].Name.Display)
		}
		return err
	})
}

// fetch sends an INVITE with the Replaces that a phone makes of the lamp of a slot: the tags are those of the parked phone's side.
func (s *scenario) fetch(ctx context.Context, w []string) error {
	doc, err := s.slotLamp(w[0], w[1])
	if err != nil {
		return err
	}
	d := doc.Dialogs[0]
	c, err := s.phones[w[0]].CallWith(ctx, w[1], fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", d.CallID, d.RemoteTag, d.LocalTag), "Require: replaces")
	if err != nil {
		return err
	}
	s.dialed++
	s.calls[w[0]] = append(s.calls[w[0]], c)
	return nil
}
