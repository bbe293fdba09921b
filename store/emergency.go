package store

import "slices"

// emergency numbers by country, beside 112, which is one in all countries outside of North America
// (European decision 91/396/EEC, and every GSM network). 933 is the test line of North American carriers.
var emergency = map[string][]string{
	"AT": {"122", "133", "144"},
	"AU": {"000"},
	"BE": {"100", "101"},
	"BG": {"150", "160", "166"},
	"CA": {"911", "933"},
	"CH": {"117", "118", "144"},
	"CY": {"199"},
	"CZ": {"150", "155", "158"},
	"DE": {"110"},
	"ES": {"061", "062", "080", "085", "091", "092"},
	"FR": {"15", "17", "18", "114"},
	"GB": {"999"},
	"GR": {"100", "166", "199"},
	"HR": {"192", "193", "194"},
	"HU": {"104", "105", "107"},
	"IE": {"999"},
	"IT": {"113", "115", "118"},
	"LI": {"117", "118", "144"},
	"LU": {"113"},
	"LV": {"110", "113"},
	"NO": {"110", "113"},
	"NZ": {"111"},
	"PL": {"997", "998", "999"},
	"SI": {"113"},
	"SK": {"150", "155", "158"},
	"US": {"911", "933"},
}

// EmergencyNumbers returns the emergency numbers of a country, which always go out as they were dialled.
func EmergencyNumbers(country string) []string {
	numbers := emergency[country]
	switch {
	case slices.Contains(numbers, "911"):
		return numbers
	case numbers == nil:
		return []string{"112", "911"} // a country we do not know better
	}
	return append([]string{"112"}, numbers...)
}

// IsEmergency reports whether a dialled number is an emergency number of a country.
func IsEmergency(country, number string) bool {
	return slices.Contains(EmergencyNumbers(country), number)
}
