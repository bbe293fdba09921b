package call

import (
	"slices"

	"pbx/dialplan"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// securityOfDevice is how the sound of a device is protected, as its settings say.
func securityOfDevice(rows *store.Snapshot, id store.ID) media.Security {
	if d := rows.Device(id); d != nil {
		return media.Security(d.SRTP)
	}
	return media.SecurityOff
}

func securityOfTrunk(t *store.Trunk) media.Security {
	if t == nil {
		return media.SecurityOff
	}
	return media.Security(t.SRTP)
}

// secure holds p to the settings of its device or trunk.
func (p *Party) secure(policy media.Security) {
	p.security = policy
	p.Sound.Secure(policy)
}

// unsecured refuses at once whoever offers plain sound although the settings require protection. Never so an emergency call.
func (c *Call) unsecured(p *Party, owner string) (Step, bool) {
	if p.security != media.SecurityRequired {
		return nil, false
	}
	if c.plan.IsEmergency(c.record.Dialed) {
		p.secure(media.SecurityOptional)
		return nil, false
	}
	offer := p.Leg.Offer()
	if offer == nil || p.Sound.Acceptable(offer) {
		return nil, false
	}
	return rejecting{p, dialplan.Reject{
		Code: 488, Reason: "Not Acceptable Here", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: owner, Detail: "Encrypted sound is required by the settings, and none was offered"},
	}}, true
}

// encryptionRefused reports whether p ended the call for its sound had to be encrypted.
func encryptionRefused(p *Party, cause sip.Cause) bool {
	return p.security == media.SecurityRequired && slices.Contains([]int{415, 488, 606}, cause.Code)
}

// refusedEncryption tells people why a phone was not reached.
func (c *Call) refusedEncryption(p *Party) {
	rule := "device " + string(p.Who.DeviceID)
	if t := p.Leg.Trunk(); t != "" {
		rule = "trunk " + string(t)
	}
	c.because(store.Reason{Rule: rule, Detail: "Encrypted sound is required by the settings, and the other side did not agree to it"})
}

// sealed notes in the record how the sound of each party is protected. The caller holds c.mu.
func (c *Call) sealed() {
	if c.caller != nil {
		c.record.Caller.Encrypted = c.caller.Sound.Encrypted()
	}
	if c.callee != nil {
		c.record.Callee.Encrypted = c.callee.Sound.Encrypted()
	}
}
