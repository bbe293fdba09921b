package provisioning

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/template"

	"pbx/store"
)

//go:embed yealink
var vendorFiles embed.FS

// Vendor is all that we know about one maker of phones.
type Vendor struct {
	Name   string   // as in store.Device.Vendor: "yealink"
	Title  string   // "Yealink"
	OUIs   []string // first six digits of its MAC addresses, lower case
	Models []Model
	Files  []FileRule // what its phones may ask for

	agent     *regexp.Regexp // of its User-Agents; sub-matches: the model as Model.agent has it, and the firmware
	templates *template.Template
}

// Model is one product.
type Model struct {
	Vendor string
	Model  string // "T54W"
	Kind   store.DeviceKind
	Lines  int // accounts it can register; 0 for a base that leaves them to its DECT manager
	Keys   int // programmable keys without side cars

	commonFile string        // the file all phones of this model ask for; empty when unknown
	agent      string        // how the User-Agent names it: "SIP-T54W"
	oldKeys    bool          // firmware before V81 is about: keys without "static." are needed too
	templated  bool          // the server is named in template.T.*, not in each account
	handsets   handsetScheme // of a DECT base
}

// handsetScheme is how a DECT base ties handsets to accounts.
type handsetScheme string

const (
	noHandsets       handsetScheme = ""
	linesPerHandset  handsetScheme = "lines"  // any accounts on any handset, said by handset.H.*
	singlePerHandset handsetScheme = "single" // account i belongs to handset i
)

// FileRule is a file that phones of a vendor may ask for.
type FileRule struct {
	Form   string // the name, with {mac} where the MAC address stands and {common} for the model's own file
	Secret bool   // holds secrets: only for the device it names
	Holds  string // what is in it, for people

	// template renders it; empty when the phone may ask and we have none, which phones take well.
	template string
}

const (
	formMAC    = "{mac}"
	formCommon = "{common}"
)

// vendors reads the embedded data once. A mistake in it is a mistake of the build, so it panics.
var vendors = sync.OnceValue(func() []Vendor { return []Vendor{loadVendor(yealink())} })

// Vendors lists the makers we know.
func Vendors() []Vendor { return vendors() }

// Models lists all products we know, by vendor, in the order of their tables.
func Models() []Model {
	var all []Model
	for _, v := range vendors() {
		all = append(all, v.Models...)
	}
	return all
}

// loadVendor completes v with the models and templates in the folder named after it.
func loadVendor(v Vendor) Vendor {
	models, err := readModels(v.Name)
	if err != nil {
		panic(err)
	}
	v.Models = models
	v.templates = template.Must(template.New(v.Name).Funcs(keyValueFuncs()).ParseFS(vendorFiles, v.Name+"/*.tmpl"))
	return v
}

func readModels(vendor string) ([]Model, error) {
	f, err := vendorFiles.Open(vendor + "/models.csv")
	if err != nil {
		return nil, fmt.Errorf("models of %s: %w", vendor, err)
	}
	defer f.Close()
	return parseModels(vendor, f)
}

func parseModels(vendor string, f fs.File) ([]Model, error) {
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("models of %s: %w", vendor, err)
	}
	models := make([]Model, 0, len(rows))
	for _, r := range rows[1:] { // the first row names the columns
		lines, err := strconv.Atoi(r[2])
		if err != nil {
			return nil, fmt.Errorf("model %s: lines: %w", r[0], err)
		}
		keys, err := strconv.Atoi(r[3])
		if err != nil {
			return nil, fmt.Errorf("model %s: keys: %w", r[0], err)
		}
		models = append(models, Model{
			Vendor: vendor, Model: r[0], Kind: store.DeviceKind(r[1]), Lines: lines, Keys: keys,
			commonFile: r[4], agent: r[5], oldKeys: r[6] == "both", templated: r[7] == "template", handsets: handsetScheme(r[8]),
		})
	}
	return models, nil
}

// model returns the product with this name, in any case.
func (v *Vendor) model(name string) (Model, bool) {
	for _, m := range v.Models {
		if strings.EqualFold(m.Model, name) {
			return m, true
		}
	}
	return Model{}, false
}

// modelByCommonFile returns the first product that asks for this file. Those that share a file share all that the file says.
func (v *Vendor) modelByCommonFile(name string) (Model, bool) {
	for _, m := range v.Models {
		if m.commonFile != "" && m.commonFile == name {
			return m, true
		}
	}
	return Model{}, false
}

// owns reports whether a MAC address is of this maker.
func (v *Vendor) owns(mac string) bool {
	for _, oui := range v.OUIs {
		if strings.HasPrefix(mac, oui) {
			return true
		}
	}
	return false
}

// vendorNamed returns the vendor with this name, or nil.
func vendorNamed(name string) *Vendor {
	all := vendors()
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}
