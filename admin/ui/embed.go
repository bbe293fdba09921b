// Package ui holds the built portal, so that the program needs nothing but
// itself to show it. The source is beside this file; what is embedded is its build.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Dist returns the files of the built portal.
func Dist() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // the name is a constant and valid
		panic(err)
	}
	return files
}
