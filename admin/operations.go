package admin

import (
	_ "embed" // the contract
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed openapi.yaml
var contractYAML []byte

const basePath = "/api/v1"

// access says who may call an operation.
type access string

const (
	public     access = "public"
	memberOnly access = "member" // members and admins
	adminOnly  access = "admin"
)

// operation is one operation of the contract.
type operation struct {
	id       string
	method   string
	path     string // "/accounts/{account}/users"
	access   access
	activity string // "user.list"
	spec     *openapi3.Operation
	params   []*openapi3.Parameter
}

// noun is the first part of the activity name: "user".
func (o *operation) noun() string {
	noun, _, _ := strings.Cut(o.activity, ".")
	return noun
}

// loadContract reads the embedded contract. That it is valid OpenAPI is proven by a test, because it takes long on a small machine.
func loadContract() (*openapi3.T, []*operation, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contractYAML)
	if err != nil {
		return nil, nil, fmt.Errorf("load contract: %w", err)
	}
	var all []*operation
	for path, item := range doc.Paths.Map() {
		for method, spec := range item.Operations() {
			o := &operation{id: spec.OperationID, method: method, path: path, spec: spec}
			a, _ := spec.Extensions["x-access"].(string)
			o.access = access(a)
			o.activity, _ = spec.Extensions["x-activity"].(string)
			switch {
			case o.access != public && o.access != memberOnly && o.access != adminOnly:
				return nil, nil, fmt.Errorf("check contract: %s has no x-access", o.id)
			case !strings.Contains(o.activity, "."):
				return nil, nil, fmt.Errorf("check contract: %s has no x-activity", o.id)
			}
			for _, p := range append(append(openapi3.Parameters{}, item.Parameters...), spec.Parameters...) {
				o.params = append(o.params, p.Value)
			}
			all = append(all, o)
		}
	}
	return doc, all, nil
}
