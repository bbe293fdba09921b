package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the one-way rule: each room and the rooms it may look into. A folder below a room belongs to it.
var mayImport = map[string][]string{
	"store":         {},
	"store/sqlite":  {"store", "event"},
	"event":         {"store"},
	"dialplan":      {"store"},
	"sip":           {"store", "event"},
	"media":         {},
	"media/xdp":     {"media"},
	"call":          {"store", "event", "dialplan", "media", "sip"},
	"call/calltest": {"store", "event", "dialplan", "media", "sip", "call", "store/sqlite"},
	"provisioning":  {"store", "event"},
	"admin":         {"store", "event", "dialplan", "sip", "call", "provisioning"},
	"cmd/pbx":       {"store", "store/sqlite", "event", "dialplan", "sip", "media", "media/xdp", "call", "call/calltest", "provisioning", "admin"},
}

// doors names the rooms through which each third party may come in. What is not listed may not come in at all.
var doors = map[string][]string{
	"github.com/emiago/sipgo":             {"sip"},
	"github.com/gobwas/ws":                {"sip"},
	"github.com/miekg/dns":                {"sip"},
	"github.com/pion":                     {"media"},
	"github.com/zaf/g711":                 {"media"},
	"github.com/gotranspile/g722":         {"media"},
	"github.com/hajimehoshi/go-mp3":       {"media"},
	"github.com/braheezy/shine-mp3":       {"media"},
	"github.com/mewkiz/flac":              {"media"},
	"github.com/jfreymuth/vorbis":         {"media"},
	"github.com/thesyncim/gopus":          {"media"},
	"modernc.org":                         {"store/sqlite"},
	"github.com/pressly/goose":            {"store/sqlite"},
	"github.com/gorilla/mux":              {"admin", "provisioning"},
	"github.com/gorilla/websocket":        {"admin"},
	"github.com/getkin/kin-openapi":       {"admin"},
	"github.com/oapi-codegen":             {"admin"},
	"github.com/prometheus/client_golang": {"cmd/pbx"},
	"golang.org/x/crypto":                 {"store"},
	"golang.org/x/time":                   {"provisioning", "sip", "admin"},
	"golang.org/x/sync":                   {"store", "admin"},
	"golang.org/x/sys":                    {"cmd/pbx", "media", "media/xdp"},
	"github.com/cilium/ebpf":              {"media/xdp"},
	"gopkg.in/yaml.v3":                    {"admin"},
	"go.yaml.in":                          {"admin"},
}

// testDoors are open to every test.
var testDoors = []string{"go.uber.org/goleak", "github.com/google/go-cmp", "github.com/gorilla/websocket", "github.com/getkin/kin-openapi"}

// goFile is a parsed file of the tree.
type goFile struct {
	path string // from the root of the module, with slashes
	room string
	test bool
	fset *token.FileSet
	ast  *ast.File
}

// root is the top of the module as seen from this package.
const root = "../.."

func parseTree(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".") || name == "pbx-data") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, goFile{rel, roomOf(rel), strings.HasSuffix(rel, "_test.go"), fset, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// roomOf returns the room that a file or package path belongs to: the longest name in mayImport that leads to it.
func roomOf(p string) string {
	for dir := p; dir != "." && dir != ""; dir = path.Dir(dir) {
		if _, ok := mayImport[dir]; ok {
			return dir
		}
	}
	return ""
}

func TestHouse(t *testing.T) {
	for _, f := range parseTree(t) {
		if f.room == "" {
			t.Errorf("%s: belongs to no room of the design", f.path)
			continue
		}
		for _, imp := range f.ast.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if why := refuseImport(f, name); why != "" {
				t.Errorf("%s: %s", f.path, why)
			}
		}
	}
}

// refuseImport says why a file may not import a package, or nothing.
func refuseImport(f goFile, name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "pbx" || strings.HasPrefix(name, "pbx/"):
		room := roomOf(strings.TrimPrefix(name, "pbx/"))
		if room == f.room || slices.Contains(mayImport[f.room], room) || f.test && room != "admin" && room != "cmd/pbx" {
			return ""
		}
		return fmt.Sprintf("%s may not import %s", f.room, room)
	case !strings.Contains(first, "."):
		return "" // the standard library
	}
	for prefix, rooms := range doors {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			if slices.Contains(rooms, f.room) || f.test && slices.Contains(testDoors, prefix) {
				return ""
			}
			return fmt.Sprintf("%s may come in only through %v, not through %s", name, rooms, f.room)
		}
	}
	if f.test {
		for _, prefix := range testDoors {
			if strings.HasPrefix(name, prefix) {
				return ""
			}
		}
	}
	return name + " has no door into the house"
}

