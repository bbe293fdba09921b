package dialplan

// country is how numbers are dialled in one country: the rules of its numbering plan that tell a
// national number from an international one. Lengths are those of the national number without prefix.
type country struct {
	code     string // of the country, without "+"
	national string // prefix before national numbers; empty: none is dialled
	abroad   string // prefix before international numbers
	min, max int
	// plain are beginnings of national numbers that are dialled without the national prefix.
	plain []string
	// short are numbers that exist in this country only and are dialled as they are.
	short []string
}

// harmonised are the social services that the European Union reserves (decision 2007/116/EC).
var harmonised = []string{"116000", "116006", "116111", "116117", "116123"}

// northAmerica is the plan of the countries that share code 1.
var northAmerica = country{
	code: "1", national: "1", abroad: "011", min: 10, max: 10,
	plain: []string{"2", "3", "4", "5", "6", "7", "8", "9"},
	short: []string{"211", "311", "511", "611", "711", "811", "988"},
}

// countries by ISO code.
var countries = map[string]country{
	"AT": {code: "43", national: "0", abroad: "00", min: 4, max: 13, short: harmonised},
	"AU": {code: "61", national: "0", abroad: "0011", min: 6, max: 10, plain: []string{"13", "18"}},
	"BE": {code: "32", national: "0", abroad: "00", min: 8, max: 9, short: harmonised},
	"BG": {code: "359", national: "0", abroad: "00", min: 6, max: 9, short: harmonised},
	"CA": northAmerica,
	"CH": {code: "41", national: "0", abroad: "00", min: 9, max: 9, short: []string{"116111", "116117", "116123"}},
	"CY": {code: "357", abroad: "00", min: 8, max: 8, short: harmonised},
	"CZ": {code: "420", abroad: "00", min: 9, max: 9, short: harmonised},
	"DE": {code: "49", national: "0", abroad: "00", min: 4, max: 13, short: append([]string{"115"}, harmonised...)},
	"DK": {code: "45", abroad: "00", min: 8, max: 8, short: harmonised},
	"EE": {code: "372", abroad: "00", min: 7, max: 8, short: harmonised},
	"ES": {code: "34", abroad: "00", min: 9, max: 9, short: harmonised},
	"FI": {code: "358", national: "0", abroad: "00", min: 5, max: 12, short: harmonised},
	"FR": {code: "33", national: "0", abroad: "00", min: 9, max: 9, short: harmonised},
	"GB": {code: "44", national: "0", abroad: "00", min: 7, max: 10, short: []string{"101", "105", "111", "159", "116000", "116111", "116123"}},
	"GR": {code: "30", abroad: "00", min: 10, max: 10, short: harmonised},
	"HR": {code: "385", national: "0", abroad: "00", min: 6, max: 9, short: harmonised},
	"HU": {code: "36", national: "06", abroad: "00", min: 8, max: 9, short: harmonised},
	"IE": {code: "353", national: "0", abroad: "00", min: 7, max: 10, short: harmonised},
	"IS": {code: "354", abroad: "00", min: 7, max: 7, short: []string{"116000", "116111"}},
	"IT": {code: "39", abroad: "00", min: 6, max: 11, short: harmonised}, // the 0 of Rome's 06 is part of the number
	"LI": {code: "423", abroad: "00", min: 7, max: 7},
	"LT": {code: "370", national: "0", abroad: "00", min: 8, max: 8, short: harmonised},
	"LU": {code: "352", abroad: "00", min: 5, max: 11, short: harmonised},
	"LV": {code: "371", abroad: "00", min: 8, max: 8, short: harmonised},
	"MT": {code: "356", abroad: "00", min: 8, max: 8, short: harmonised},
	"NL": {code: "31", national: "0", abroad: "00", min: 7, max: 11, short: harmonised},
	"NO": {code: "47", abroad: "00", min: 8, max: 8, short: []string{"116000", "116111", "116117", "116123"}},
	"NZ": {code: "64", national: "0", abroad: "00", min: 8, max: 10},
	"PL": {code: "48", abroad: "00", min: 9, max: 9, short: harmonised},
	"PT": {code: "351", abroad: "00", min: 9, max: 9, short: harmonised},
	"RO": {code: "40", national: "0", abroad: "00", min: 9, max: 9, short: harmonised},
	"SE": {code: "46", national: "0", abroad: "00", min: 7, max: 9, short: harmonised},
	"SI": {code: "386", national: "0", abroad: "00", min: 8, max: 8, short: harmonised},
	"SK": {code: "421", national: "0", abroad: "00", min: 9, max: 9, short: harmonised},
	"US": northAmerica,
}

// elsewhere is how numbers are dialled in a country that the table does not know: international ones only.
var elsewhere = country{abroad: "00"}

