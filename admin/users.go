package admin

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/dialplan"
	"pbx/store"
)

func (s *Server) listUsers(ctx context.Context, q *request) (reply, error) {
	users, next, err := s.DB.Users(ctx, q.who.account, q.page())
	if err != nil {
		return reply{}, err
	}
	snap := s.DB.Snapshot(q.who.account)
	list := contract.UserList{Items: make([]contract.User, 0, len(users)), NextCursor: optional(next)}
	for i := range users {
		list.Items = append(list.Items, s.userView(snap, &users[i]))
	}
	return ok(list)
}

func (s *Server) getUser(ctx context.Context, q *request) (reply, error) {
	u, err := s.DB.User(ctx, q.who.account, q.id("user"))
	if err != nil {
		return reply{}, err
	}
	return ok(s.userView(s.DB.Snapshot(q.who.account), &u))
}

func (s *Server) createUser(ctx context.Context, q *request) (reply, error) {
	var in contract.UserCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	u := store.User{
		Name: strings.TrimSpace(in.Name), Email: strings.TrimSpace(value(in.Email)), Username: value(in.Username), Extension: value(in.Extension),
		OutboundNumberID: store.ID(value(in.OutboundNumberID)), OutboundCountries: upper(value(in.OutboundCountries)),
		Role: store.Role(valueOr(in.Role, contract.Role(store.Member))), DoNotDisturb: value(in.DoNotDisturb),
		RingTimeout:     time.Duration(valueOr(in.RingTimeoutS, int(defaultRing/time.Second))) * time.Second,
		HoldMusicClipID: store.ID(value(in.HoldMusicClipID)), Recording: ruleOf(in.Recording),
		Voicemail: store.Voicemail{Enabled: true},
		Forward:   forward(in.Forward), OneCall: !valueOr(in.CallWaiting, true), RejectAnonymous: value(in.RejectAnonymous),
		PickupGroups: value(in.PickupGroups), SpeedDials: speedDials(value(in.SpeedDials)),
	}
	plan, _ := s.Plan(q.who.account)
	u.FindMe = findMe(in.FindMe, plan)
	faults := []error{u.Validate(s.extensionLength(q))}
	if in.Password != nil {
		faults = append(faults, store.ValidatePassword("password", *in.Password))
	}
	var pin string
	if in.Voicemail != nil {
		u.Voicemail.Enabled, pin = valueOr(in.Voicemail.Enabled, true), value(in.Voicemail.Pin)
		u.Voicemail.Greetings = greetings(in.Voicemail)
		faults = append(faults, store.ValidatePIN("voicemail.pin", pin, u.Extension))
	}
	err := mergedFaults(faults...)
	if err != nil {
		return reply{}, err
	}
	if u.PasswordHash, err = hashed(value(in.Password)); err != nil {
		return reply{}, err
	}
	if u.Voicemail.PINHash, err = hashed(pin); err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateUser(&u) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(u.AccountID)+"/users/"+string(u.ID), s.userView(s.DB.Snapshot(q.who.account), &u))
}

func (s *Server) extensionLength(q *request) int {
	if snap := s.DB.Snapshot(q.who.account); snap != nil {
		return snap.Account.ExtensionLength
	}
	return 3
}

// hashed is the hash of a password or PIN; none for none.
func hashed(plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	return store.HashPassword(plain)
}

