// Package admin is the API and the portal of the house: the contract in
// openapi.yaml, its handlers, the live news socket and the embedded web pages.
//
// It knows who is calling and what they may do, and turns requests into changes
// and views of the store. It refuses to know how calls, phones or the database
// work: it asks the rooms below through small interfaces.
package admin

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config contract/oapi-codegen.yaml -o contract/models.gen.go openapi.yaml
