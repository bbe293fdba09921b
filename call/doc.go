// Package call is where signalling meets sound: a Call is a chain of steps (routing, ringing,
// talking, recording …), each straight-line code that returns the next one. One loop runs the
// chain, and only that loop writes the call record, publishes live news, logs the step and hangs up.
//
// That a party is gone is a closed channel; that somebody wants something is a Wish sent to the
// call. The package knows no header and no packet: the leg keeps the dialog, the session the sound.
package call
