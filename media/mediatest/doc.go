// Package mediatest says tones and recognises them, and carries packets between media
// sessions without a socket. It works inside testing/synctest bubbles and on real RTP.
package mediatest
