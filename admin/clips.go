package admin

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) listClips(ctx context.Context, q *request) (reply, error) {
	clips, next, err := s.DB.Clips(ctx, q.who.account, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.AudioClipList{Items: make([]contract.AudioClip, 0, len(clips)), NextCursor: optional(next)}
	for i := range clips {
		list.Items = append(list.Items, s.clipView(&clips[i]))
	}
	return ok(list)
}

func (s *Server) getClip(ctx context.Context, q *request) (reply, error) {
	c, err := s.DB.Clip(ctx, q.who.account, q.id("clip"))
	if err != nil {
		return reply{}, err
	}
	return ok(s.clipView(&c))
}

// Limits of an upload.
const (
	maxUpload  = 20 << 20 // octets of the file
	uploadTime = 2 * time.Minute
	uploadRead = 10 * time.Minute // over a slow line
)

// upload reports whether the body of an operation is a file.
func (o *operation) upload() bool {
	return o.spec.RequestBody != nil && o.spec.RequestBody.Value.Content["multipart/form-data"] != nil
}

// patience is how long a handler may take.
func (o *operation) patience() time.Duration {
	switch {
	case o.upload():
		return uploadRead + uploadTime
	case strings.HasSuffix(o.path, ".mp3"):
		return soundTime
	}
	return handlerTime
}

func (s *Server) createClip(ctx context.Context, q *request) (reply, error) {
	upload, err := s.DB.StageSound()
	if err != nil {
		return reply{}, err
	}
	defer discard(upload)
	name, err := q.receive(upload)
	if err != nil {
		return reply{}, err
	}
	if err := store.ValidateName("name", name); err != nil {
		return reply{}, err
	}
	staged, err := s.DB.StageSound()
	if err != nil {
		return reply{}, err
	}
	defer discard(staged)
	c, err := s.convert(ctx, upload, staged)
	if err != nil {
		return reply{}, err
	}
	c.Name = name
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateClip(&c, staged.Name()) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(c.AccountID)+"/audio-clips/"+string(c.ID), s.clipView(&c))
}

// discard closes a staged file and removes it, unless it has become a clip.
func discard(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// convert turns an upload into a file of ours, one at a time: it takes a whole processor for a while, and calls need theirs.
func (s *Server) convert(ctx context.Context, upload, staged *os.File) (store.AudioClip, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	select {
	case s.converting <- struct{}{}:
		defer func() { <-s.converting }()
	case <-ctx.Done():
		return store.AudioClip{}, ctx.Err()
	}
	return s.Sounds.Convert(ctx, upload, staged)
}

// receive writes the file of a form to f and returns the name that the clip shall have.
func (q *request) receive(f *os.File) (name string, err error) {
	kind, params, err := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return "", &problem{status: http.StatusUnsupportedMediaType, detail: "The body must be multipart/form-data."}
	}
	control := http.NewResponseController(q.w)
	if control.SetReadDeadline(time.Now().Add(uploadRead)) == nil {
		defer control.SetReadDeadline(time.Time{})
	}
	if control.SetWriteDeadline(time.Now().Add(uploadRead+uploadTime+answerTime)) == nil {
		defer control.SetWriteDeadline(time.Now().Add(answerTime))
	}
	form := multipart.NewReader(http.MaxBytesReader(q.w, q.http.Body, maxUpload+maxBody), params["boundary"])
	got, given := false, ""
	for range 8 { // parts
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", unreadable(err)
		}
		switch part.FormName() {
		case "name":
			text, err := io.ReadAll(io.LimitReader(part, 1000))
			if err != nil {
				return "", unreadable(err)
			}
			given = strings.TrimSpace(string(text))
		case "file":
			if got {
				return "", store.FieldErrors{{Field: "file", Problem: "Only one file can be uploaded at a time."}}
			}
			got, name = true, nameOf(part.FileName())
			n, err := io.Copy(f, io.LimitReader(part, maxUpload+1))
			if n > maxUpload {
				return "", errTooLarge
			}
			if err != nil {
				return "", unreadable(err)
			}
		}
	}
	if !got {
		return "", store.FieldErrors{{Field: "file", Problem: "Choose a file."}}
	}
	if given != "" {
		name = given
	}
	return name, nil
}

// unreadable says why a form could not be read.
func unreadable(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	if errors.Is(err, store.ErrFull) {
		return err
	}
	return badRequest("The body could not be read.")
}

// nameOf makes a clip's name of a file's.
func nameOf(file string) string {
	file = filepath.Base(strings.ReplaceAll(file, `\`, "/"))
	file = strings.TrimSpace(strings.ToValidUTF8(strings.TrimSuffix(file, filepath.Ext(file)), ""))
	for utf8.RuneCountInString(file) > 80 {
		_, last := utf8.DecodeLastRuneInString(file)
		file = file[:len(file)-last]
	}
	if file == "" || file == "." {
		return "Clip"
	}
	return file
}

func (s *Server) updateClip(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var in contract.AudioClipPatch
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	var c store.AudioClip
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if c, err = tx.Clip(q.id("clip")); err != nil {
			return err
		}
		c.Name = strings.TrimSpace(valueOr(in.Name, c.Name))
		return tx.SaveClip(&c, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(s.clipView(&c))
}

func (s *Server) deleteClip(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteClip(q.id("clip"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func (s *Server) getClipAudio(ctx context.Context, q *request) (reply, error) {
	c, err := s.DB.Clip(ctx, q.who.account, q.id("clip"))
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.serveSound(s.DB.ClipPath(c.ID), string(c.ID), "clip-"+string(c.ID), c.CreatedAt)
}

func (s *Server) getClipPeaks(ctx context.Context, q *request) (reply, error) {
	c, err := s.DB.Clip(ctx, q.who.account, q.id("clip"))
	if err != nil {
		return reply{}, err
	}
	v := contract.Peaks{DurationS: c.Duration.Seconds(), Peaks: make([]float64, len(c.Peaks))}
	for i, p := range c.Peaks {
		v.Peaks[i] = float64(p) / 255
	}
	return ok(v)
}

// clipView shows a clip and what plays it.
func (s *Server) clipView(c *store.AudioClip) contract.AudioClip {
	at := basePath + "/accounts/" + string(c.AccountID) + "/audio-clips/" + string(c.ID)
	v := contract.AudioClip{
		ID: string(c.ID), Version: c.Version, Name: c.Name, DurationS: c.Duration.Seconds(), Size: c.Size, LoudnessDB: c.Loudness,
		UsedBy: []contract.ClipUse{}, PeaksURL: at + "/peaks", AudioURL: at + "/audio", CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(),
	}
	snap := s.DB.Snapshot(c.AccountID)
	if snap == nil {
		return v
	}
	use := func(kind contract.ClipUseType, id store.ID, name string, clip store.ID) {
		if clip == c.ID {
			v.UsedBy = append(v.UsedBy, contract.ClipUse{Type: kind, ID: string(id), Name: name})
		}
	}
	use(contract.ClipUseTypeAccount, snap.Account.ID, snap.Account.Name, snap.Account.HoldMusicClipID)
	for i := range snap.Users {
		use(contract.ClipUseTypeUser, snap.Users[i].ID, snap.Users[i].Name, snap.Users[i].HoldMusicClipID)
	}
	for i := range snap.Numbers {
		use(contract.ClipUseTypeNumber, snap.Numbers[i].ID, snap.Numbers[i].Number, snap.Numbers[i].HoldMusicClipID)
	}
	return v
}
