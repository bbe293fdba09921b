package admin

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// problem is an error with an answer (RFC 9457).
type problem struct {
	status int
	detail string
	fields []contract.ProblemField
	with   store.ID
	wait   time.Duration
}

func (p *problem) Error() string { return p.detail }

// The problems that need no more words.
var (
	errUnauthorized = &problem{status: http.StatusUnauthorized, detail: "Sign in first."}
	errForbidden    = &problem{status: http.StatusForbidden, detail: "Your role does not allow this."}
	errNotFound     = &problem{status: http.StatusNotFound, detail: "There is no such thing here."}
	errStale        = &problem{status: http.StatusPreconditionFailed, detail: "It was changed by somebody else meanwhile. Load it again."}
	errTooLarge     = &problem{status: http.StatusRequestEntityTooLarge, detail: "The request is larger than one mebibyte."}
)

func badRequest(detail string) *problem {
	return &problem{status: http.StatusBadRequest, detail: detail}
}

func conflict(detail string) *problem {
	return &problem{status: http.StatusConflict, detail: detail}
}

func tooManyTries(wait time.Duration) *problem {
	return &problem{status: http.StatusTooManyRequests, detail: "Too many tries. Wait " + inWords(wait) + ".", wait: wait}
}

// inWords rounds a waiting time up and says it.
func inWords(d time.Duration) string {
	n, unit := int(math.Ceil(d.Seconds())), "second"
	if n >= 60 {
		n, unit = int(math.Ceil(d.Minutes())), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// problemOf turns any error into an answer. known is false for errors that are our own fault and must be logged.
func problemOf(err error) (p *problem, known bool) {
	var (
		fields store.FieldErrors
		field  store.FieldError
		clash  store.ConflictError
	)
	switch {
	case errors.As(err, &p):
		return p, true
	case errors.As(err, &fields):
		return fieldProblem(fields), true
	case errors.As(err, &field):
		return fieldProblem(store.FieldErrors{field}), true
	case errors.As(err, &clash):
		p = conflict(clash.Problem)
		p.with = clash.With
		if clash.Field != "" {
			p.fields = []contract.ProblemField{{Field: clash.Field, Message: clash.Problem, With: optional(string(clash.With))}}
		}
		return p, true
	case errors.Is(err, store.ErrNotFound):
		return errNotFound, true
	case errors.Is(err, store.ErrStale):
		return errStale, true
	case errors.Is(err, store.ErrConflict):
		return conflict("It is in use."), true
	case errors.Is(err, store.ErrBusy):
		return &problem{status: http.StatusServiceUnavailable, detail: "The database is busy. Try again.", wait: 2 * time.Second}, true
	case errors.Is(err, store.ErrFull):
		return &problem{status: http.StatusInsufficientStorage, detail: "The disk is full, so nothing can be saved."}, true
	case errors.Is(err, store.ErrReadOnly):
		return &problem{status: http.StatusInsufficientStorage, detail: "The disk is read-only, so nothing can be saved."}, true
	}
	return &problem{status: http.StatusInternalServerError, detail: "Something went wrong on the server. Its log says what."}, false
}

func fieldProblem(fields store.FieldErrors) *problem {
	p := &problem{status: http.StatusUnprocessableEntity, detail: "Some fields need attention."}
	if len(fields) == 1 {
		p.detail = fields[0].Problem
	}
	for _, f := range fields {
		p.fields = append(p.fields, contract.ProblemField{Field: f.Field, Message: f.Problem})
		if f.Field == "cursor" || f.Field == "limit" {
			p.status = http.StatusBadRequest
		}
	}
	return p
}

// write sends the problem.
func (p *problem) write(w http.ResponseWriter) {
	body := contract.Problem{Type: "about:blank", Title: http.StatusText(p.status), Status: p.status, Detail: p.detail, With: optional(string(p.with))}
	if len(p.fields) > 0 {
		body.Errors = &p.fields
	}
	if p.wait > 0 {
		seconds := int(math.Ceil(p.wait.Seconds()))
		body.RetryAfterS = &seconds
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pbx"`) // RFC 9110 §11.6.1
	}
	text, err := json.Marshal(body)
	if err != nil { // strings and numbers: cannot happen
		panic(err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	w.Write(text)
}
