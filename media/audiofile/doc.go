// Package audiofile knows the files of other programs: it turns what people upload (WAV, MP3, FLAC, Ogg Vorbis and Ogg Opus)
// into our own WAV files, once, and writes MP3 for mail. What is uploaded is not trusted: its length, the memory and the
// time that it takes are bounded, and a decoder that panics costs one upload. It knows neither calls nor RTP.
package audiofile
