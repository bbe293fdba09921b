// Package media is the sound of the house: RTP sessions, the SDP that describes
// them, bridges between them, players, recorders, tones, prompts and hold music.
//
// It knows telephones only as addresses that packets come from. It does not know
// SIP, calls, users or mailboxes: SDP crosses its door as bytes.
package media