// Country codes of ITU-T E.164 (annex to the operational bulletin) and the country that each stands for. Codes that
// several share stand for the largest; those of services that belong to no country stand for none.
var codes164 = map[string]string{
	"7": "RU", "76": "KZ", "77": "KZ", "20": "EG", "211": "SS", "212": "MA", "213": "DZ", "216": "TN", "218": "LY", "220": "GM", "221": "SN",
	"222": "MR", "223": "ML", "224": "GN", "225": "CI", "226": "BF", "227": "NE", "228": "TG", "229": "BJ", "230": "MU",
	"231": "LR", "232": "SL", "233": "GH", "234": "NG", "235": "TD", "236": "CF", "237": "CM", "238": "CV", "239": "ST",
	"240": "GQ", "241": "GA", "242": "CG", "243": "CD", "244": "AO", "245": "GW", "246": "IO", "247": "AC", "248": "SC",
	"249": "SD", "250": "RW", "251": "ET", "252": "SO", "253": "DJ", "254": "KE", "255": "TZ", "256": "UG", "257": "BI",
	"258": "MZ", "260": "ZM", "261": "MG", "262": "RE", "263": "ZW", "264": "NA", "265": "MW", "266": "LS", "267": "BW",
	"268": "SZ", "269": "KM", "27": "ZA", "290": "SH", "291": "ER", "297": "AW", "298": "FO", "299": "GL", "30": "GR",
	"31": "NL", "32": "BE", "33": "FR", "34": "ES", "350": "GI", "351": "PT", "352": "LU", "353": "IE", "354": "IS",
	"355": "AL", "356": "MT", "357": "CY", "358": "FI", "359": "BG", "36": "HU", "370": "LT", "371": "LV", "372": "EE",
	"373": "MD", "374": "AM", "375": "BY", "376": "AD", "377": "MC", "378": "SM", "379": "VA", "380": "UA", "381": "RS",
	"382": "ME", "383": "XK", "385": "HR", "386": "SI", "387": "BA", "389": "MK", "39": "IT", "40": "RO", "41": "CH",
	"420": "CZ", "421": "SK", "423": "LI", "43": "AT", "44": "GB", "45": "DK", "46": "SE", "47": "NO", "48": "PL",
	"49": "DE", "500": "FK", "501": "BZ", "502": "GT", "503": "SV", "504": "HN", "505": "NI", "506": "CR", "507": "PA",
	"508": "PM", "509": "HT", "51": "PE", "52": "MX", "53": "CU", "54": "AR", "55": "BR", "56": "CL", "57": "CO",
	"58": "VE", "590": "GP", "591": "BO", "592": "GY", "593": "EC", "594": "GF", "595": "PY", "596": "MQ", "597": "SR",
	"598": "UY", "599": "CW", "60": "MY", "61": "AU", "62": "ID", "63": "PH", "64": "NZ", "65": "SG", "66": "TH",
	"670": "TL", "672": "NF", "673": "BN", "674": "NR", "675": "PG", "676": "TO", "677": "SB", "678": "VU", "679": "FJ",
	"680": "PW", "681": "WF", "682": "CK", "683": "NU", "685": "WS", "686": "KI", "687": "NC", "688": "TV", "689": "PF",
	"690": "TK", "691": "FM", "692": "MH", "81": "JP", "82": "KR", "84": "VN", "850": "KP", "852": "HK", "853": "MO",
	"855": "KH", "856": "LA", "86": "CN", "880": "BD", "886": "TW", "90": "TR", "91": "IN", "92": "PK", "93": "AF",
	"94": "LK", "95": "MM", "960": "MV", "961": "LB", "962": "JO", "963": "SY", "964": "IQ", "965": "KW", "966": "SA",
	"967": "YE", "968": "OM", "970": "PS", "971": "AE", "972": "IL", "973": "BH", "974": "QA", "975": "BT", "976": "MN",
	"977": "NP", "98": "IR", "992": "TJ", "993": "TM", "994": "AZ", "995": "GE", "996": "KG", "998": "UZ",
	"800": "", "808": "", "870": "", "878": "", "881": "", "882": "", "883": "", "888": "", "979": "",
}

// areas164 are the area codes behind "+1" that do not belong to the United States: of Canada, and of islands whose
// numbers look domestic and are not, which is why swindlers love them. 900 is premium rate and belongs to nobody.
var areas164 = map[string]string{
	"204": "CA", "226": "CA", "236": "CA", "249": "CA", "250": "CA", "257": "CA", "263": "CA", "289": "CA", "306": "CA", "343": "CA",
	"354": "CA", "365": "CA", "367": "CA", "368": "CA", "382": "CA", "387": "CA", "403": "CA", "416": "CA", "418": "CA", "428": "CA",
	"431": "CA", "437": "CA", "438": "CA", "450": "CA", "460": "CA", "468": "CA", "474": "CA", "506": "CA", "514": "CA", "519": "CA",
	"548": "CA", "579": "CA", "581": "CA", "584": "CA", "587": "CA", "604": "CA", "613": "CA", "639": "CA", "647": "CA", "672": "CA",
	"683": "CA", "705": "CA", "709": "CA", "742": "CA", "753": "CA", "778": "CA", "780": "CA", "782": "CA", "807": "CA", "819": "CA",
	"825": "CA", "867": "CA", "873": "CA", "879": "CA", "902": "CA", "905": "CA",
	"242": "BS", "246": "BB", "264": "AI", "268": "AG", "284": "VG", "340": "VI", "345": "KY", "441": "BM", "473": "GD", "649": "TC",
	"658": "JM", "664": "MS", "670": "MP", "671": "GU", "684": "AS", "721": "SX", "758": "LC", "767": "DM", "784": "VC", "787": "PR",
	"809": "DO", "829": "DO", "849": "DO", "868": "TT", "869": "KN", "876": "JM", "939": "PR",
	"900": "",
}
