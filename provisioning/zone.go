package provisioning

import (
	"fmt"
	"time"
)

// zone is a time zone as phones understand it: an offset and, where clocks change, the two changes of each year.
type zone struct {
	Offset string // from UTC in winter: "+1", "-3:30", "0"
	Summer *summer
}

// summer says when clocks go forward and back.
type summer struct {
	ByWeekday  bool   // Start and End are "month/week/weekday/hour", else "month/day/hour"
	Start, End string // in the wall-clock time that ends at that moment
	Minutes    int    // how far clocks go
}

// yearsAhead is how long a rule must hold to be called one.
const yearsAhead = 10

// zoneOf describes a zone from the changes of its clocks in the year of now and those that follow.
//
// Where the law names a weekday ("last Sunday in March") the same rule comes out each year, so the file of a phone
// stays the same. Where it does not, the dates of this year are given, and change with the year.
func zoneOf(loc *time.Location, now time.Time) zone {
	year := now.In(loc).Year()
	start, end, ok := changesOf(loc, year)
	if !ok {
		_, offset := now.In(loc).Zone()
		return zone{Offset: offsetText(offset)}
	}
	z := zone{
		Offset: offsetText(start.before),
		Summer: &summer{Start: start.date(), End: end.date(), Minutes: (start.after - start.before) / 60},
	}
	startRule, ok1 := weekdayRule(loc, year, func(start, _ change) change { return start })
	endRule, ok2 := weekdayRule(loc, year, func(_, end change) change { return end })
	if ok1 && ok2 {
		z.Summer.ByWeekday, z.Summer.Start, z.Summer.End = true, startRule, endRule
	}
	return z
}

// change is one turn of the clocks.
type change struct {
	wall          time.Time // what the clocks showed when they were turned
	before, after int       // seconds east of UTC
}

func (c change) date() string {
	return fmt.Sprintf("%d/%d/%d", c.wall.Month(), c.wall.Day(), c.wall.Hour())
}

// changesOf finds the change to summer time and the change back within a year. Offsets decide, not the name that the
// law gives them: Dublin calls its winter time the exception.
func changesOf(loc *time.Location, year int) (start, end change, ok bool) {
	t := time.Date(year, time.January, 1, 0, 0, 0, 0, loc)
	last := time.Date(year+1, time.January, 1, 0, 0, 0, 0, loc)
	var haveStart, haveEnd bool
	for {
		_, next := t.ZoneBounds()
		if next.IsZero() || !next.Before(last) {
			return start, end, haveStart && haveEnd
		}
		_, before := next.Add(-time.Second).Zone()
		_, after := next.Zone()
		c := change{wall: next.UTC().Add(time.Duration(before) * time.Second), before: before, after: after}
		switch {
		case after > before && !haveStart:
			start, haveStart = c, true
		case after < before && !haveEnd:
			end, haveEnd = c, true
		}
		t = next
	}
}

// weekdayRule returns "month/week/weekday/hour" when one such rule tells the change in each year to come.
// Week 5 is the last one of the month; weekday 1 is Monday and 7 is Sunday.
func weekdayRule(loc *time.Location, year int, which func(start, end change) change) (string, bool) {
	var first change
	sameWeek, lastWeek := true, true
	for y := year; y < year+yearsAhead; y++ {
		start, end, ok := changesOf(loc, y)
		if !ok {
			return "", false
		}
		c := which(start, end)
		if y == year {
			first = c
		}
		if c.wall.Month() != first.wall.Month() || c.wall.Weekday() != first.wall.Weekday() || c.wall.Hour() != first.wall.Hour() {
			return "", false
		}
		sameWeek = sameWeek && weekOf(c.wall) == weekOf(first.wall)
		lastWeek = lastWeek && c.wall.AddDate(0, 0, 7).Month() != c.wall.Month()
	}
	week := weekOf(first.wall)
	switch {
	case lastWeek:
		week = 5
	case !sameWeek:
		return "", false
	}
	weekday := int(first.wall.Weekday())
	if weekday == 0 {
		weekday = 7
	}
	return fmt.Sprintf("%d/%d/%d/%d", first.wall.Month(), week, weekday, first.wall.Hour()), true
}

func weekOf(t time.Time) int { return (t.Day()-1)/7 + 1 }

// offsetText writes seconds east of UTC as phones do.
func offsetText(seconds int) string {
	if seconds == 0 {
		return "0"
	}
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	h, m := seconds/3600, seconds/60%60
	if m == 0 {
		return fmt.Sprintf("%s%d", sign, h)
	}
	return fmt.Sprintf("%s%d:%02d", sign, h, m)
}
