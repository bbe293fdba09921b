package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"pbx/admin/contract"
)

// maxBody is the largest request body.
const maxBody = 1 << 20

// readBody returns the JSON body of a request, proven against the contract; nil when the operation takes none.
func (o *operation) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if o.spec.RequestBody == nil {
		return nil, nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	content := o.spec.RequestBody.Value.Content[kind]
	if err != nil || content == nil {
		return nil, &problem{status: http.StatusUnsupportedMediaType, detail: "The body must be application/json."}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errTooLarge
	} else if err != nil {
		return nil, badRequest("The body could not be read.")
	}
	if !utf8.Valid(body) {
		return nil, badRequest("The body is not valid UTF-8.")
	}
	value, err := decodeJSON(body)
	if err != nil {
		return nil, badRequest("The body is not valid JSON.")
	}
	if values := 0; !modest(value, maxDepth, &values) {
		return nil, badRequest("The body has too many values, or they are nested too deeply.")
	}
	found := schemaFaults(content.Schema.Value.VisitJSON(value, openapi3.VisitAsRequest(), openapi3.MultiErrors()), "")
	found = append(found, controlFaults(value)...)
	if len(found) > 0 {
		return nil, faultsProblem(http.StatusUnprocessableEntity, found)
	}
	return body, nil
}

// What a body may hold, so that refusing it costs no more than taking it.
const (
	maxDepth  = 16
	maxValues = 10_000
	maxFaults = 50 // that are told
)

// modest reports whether a value is no deeper and has no more parts than any operation needs.
func modest(value any, depth int, values *int) bool {
	if *values++; *values > maxValues || depth < 0 {
		return false
	}
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if !modest(item, depth-1, values) {
				return false
			}
		}
	case map[string]any:
		for _, item := range v {
			if !modest(item, depth-1, values) {
				return false
			}
		}
	}
	return true
}

// decodeJSON reads exactly one JSON value.
func decodeJSON(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return value, nil
}

// decode reads a body that fits its schema into its type.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) { // 5.0 is an integer for the schema, not for Go
		return faultsProblem(http.StatusUnprocessableEntity, []contract.ProblemField{{Field: wrong.Field, Message: named(wrong.Field) + " has the wrong type."}})
	}
	if err != nil {
		return badRequest("The body is not valid JSON.")
	}
	return nil
}

// checkParams proves path, query and header parameters against the contract.
func (o *operation) checkParams(r *http.Request, vars map[string]string) error {
	query := r.URL.Query()
	var found []contract.ProblemField
	for _, p := range o.params {
		var given []string
		switch p.In {
		case openapi3.ParameterInPath:
			valid := validID(vars[p.Name])
			if p.Name == "ip" { // the one thing that has no id
				_, err := netip.ParseAddr(vars[p.Name])
				valid = err == nil
			}
			if !valid {
				return errNotFound
			}
			continue
		case openapi3.ParameterInQuery:
			given = query[p.Name]
		case openapi3.ParameterInHeader:
			given = r.Header.Values(p.Name)
		}
		if len(given) == 0 || len(given) == 1 && given[0] == "" {
			continue
		}
		value, ok := paramValue(p.Schema.Value, given)
		if !ok {
			found = append(found, contract.ProblemField{Field: p.Name, Message: named(p.Name) + " has the wrong type."})
			continue
		}
		found = append(found, schemaFaults(p.Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.EnableFormatValidation()), p.Name)...)
		found = append(found, controlFaults(value, p.Name)...)
	}
	if len(found) > 0 {
		return faultsProblem(http.StatusBadRequest, found)
	}
	return nil
}

// paramValue reads a parameter as the JSON value that its schema speaks of.
func paramValue(s *openapi3.Schema, given []string) (any, bool) {
	if s.Type.Is(openapi3.TypeArray) {
		list := make([]any, len(given))
		for i, g := range given {
			list[i] = g
		}
		return list, true
	}
	if len(given) != 1 {
		return nil, false
	}
	switch {
	case s.Type.Is(openapi3.TypeInteger):
		n, err := strconv.ParseInt(given[0], 10, 64)
		return float64(n), err == nil
	case s.Type.Is(openapi3.TypeBoolean):
		return given[0] == "true", given[0] == "true" || given[0] == "false"
	}
	return given[0], true
}

