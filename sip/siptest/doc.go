// Package siptest holds an in-memory network for tests, a recorder of SIP
// messages that prints ladders, and a scripted phone.
//
// The phone is written independently of package sip's dialogs, so that the two
// check each other; it also runs over real sockets.
package siptest
