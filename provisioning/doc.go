// Package provisioning hands phones the files they boot from.
//
// A vendor is data: how its phones are recognised, which files they may ask
// for, which models there are and the templates of the files. The room knows
// HTTP, file formats and the rules of each vendor's boot sequence; it reads
// accounts and devices from a snapshot and refuses to know a database, SIP or
// sound.
package provisioning
