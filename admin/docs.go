package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	_ "embed" // the page

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed docs.html
var docsHTML string

// What the page shows of the contract.
type (
	docPage struct {
		Title, Version, About string
		Groups                []docGroup
		Schemas               []docSchema
	}
	docGroup struct {
		Name, About string
		Operations  []docOperation
	}
	docOperation struct {
		ID, Method, Path, Summary, About, Access, Activity string
		Params                                             []docField
		Body, BodyRef                                      string
		Answers                                            []docAnswer
	}
	docAnswer struct{ Status, About, Ref string }
	docSchema struct {
		Name, About, Kind string
		Fields            []docField
	}
	docField struct {
		Name, Kind, Ref, About, In, Example string
		Required                            bool
	}
)

// renderDocs makes the page. It is made once: the contract does not change while we run.
func renderDocs(doc *openapi3.T, operations []*operation) ([]byte, error) {
	page := docPage{Title: doc.Info.Title, Version: doc.Info.Version, About: doc.Info.Description}
	sorted := slices.Clone(operations)
	slices.SortFunc(sorted, func(a, b *operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	for _, tag := range doc.Tags {
		g := docGroup{Name: tag.Name, About: tag.Description}
		for _, o := range sorted {
			if slices.Contains(o.spec.Tags, tag.Name) {
				g.Operations = append(g.Operations, describe(o))
			}
		}
		page.Groups = append(page.Groups, g)
	}
	for name, schema := range doc.Components.Schemas {
		page.Schemas = append(page.Schemas, describeSchema(name, schema.Value))
	}
	slices.SortFunc(page.Schemas, func(a, b docSchema) int { return strings.Compare(a.Name, b.Name) })
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, fmt.Errorf("render contract: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, page); err != nil {
		return nil, fmt.Errorf("render contract: %w", err)
	}
	return out.Bytes(), nil
}

func describe(o *operation) docOperation {
	d := docOperation{
		ID: o.id, Method: o.method, Path: basePath + o.path, Summary: o.spec.Summary, About: o.spec.Description,
		Access: string(o.access), Activity: o.activity,
	}
	for _, p := range o.params {
		f := docField{Name: p.Name, In: p.In, About: p.Description, Required: p.Required}
		f.Kind, f.Ref = kindInWords(p.Schema)
		d.Params = append(d.Params, f)
	}
	if o.spec.RequestBody != nil {
		if o.upload() {
			d.Body = "multipart/form-data: file, name"
		} else {
			d.Body, d.BodyRef = kindInWords(o.spec.RequestBody.Value.Content["application/json"].Schema)
		}
	}
	for status, answer := range o.spec.Responses.Map() {
		a := docAnswer{Status: status}
		if answer.Value.Description != nil {
			a.About = *answer.Value.Description
		}
		for _, c := range answer.Value.Content {
			_, a.Ref = kindInWords(c.Schema)
		}
		d.Answers = append(d.Answers, a)
	}
	slices.SortFunc(d.Answers, func(a, b docAnswer) int { return strings.Compare(a.Status, b.Status) })
	return d
}

func describeSchema(name string, s *openapi3.Schema) docSchema {
	d := docSchema{Name: name, About: s.Description}
	d.Kind, _ = kindInWords(&openapi3.SchemaRef{Value: s})
	for field, ref := range s.Properties {
		f := docField{Name: field, About: ref.Value.Description, Required: slices.Contains(s.Required, field)}
		f.Kind, f.Ref = kindInWords(ref)
		if len(ref.Value.Examples) > 0 {
			if text, err := json.Marshal(ref.Value.Examples[0]); err == nil {
				f.Example = string(text)
			}
		}
		d.Fields = append(d.Fields, f)
	}
	slices.SortFunc(d.Fields, func(a, b docField) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// kindInWords tells what a schema allows, and the component that it names.
func kindInWords(ref *openapi3.SchemaRef) (kind, name string) {
	if ref == nil || ref.Value == nil {
		return "anything", ""
	}
	if i := strings.LastIndexByte(ref.Ref, '/'); i >= 0 {
		name = ref.Ref[i+1:]
	}
	s := ref.Value
	switch {
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, " | "), name
	case s.Items != nil:
		kind, item := kindInWords(s.Items)
		return "list of " + kind, item
	case len(s.OneOf) > 0:
		kind, name := kindInWords(s.OneOf[0])
		return kind + " or null", name
	case s.Type == nil:
		return "anything", name
	}
	kind = strings.Join(s.Type.Slice(), " or ")
	if s.Format != "" {
		kind += " (" + s.Format + ")"
	}
	return kind, name
}

func (s *Server) serveDocs(w http.ResponseWriter, _ *http.Request) {
	page, err := s.docs()
	if err != nil {
		s.Log.Error("contract not shown", "err", err)
		p, _ := problemOf(err)
		p.write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	w.Write(page)
}

func serveContract(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(contractYAML)
}
