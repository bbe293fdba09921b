package admin

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// TestContractAndRoutesAgree proves both directions; New refuses to start otherwise, and so does this.
func TestContractAndRoutesAgree(t *testing.T) {
	h := emptyHouse(t)
	handlers := h.server.handlers()
	var inContract, routed []string
	for _, o := range h.server.operations {
		if handlers[o.id] == nil {
			t.Errorf("operation %s has no handler", o.id)
		}
		delete(handlers, o.id)
		inContract = append(inContract, o.method+" "+basePath+o.path)
	}
	for id := range handlers {
		t.Errorf("handler %s is in no operation", id)
	}
	err := h.server.router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, basePath+"/") {
			routed = append(routed, methods[0]+" "+path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(inContract)
	slices.Sort(routed)
	if !slices.Equal(inContract, routed) {
		t.Errorf("contract %v\nrouter %v", inContract, routed)
	}
}

func TestContractStyle(t *testing.T) {
	doc, operations, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil { // with examples
		t.Error(err)
	}
	activities := make(map[string]string)
	for _, o := range operations {
		if other := activities[o.activity]; other != "" {
			t.Errorf("%s and %s have the same name in the log", o.id, other)
		}
		activities[o.activity] = o.id
		if o.spec.Summary == "" || len(o.spec.Tags) != 1 {
			t.Errorf("%s: summary %q, tags %v", o.id, o.spec.Summary, o.spec.Tags)
		}
		if o.spec.Responses.Value("default") == nil {
			t.Errorf("%s: no problem answer", o.id)
		}
		if (o.access == public) != (o.spec.Security != nil && len(*o.spec.Security) == 0) {
			t.Errorf("%s: x-access %s and security disagree", o.id, o.access)
		}
		if o.method == "POST" && o.spec.Responses.Value("201") != nil && o.spec.Responses.Value("201").Value.Headers["Location"] == nil {
			t.Errorf("%s: created without Location", o.id)
		}
	}
	for name, s := range doc.Components.Schemas {
		for field := range s.Value.Properties {
			if field != strings.ToLower(field) || strings.ContainsAny(field, "- ") {
				t.Errorf("%s.%s is not snake_case", name, field)
			}
		}
		if request := strings.HasSuffix(name, "Create") || strings.HasSuffix(name, "Patch") || strings.HasSuffix(name, "Change"); request && s.Value.AdditionalProperties.Has == nil {
			t.Errorf("%s takes unknown fields", name)
		}
		if strings.HasSuffix(name, "List") && !slices.Equal(s.Value.Required[:2], []string{"items", "next_cursor"}) {
			t.Errorf("%s is no list as lists are", name)
		}
	}
}

// TestTypesAreGenerated fails when openapi.yaml and contract/models.gen.go drift apart. It needs the generator, which
// the project's checks install.
func TestTypesAreGenerated(t *testing.T) {
	generator, err := exec.LookPath("oapi-codegen")
	if err != nil {
		t.Skip("oapi-codegen is not installed")
	}
	out := filepath.Join(t.TempDir(), "models.gen.go")
	made, err := exec.Command(generator, "-config", "contract/oapi-codegen.yaml", "-o", out, "openapi.yaml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, made)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("contract/models.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, have) {
		t.Error("contract/models.gen.go is old: run go generate ./admin")
	}
}