// validID reports whether a path segment can be an id at all.
func validID(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

func faultsProblem(status int, found []contract.ProblemField) *problem {
	slices.SortStableFunc(found, func(a, b contract.ProblemField) int { return strings.Compare(a.Field, b.Field) })
	found = slices.CompactFunc(found, func(a, b contract.ProblemField) bool { return a.Field == b.Field })
	p := &problem{status: status, detail: "Some fields need attention.", fields: found}
	if len(found) == 1 {
		p.detail = found[0].Message
	}
	if len(found) > maxFaults {
		p.fields = found[:maxFaults]
	}
	return p
}

// schemaFaults tells in words what a value violates.
func schemaFaults(err error, parameter string) []contract.ProblemField {
	switch e := err.(type) {
	case nil:
		return nil
	case openapi3.MultiError:
		var all []contract.ProblemField
		for i, one := range e {
			if i > 0 && sameObject(e[i-1], one) {
				continue // there is one error for each unknown field, and the first names them all
			}
			all = append(all, schemaFaults(one, parameter)...)
		}
		return all
	case *openapi3.SchemaError:
		path := e.JSONPointer()
		if parameter != "" {
			path = append([]string{parameter}, path...)
		}
		field := strings.Join(path, ".")
		if object, is := ofUnknownField(e); is {
			return unknownFields(object, e.Schema, field)
		}
		return []contract.ProblemField{{Field: clipped(field), Message: faultInWords(e, field)}}
	}
	return []contract.ProblemField{{Field: parameter, Message: named(parameter) + " is not valid."}}
}

// ofUnknownField returns the object that an error found a field in which its schema does not have.
func ofUnknownField(err error) (object map[string]any, is bool) {
	e, is := err.(*openapi3.SchemaError)
	if !is || e.SchemaField != "additionalProperties" && e.SchemaField != "properties" {
		return nil, false
	}
	object, is = e.Value.(map[string]any)
	return object, is
}

// sameObject reports whether both errors are about unknown fields of one object.
func sameObject(a, b error) bool {
	x, isX := ofUnknownField(a)
	y, isY := ofUnknownField(b)
	return isX && isY && reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer()
}

// unknownFields names the fields of an object that its schema does not have.
func unknownFields(object map[string]any, schema *openapi3.Schema, at string) []contract.ProblemField {
	var all []contract.ProblemField
	for name := range object {
		if _, known := schema.Properties[name]; !known {
			all = append(all, contract.ProblemField{Field: clipped(join(at, name)), Message: "There is no field of this name."})
		}
	}
	return all
}

// clipped bounds a field name that the caller may have made up.
func clipped(field string) string {
	if len(field) > 100 {
		field = field[:100]
	}
	return strings.ToValidUTF8(field, "")
}

func faultInWords(e *openapi3.SchemaError, field string) string {
	name, s := named(field), e.Schema
	switch e.SchemaField {
	case "required":
		return name + " is required."
	case "nullable":
		return name + " must not be null."
	case "type":
		return name + " must be " + typeInWords(s) + "."
	case "enum":
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		return name + " must be one of: " + strings.Join(words, ", ") + "."
	case "maxLength":
		return fmt.Sprintf("%s must have at most %d characters.", name, *s.MaxLength)
	case "minLength":
		if s.MinLength == 1 {
			return name + " is required."
		}
		return fmt.Sprintf("%s must have at least %d characters.", name, s.MinLength)
	case "minimum":
		return fmt.Sprintf("%s must be at least %v.", name, *s.Min)
	case "maximum":
		return fmt.Sprintf("%s must be at most %v.", name, *s.Max)
	case "maxItems":
		return fmt.Sprintf("%s must have at most %d entries.", name, *s.MaxItems)
	case "uniqueItems":
		return name + " must not name the same one twice."
	case "format":
		if s.Format == "date-time" {
			return name + " must be a time such as 2026-03-02T10:00:00Z."
		}
	}
	return name + " is not valid."
}

func typeInWords(s *openapi3.Schema) string {
	switch {
	case s.Type.Includes(openapi3.TypeString):
		return "text"
	case s.Type.Includes(openapi3.TypeInteger):
		return "a whole number"
	case s.Type.Includes(openapi3.TypeNumber):
		return "a number"
	case s.Type.Includes(openapi3.TypeBoolean):
		return "true or false"
	case s.Type.Includes(openapi3.TypeArray):
		return "a list"
	}
	return "an object"
}

// named turns the name of a field into the start of a sentence: "admin_email" becomes "Admin email".
func named(field string) string {
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		field = field[i+1:]
	}
	switch field {
	case "":
		return "The body"
	case "mac":
		return "MAC address"
	case "pin":
		return "PIN"
	case "ipei", "srtp":
		return strings.ToUpper(field)
	}
	field = strings.TrimSuffix(strings.ReplaceAll(field, "_", " "), " s")
	first, size := utf8.DecodeRuneInString(field) // the caller may have made up the name
	if size == 0 {
		return "The field"
	}
	return string(unicode.ToUpper(first)) + field[size:]
}

// controlFaults finds control characters in any text of a value at path. A billing address may have lines.
func controlFaults(value any, path ...string) []contract.ProblemField {
	var found []contract.ProblemField
	switch v := value.(type) {
	case string:
		lines := len(path) == 1 && path[0] == "billing_address"
		bad := strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && !(lines && (r == '\n' || r == '\r')) })
		if bad {
			field := clipped(strings.Join(path, "."))
			found = append(found, contract.ProblemField{Field: field, Message: named(field) + " must not contain control characters."})
		}
	case []any:
		for i := 0; i < len(v) && len(found) < maxFaults; i++ {
			found = append(found, controlFaults(v[i], append(path, strconv.Itoa(i))...)...)
		}
	case map[string]any:
		for name, item := range v {
			if len(found) >= maxFaults {
				break
			}
			found = append(found, controlFaults(item, append(path, name)...)...)
		}
	}
	return found
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
