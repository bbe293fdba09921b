// Package sip is the signalling of the house: listeners, registrar, dialogs
// and subscriptions. It knows phones and lines; it knows no call feature and
// no sound: session descriptions cross it as bytes, on their way between a
// peer and a Negotiator.
//
// It is built on the parser, transport and transaction layers of sipgo. A
// front reader of our own stands before them, and the dialog layer above them
// is ours (see front.go and leg.go).
package sip
