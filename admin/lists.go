package admin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// page reads the paging parameters, which the contract has checked.
func (q *request) page() store.Page {
	values := q.http.URL.Query()
	limit, _ := strconv.Atoi(values.Get("limit"))
	return store.Page{Limit: limit, Cursor: values.Get("cursor"), Query: values.Get("q")}
}

// time reads a time parameter, which the contract has checked; zero when absent.
func (q *request) time(name string) time.Time {
	text := q.http.URL.Query().Get(name)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil && text != "" {
		return time.Time{}
	}
	return t
}

func (q *request) param(name string) string { return q.http.URL.Query().Get(name) }

// id reads an id of the path.
func (q *request) id(name string) store.ID { return store.ID(q.vars[name]) }

// ifVersion reads If-Match: the version that the caller has seen, 0 for any.
func (q *request) ifVersion() (int64, error) {
	text := q.http.Header.Get("If-Match")
	if text == "" || text == "*" {
		return 0, nil
	}
	text = strings.Trim(strings.TrimPrefix(text, "W/"), `"`)
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 1 {
		return 0, faultsProblem(http.StatusBadRequest, []contract.ProblemField{{Field: "If-Match", Message: `If-Match must be a version in quotes, such as "3".`}})
	}
	return version, nil
}

// patched applies a JSON merge patch (RFC 7396) to what can be changed of an object, as it is now, and reads the result.
// A field that is absent from the result was absent or taken away by null; write-only fields are absent from now.
func patched[T any](now T, patch []byte) (T, error) {
	var result T
	before, err := json.Marshal(now)
	if err != nil { // plain fields: cannot happen
		panic(err)
	}
	old, err := decodeJSON(before)
	if err != nil {
		panic(err)
	}
	change, err := decodeJSON(patch)
	if err != nil {
		return result, badRequest("The body is not valid JSON.")
	}
	after, err := json.Marshal(merge(old, change))
	if err != nil {
		panic(err)
	}
	return result, decode(after, &result)
}

// merge is MergePatch of RFC 7396 §2.
func merge(target, patch any) any {
	change, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	object, isObject := target.(map[string]any)
	if !isObject {
		object = map[string]any{}
	}
	for name, value := range change {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], value)
		}
	}
	return object
}

// value is the value of an optional field, or its zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// valueOr is the value of an optional field, or other.
func valueOr[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}

// merged adds what both errors say about fields; another error wins.
func mergedFaults(errs ...error) error {
	var all store.FieldErrors
	for _, err := range errs {
		switch e := err.(type) {
		case nil:
		case store.FieldErrors:
			all = append(all, e...)
		default:
			return err
		}
	}
	return all.Err()
}
