package store

// Page asks for one page of a list. The zero value asks for the first of the usual length.
type Page struct {
	Limit  int    // 0: 50; at most 500
	Cursor string // of the page before; empty: the first
	Query  string // words to search for
}
