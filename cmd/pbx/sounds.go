package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"pbx/media/audiofile"
	"pbx/store"
)

// sounds lets the portal convert files without knowing how.
type sounds struct{}

func (sounds) Convert(ctx context.Context, upload, to *os.File) (store.AudioClip, error) {
	info, err := upload.Stat()
	if err != nil {
		return store.AudioClip{}, err
	}
	s, err := audiofile.Convert(ctx, upload, info.Size(), to)
	for _, known := range []struct {
		err     error
		problem string
	}{
		{audiofile.ErrFormat, "This is no WAV, MP3, FLAC or Ogg file."},
		{audiofile.ErrBroken, "The file is damaged."},
		{audiofile.ErrLong, "The sound is longer than 30 minutes."},
		{audiofile.ErrShort, "The sound is shorter than a tenth of a second."},
		{audiofile.ErrSilent, "Nothing can be heard in this file."},
	} {
		if errors.Is(err, known.err) {
			return store.AudioClip{}, store.FieldErrors{{Field: "file", Problem: known.problem}}
		}
	}
	return store.AudioClip{Duration: s.Duration, Rate: s.Rate, Size: s.Size, Loudness: s.Loudness, Peaks: s.Peaks}, err
}

func (sounds) MP3(ctx context.Context, w io.Writer, path string) error {
	return audiofile.MP3(ctx, w, path)
}

// sweepTime is how often recordings are looked through for those that are too old.
const sweepTime = time.Hour

// sweepRecordings deletes what the accounts no longer keep, until ctx ends.
func (h *house) sweepRecordings(ctx context.Context) {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		for _, account := range h.db.Accounts() {
			if err := h.db.TrimRecordings(ctx, account); err != nil && ctx.Err() == nil {
				h.log.Warn("old recordings not deleted", "account", account, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
