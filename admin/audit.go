package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"pbx/store"
)

// maxActor bounds what a stranger can write into the log.
const maxActor = 80

// log writes the activity entry of an operation, unless its transaction has done so.
func (s *Server) log(ctx context.Context, q *request, status int) {
	outcome := store.Success
	switch {
	case q.outcome != "":
		outcome = store.ActivityOutcome(q.outcome)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		outcome = store.Denied
	case status >= 400:
		outcome = store.Failure
	}
	if outcome == store.Success && q.logged {
		return
	}
	if q.op.id == "getSession" && status == http.StatusUnauthorized && len(q.http.Cookies()) == 0 && q.http.Header.Get("Authorization") == "" {
		return // the portal asks on every visit whether somebody is signed in
	}
	actor, account := q.who.actor, q.who.account
	if account == "" {
		if actor, account = s.stranger(q), s.accountOf(q); account == "" {
			return
		}
		// Strangers cannot fill the disk: after the first refusals of an address, one in a while is noted.
		if outcome != store.Success && s.strangers.enter(time.Now(), limit{"ip " + network(actor.IP), 30}, limit{"all", 1000}) > 0 {
			return
		}
	}
	entry := store.Activity{Event: q.op.activity, Resource: q.about(), Actor: actor, Outcome: outcome}
	if q.event != "" {
		entry.Event = q.event
	}
	detail := q.detail
	if outcome != store.Success && detail == nil {
		detail = map[string]any{"status": status}
	}
	if detail != nil {
		text, err := json.Marshal(detail)
		if err != nil { // strings and numbers: cannot happen
			panic(err)
		}
		entry.Detail = text
	}
	if err := s.record(context.WithoutCancel(ctx), account, entry); err != nil {
		s.Log.Warn("activity not written", "operation", q.op.id, "err", err)
	}
}

// recordPatience is how long an answer waits for room in the log.
const recordPatience = 2 * time.Second

// record adds an entry. While the log has no room, whoever asks so often has to wait: nothing goes unwritten.
func (s *Server) record(ctx context.Context, account store.ID, a store.Activity) error {
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	for {
		err := s.DB.Record(ctx, account, a)
		if !errors.Is(err, store.ErrBusy) {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// about names the resource of a request: "user/usr_…", or "user" for all of them.
func (q *request) about() string {
	if q.resource != "" {
		return q.resource
	}
	for _, v := range []string{"user", "device", "message", "clip", "recording", "call", "key"} {
		if id := q.vars[v]; id != "" {
			return q.op.noun() + "/" + id
		}
	}
	switch noun := q.op.noun(); {
	case q.who.account == "":
		return noun
	case noun == "user" && !strings.Contains(q.op.path, "{account}"): // "/me" and what is below
		return "user/" + string(q.who.user.ID)
	case noun == "account":
		return "account/" + string(q.who.account)
	default:
		return noun
	}
}

// stranger is the actor of a request that nobody is known to have sent.
func (s *Server) stranger(q *request) store.Actor {
	name := q.actor
	if len(name) > maxActor {
		name = name[:maxActor]
	}
	return store.Actor{Kind: "anonymous", Name: name, IP: clientIP(q.http)}
}

// accountOf is the account in whose log a stranger's request belongs: the one named, or the only one there is.
func (s *Server) accountOf(q *request) store.ID {
	if q.account != "" {
		return q.account
	}
	if id := store.ID(q.vars["account"]); id != "" && s.DB.Snapshot(id) != nil {
		return id
	}
	if all := s.DB.Accounts(); len(all) == 1 {
		return all[0]
	}
	return ""
}