func (s *Server) updateUser(ctx context.Context, q *request) (reply, error) {
	var secrets contract.UserPatch
	if err := decode(q.body, &secrets); err != nil {
		return reply{}, err
	}
	pin, err := s.pinOf(q)
	if err != nil {
		return reply{}, err
	}
	var hash string
	if secrets.Password != nil {
		if err := store.ValidatePassword("password", *secrets.Password); err != nil {
			return reply{}, err
		}
		if hash, err = store.HashPassword(*secrets.Password); err != nil {
			return reply{}, err
		}
	}
	plan, _ := s.Plan(q.who.account)
	u, err := s.changeUser(ctx, q, q.id("user"), func(u *store.User) error {
		if err := applyUser(u, q.body, pin, plan); err != nil {
			return err
		}
		if hash != "" {
			u.PasswordHash = hash
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return ok(s.userView(s.DB.Snapshot(q.who.account), &u))
}

func applyUser(u *store.User, patch []byte, pin pinChange, plan *dialplan.Plan) error {
	seconds := int(u.RingTimeout / time.Second)
	role := contract.Role(u.Role)
	find, away, waiting, groups, dials := findMeView(u.FindMe), forwardView(u.Forward), !u.OneCall, stringList(u.PickupGroups), dialViews(u.SpeedDials)
	in, err := patched(contract.UserPatch{
		Name: &u.Name, Email: optional(u.Email), Username: optional(u.Username), Extension: optional(u.Extension), Role: &role,
		OutboundNumberID: optional(string(u.OutboundNumberID)), OutboundCountries: optionalList(u.OutboundCountries),
		HoldMusicClipID: optional(string(u.HoldMusicClipID)), Recording: pointer(ruleView(u.Recording)),
		DoNotDisturb: &u.DoNotDisturb, RingTimeoutS: &seconds,
		Voicemail: voicemailSettings(&u.Voicemail), FindMe: &find, Forward: &away, CallWaiting: &waiting,
		RejectAnonymous: &u.RejectAnonymous, PickupGroups: &groups, SpeedDials: &dials,
	}, patch)
	if err != nil {
		return err
	}
	u.Name, u.Email, u.Username = strings.TrimSpace(value(in.Name)), strings.TrimSpace(value(in.Email)), value(in.Username)
	u.Extension, u.Role = value(in.Extension), store.Role(value(in.Role))
	u.OutboundNumberID, u.OutboundCountries = store.ID(value(in.OutboundNumberID)), upper(value(in.OutboundCountries))
	u.HoldMusicClipID, u.Recording = store.ID(value(in.HoldMusicClipID)), ruleOf(in.Recording)
	u.DoNotDisturb, u.RingTimeout = value(in.DoNotDisturb), time.Duration(value(in.RingTimeoutS))*time.Second
	u.FindMe, u.Forward, u.OneCall = findMe(in.FindMe, plan), forward(in.Forward), !value(in.CallWaiting)
	u.RejectAnonymous, u.PickupGroups, u.SpeedDials = value(in.RejectAnonymous), value(in.PickupGroups), speedDials(value(in.SpeedDials))
	return applyVoicemail(u, in.Voicemail, pin)
}

// optionalList is a list that may be absent, which is not the same as empty.
func optionalList(items []string) *[]string {
	if items == nil {
		return nil
	}
	return &items
}

// changeUser changes one user under the version that the caller named. A changed password ends the user's other sessions.
func (s *Server) changeUser(ctx context.Context, q *request, id store.ID, change func(u *store.User) error) (store.User, error) {
	version, err := q.ifVersion()
	if err != nil {
		return store.User{}, err
	}
	var u store.User
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if u, err = tx.User(id); err != nil {
			return err
		}
		before := u.PasswordHash
		if err := change(&u); err != nil {
			return err
		}
		if err := tx.SaveUser(&u, version); err != nil || u.PasswordHash == before {
			return err
		}
		return tx.DeleteSessionsOf(id, q.who.session.ID)
	})
	q.logged = err == nil
	return u, err
}

// pinChange is a new PIN, hashed before the transaction because that takes long.
type pinChange struct {
	set         bool
	plain, hash string
}

// pinOf reads the PIN of a patch that may set one.
func (s *Server) pinOf(q *request) (pinChange, error) {
	var in struct {
		Voicemail struct {
			Pin *string `json:"pin"`
		} `json:"voicemail"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return pinChange{}, badRequest("The body is not valid JSON.")
	}
	if in.Voicemail.Pin == nil {
		return pinChange{}, nil
	}
	p := pinChange{set: true, plain: *in.Voicemail.Pin}
	if err := store.ValidatePIN("voicemail.pin", p.plain, ""); err != nil {
		return p, err
	}
	var err error
	p.hash, err = hashed(p.plain)
	return p, err
}

func applyVoicemail(u *store.User, in *contract.VoicemailSettingsPatch, pin pinChange) error {
	if in != nil {
		u.Voicemail.Enabled, u.Voicemail.Greetings = value(in.Enabled), greetings(in)
	}
	if !pin.set {
		return nil
	}
	if err := store.ValidatePIN("voicemail.pin", pin.plain, u.Extension); err != nil {
		return err
	}
	u.Voicemail.PINHash = pin.hash
	return nil
}

func (s *Server) deleteUser(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	if q.id("user") == q.who.user.ID {
		return reply{}, conflict("You cannot delete yourself.")
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteUser(q.id("user"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func (s *Server) nextExtension(_ context.Context, q *request) (reply, error) {
	snap := s.DB.Snapshot(q.who.account)
	if snap == nil {
		return reply{}, errNotFound
	}
	length := snap.Account.ExtensionLength
	low := int(math.Pow10(length - 1))
	for n := low + 1; n < low*10; n++ {
		if ext := strconv.Itoa(n); !reservedExtension(ext) && snap.UserByExtension(ext) == nil {
			return ok(contract.NextExtension{Extension: &ext})
		}
	}
	return ok(contract.NextExtension{})
}

// firstExtension is the one that the first user gets: "101".
func firstExtension(length int) string {
	return strconv.Itoa(int(math.Pow10(length-1)) + 1)
}

// emergencyNumbers are numbers that no extension should hide, of whatever country.
var emergencyNumbers = []string{"110", "111", "112", "113", "114", "115", "117", "118", "119", "120", "122", "190", "191", "192", "193", "911", "933", "988", "999"}

// reservedExtension reports numbers that are better not given to people: emergency numbers and the parking slots 700 to 720.
func reservedExtension(ext string) bool {
	return slices.Contains(emergencyNumbers, ext) || len(ext) == 3 && ext >= "700" && ext <= "720"
}
