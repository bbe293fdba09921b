// Package contract holds the types of the API, generated from admin/openapi.yaml.
// It knows nothing else.
package contract
