package provisioning

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestZoneOf(t *testing.T) {
	now := time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"Europe/Berlin":       "+1 weekday 3/5/7/2 10/5/7/3 60",
		"Europe/London":       "0 weekday 3/5/7/1 10/5/7/2 60",
		"Europe/Dublin":       "0 weekday 3/5/7/1 10/5/7/2 60", // the law calls winter the exception
		"America/Toronto":     "-5 weekday 3/2/7/2 11/1/7/2 60",
		"America/St_Johns":    "-3:30 weekday 3/2/7/2 11/1/7/2 60",
		"Australia/Sydney":    "+10 weekday 10/1/7/2 4/1/7/3 60",
		"Australia/Lord_Howe": "+10:30 weekday 10/1/7/2 4/1/7/2 30",
		"America/Phoenix":     "-7",
		"Asia/Kolkata":        "+5:30",
		"Asia/Kathmandu":      "+5:45",
		"Asia/Tokyo":          "+9",
		"UTC":                 "0",
		"Asia/Jerusalem":      "+2 date 3/27/2 10/25/2 60", // the Friday before a Sunday is no weekday of a week
	} {
		z := zoneOf(load(t, name), now)
		got := z.Offset
		if z.Summer != nil {
			how := "date"
			if z.Summer.ByWeekday {
				how = "weekday"
			}
			got += fmt.Sprintf(" %s %s %s %d", how, z.Summer.Start, z.Summer.End, z.Summer.Minutes)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestZoneAgreesWithClock plays a phone: for each hour of a year, offset and rule must tell the time that the zone has.
func TestZoneAgreesWithClock(t *testing.T) {
	for _, name := range []string{
		"Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Santiago", "Australia/Lord_Howe",
		"Asia/Jerusalem", "Pacific/Auckland", "Asia/Beirut", "Africa/Cairo", "America/Havana", "Asia/Kolkata", "America/Sao_Paulo",
	} {
		loc := load(t, name)
		for year := 2026; year < 2030; year++ {
			z := zoneOf(loc, time.Date(year, time.June, 1, 0, 0, 0, 0, time.UTC))
			for h := time.Date(year, time.January, 2, 0, 30, 0, 0, time.UTC); h.Year() == year && h.YearDay() < 364; h = h.Add(time.Hour) {
				_, want := h.In(loc).Zone()
				if got := phoneOffset(t, z, h); got != want {
					t.Errorf("%s at %s: phone is %d s east of UTC, zone is %d (%+v)", name, h, got, want, z)
					break
				}
			}
		}
	}
}

// phoneOffset computes what a phone with these settings shows.
func phoneOffset(t *testing.T, z zone, at time.Time) int {
	t.Helper()
	sign, text := 1, z.Offset
	if strings.HasPrefix(text, "-") {
		sign = -1
	}
	hours, minutes, _ := strings.Cut(strings.TrimLeft(text, "+-"), ":")
	h, err := strconv.Atoi(hours)
	if err != nil {
		t.Fatal(err)
	}
	m := 0
	if minutes != "" {
		if m, err = strconv.Atoi(minutes); err != nil {
			t.Fatal(err)
		}
	}
	standard := sign * (h*3600 + m*60)
	if z.Summer == nil {
		return standard
	}
	summer := standard + z.Summer.Minutes*60
	// Both moments in UTC: the start is written in standard time, the end in summer time.
	start := moment(t, z.Summer, z.Summer.Start, at.Year()).Add(-time.Duration(standard) * time.Second)
	end := moment(t, z.Summer, z.Summer.End, at.Year()).Add(-time.Duration(summer) * time.Second)
	inside := !at.Before(start) && at.Before(end)
	if end.Before(start) {
		inside = !at.Before(start) || at.Before(end)
	}
	if inside {
		return summer
	}
	return standard
}

func moment(t *testing.T, s *summer, rule string, year int) time.Time {
	t.Helper()
	var n []int
	for _, word := range strings.Split(rule, "/") {
		v, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		n = append(n, v)
	}
	if !s.ByWeekday {
		return time.Date(year, time.Month(n[0]), n[1], n[2], 0, 0, 0, time.UTC)
	}
	day := time.Date(year, time.Month(n[0]), 1, n[3], 0, 0, 0, time.UTC)
	for int(day.Weekday()) != n[2]%7 {
		day = day.AddDate(0, 0, 1)
	}
	for week := 1; week < n[1] && day.AddDate(0, 0, 7).Month() == day.Month(); week++ {
		day = day.AddDate(0, 0, 7)
	}
	return day
}
