package provisioning

import "regexp"

// yealink describes Yealink's deskphones and DECT bases.
//
// A phone asks for {mac}.boot, y000000000000.boot, the common file of its
// model and {mac}.cfg, in this order, and carries on after each 404. A boot
// file would replace the two others, so we have none.
func yealink() Vendor {
	return Vendor{
		Name:  "yealink",
		Title: "Yealink",
		OUIs: []string{
			"001565", "249ad8", "3497d7", "44dbd2", "644f56", "805e0c",
			"805ec0", "b061a9", "c4fc22", "e434d7", "ec1da9", "f01653",
		},
		// "Yealink SIP-T46G 28.72.0.1 …", "yealink SIP-T28P 2.70.0.140 …", "Yealink SIP VP-T49G 51.80.0.10 …",
		// "Yealink W90DM 130.87.0.10 …", "W52P 25.30.0.2 …", "Yealink-T46G 28.71.0.81 28.1.0.128.0.0.0"
		agent: regexp.MustCompile(`(?i)^(?:yealink[ -]+)?((?:sip[ -]+)?[a-z0-9_-]{3,20})\s+(\d{1,3}(?:\.\d{1,5}){1,7})(?:\s|$)`),
		Files: []FileRule{
			{Form: formMAC + ".boot", Holds: "Nothing: the phone carries on with the files below."},
			{Form: "y000000000000.boot", Holds: "Nothing: the phone carries on with the files below."},
			{Form: formCommon, Holds: "Time, and how often to ask again. The same for all phones of a model; no secrets.", template: "common.cfg.tmpl"},
			{Form: formMAC + ".cfg", Secret: true, Holds: "All of the phone's settings, with its accounts and passwords.", template: "device.cfg.tmpl"},
			{Form: formMAC + "-local.cfg", Holds: "Nothing: what a person changes at the phone stays in the phone."},
		},
	}
}