func TestRefuseImportCanRefuse(t *testing.T) {
	for _, tc := range []struct {
		room, imports string
		test, ok      bool
	}{
		{"sip", "pbx/call", false, false},
		{"sip", "pbx/media", false, false},
		{"media", "pbx/store", false, false},
		{"store", "pbx/event", false, false},
		{"call", "pbx/sip/siptest", false, true},
		{"call", "pbx/store/sqlite", false, false},
		{"call", "pbx/store/sqlite", true, true},
		{"call", "github.com/emiago/sipgo/sip", false, false},
		{"sip", "github.com/emiago/sipgo/sip", false, true},
		{"dialplan", "net/http", false, true},
		{"admin", "example.org/unknown", false, false},
	} {
		why := refuseImport(goFile{room: tc.room, test: tc.test}, tc.imports)
		if (why == "") != tc.ok {
			t.Errorf("%s importing %s (test %v): %q", tc.room, tc.imports, tc.test, why)
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range parseTree(t) {
		dir := path.Dir(f.path)
		if f.test && strings.HasSuffix(f.ast.Name.Name, "_test") {
			continue
		}
		commented[dir] = commented[dir] || f.ast.Doc != nil
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s: no file has a package comment", dir)
		}
	}
}

// TestGoroutinesAreListed holds each "go" statement of the product against the table in docs/goroutines.md.
func TestGoroutinesAreListed(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/goroutines.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+\\.go)` \\| (\\d+) \\|").FindAllStringSubmatch(string(doc), -1) {
		listed[m[1]], _ = strconv.Atoi(m[2])
	}
	found := map[string]int{}
	for _, f := range parseTree(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found[f.path]++
			case *ast.CallExpr: // sync.WaitGroup.Go starts one too
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 {
					found[f.path]++
				}
			}
			return true
		})
	}
	for file, n := range found {
		if listed[file] != n {
			t.Errorf("%s starts goroutines in %d places, docs/goroutines.md lists %d", file, n, listed[file])
		}
	}
	for file, n := range listed {
		if found[file] == 0 {
			t.Errorf("docs/goroutines.md lists %d for %s, which starts none", n, file)
		}
	}
}

// mustProve are the entries of docs/rfcs.txt that ordinary phones and carriers need: each names what proves it.
var mustProve = strings.Fields(`2976 3261 3262 3263 3264 3311 3323 3325 3326 3515 3581 3665 3842 3891 4028 4235 4320 4321 4475 4488 5118 5359 5393 5589
	6026 6086 6141 6337 6665 7088 7332 7616 7647 8760 9110 check-sync tls never-1 never-2 never-3 never-4 never-5 never-6 never-7 never-8`)

// proof is the name of a test, or of a file of testdata.
var proof = regexp.MustCompile(`\b((Test|Fuzz)[A-Z][A-Za-z0-9_]*|(calls|sipp)/[a-z0-9-]+)`)

// TestRFCIndex: each RFC cited in code is in docs/rfcs.txt, each "yes" there is cited, and the proofs named in the
// indented lines below an entry exist: tests by name, "calls/x" and "sipp/x" as files of testdata.
func TestRFCIndex(t *testing.T) {
	file, err := os.Open(root + "/docs/rfcs.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	state := map[string]string{}
	tests := testNames(t)
	line := regexp.MustCompile(`^(\d{4}|never-\d|tls|check-sync)\s+(yes|partly|no)\s+\S`)
	entry, proofs := "", map[string]int{}
	for sc := bufio.NewScanner(file); sc.Scan(); {
		if sc.Text() == "" || strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		if strings.HasPrefix(sc.Text(), "    ") {
			for _, missing := range missingProofs(sc.Text(), tests) {
				t.Errorf("docs/rfcs.txt names %s, which does not exist", missing)
			}
			proofs[entry] += len(proof.FindAllString(sc.Text(), -1))
			continue
		}
		m := line.FindStringSubmatch(sc.Text())
		if m == nil {
			t.Errorf("docs/rfcs.txt: cannot read %q", sc.Text())
			continue
		}
		entry = m[1]
		state[entry] = m[2]
	}
	for _, rfc := range mustProve {
		if proofs[rfc] == 0 {
			t.Errorf("docs/rfcs.txt names no proof for %s", rfc)
		}
	}
	cite := regexp.MustCompile(`RFC[ -]?(\d{4})`)
	cited := map[string]string{}
	for _, f := range parseTree(t) {
		for _, group := range f.ast.Comments {
			for _, m := range cite.FindAllStringSubmatch(group.Text(), -1) {
				cited[m[1]] = f.path
			}
		}
	}
	for rfc, where := range cited {
		if state[rfc] == "" {
			t.Errorf("%s cites RFC %s, which docs/rfcs.txt does not list", where, rfc)
		}
	}
	for rfc, s := range state {
		if s == "yes" && cited[rfc] == "" && rfc[0] >= '0' && rfc[0] <= '9' {
			t.Errorf("docs/rfcs.txt says yes to RFC %s, which no line of code cites", rfc)
		}
	}
}

// testNames are the functions of all test files.
func testNames(t *testing.T) map[string]bool {
	tests := map[string]bool{}
	for _, f := range parseTree(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				tests[fn.Name.Name] = true
			}
		}
	}
	return tests
}

// missingProofs are the tests and scenarios that text names and the tree does not have.
func missingProofs(text string, tests map[string]bool) []string {
	var missing []string
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z0-9_]*`).FindAllString(text, -1) {
		if !tests[name] {
			missing = append(missing, name)
		}
	}
	for _, name := range regexp.MustCompile(`\b(calls|sipp)/[a-z0-9-]+`).FindAllString(text, -1) {
		found, _ := filepath.Glob(root + "/testdata/" + name + ".*")
		if len(found) == 0 {
			missing = append(missing, name)
		}
	}
	return missing
}

// TestFeaturesNameRealTests: docs/features.md promises nothing that no test holds.
func TestFeaturesNameRealTests(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/features.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	row := regexp.MustCompile(`^\| ([SPNER]\d?-[A-Z0-9-]+) \|.*\| (done|partly|not yet) \| (.*?) \| (.*?) \|$`)
	rows := 0
	for _, line := range strings.Split(string(doc), "\n") {
		for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1) {
			if !tests[m[1]] {
				t.Errorf("%s is named and does not exist: %s", m[1], line)
			}
		}
		if strings.Contains(line, "scenario") && strings.HasPrefix(line, "|") {
			for _, m := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(root + "/testdata/calls/" + m[1] + ".txt"); err != nil {
					t.Errorf("scenario %s is named and does not exist: %s", m[1], line)
				}
			}
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		if m[2] == "done" && m[3] == "" {
			t.Errorf("%s is done without a proof", m[1])
		}
	}
	if rows < 500 {
		t.Errorf("only %d rows could be read", rows)
	}
}
