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

	"pbx/store"
)

// TestContractAndRoutesAgree proves both directions; otherwise the server answers nothing.
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
	for _, o := range operations {
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

// TestLogSpeaksLikeTheContract keeps the names of the log, which the store writes too, to those that the contract tells
// readers about.
func TestLogSpeaksLikeTheContract(t *testing.T) {
	h := newHouse(t)
	known := []string{"account.create", "provisioning.reveal"} // set-up, and a read that shows secrets
	for _, o := range h.server.operations {
		known = append(known, o.activity)
	}
	m := h.message(t, h.account, h.ada.ID)
	path := "/accounts/default/voicemail-messages/" + string(m.ID)
	h.admin.patch(path, map[string]any{"read": true}).want(200)
	h.admin.remove(path).want(204)
	h.admin.patch("/me", map[string]any{"name": "Ada King"}).want(200)
	h.admin.patch("/me/settings", map[string]any{"do_not_disturb": true}).want(200)
	h.admin.patch("/accounts/default", map[string]any{"name": "Acme Ltd"}).want(200)
	device := "/accounts/default/devices/" + string(h.desk.ID)
	h.admin.post(device+"/lines/"+string(h.desk.Lines[0].ID)+"/rotate", nil).want(200)
	h.admin.patch(device, map[string]any{"name": "Hall"}).want(200)
	h.admin.remove(device).want(204)
	h.admin.remove("/accounts/default/users/" + string(h.bob.ID)).want(204)
	key := h.admin.post("/me/api-keys", map[string]any{"name": "k"}).want(201)
	h.admin.remove("/me/api-keys/" + key.text("id")).want(204)
	h.admin.get("/accounts/default/provisioning?reveal=true").want(200)
	h.admin.post("/accounts/default/provisioning/rotate", nil).want(200)
	h.admin.remove("/session").want(204)
	entries, _, err := h.db.Activity(t.Context(), h.account, store.ActivityFilter{}, store.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Event) {
			t.Errorf("%s of %s is no name of the contract", e.Event, e.Resource)
		}
	}
}
