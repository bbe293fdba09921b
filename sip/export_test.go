package sip

import (
	"context"
	"net/netip"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Masked is what a trace keeps of a message.
func Masked(msg string) string { return string(maskSecrets([]byte(msg))) }

// Sources returns how many remote addresses sipgo keeps for UDP.
func (s *Server) Sources() int { return s.tpl.Pool("udp").Size() }

// LocalFor is localFor.
func (s *Server) LocalFor(transport string, remote netip.Addr) (netip.AddrPort, error) {
	return s.localFor(transport, remote)
}

// Crowd pretends that so many requests more are being served.
func (s *Server) Crowd(n int64) { s.handlers.Add(n) }

// Ask connects to a peer, sends it an OPTIONS request on that way, and returns
// the status of its answer and our end of the way.
func (s *Server) Ask(ctx context.Context, transport string, remote netip.AddrPort, serverName string) (status int, local netip.AddrPort, err error) {
	h, err := s.connect(ctx, transport, remote, serverName)
	if err != nil {
		return 0, h.local, err
	}
	req := draftRequest(sipmsg.OPTIONS, "sip:"+remote.String(), nil, s)
	req.AppendHeader(sipmsg.NewHeader("From", "<sip:pbx>;tag="+token()))
	req.AppendHeader(sipmsg.NewHeader("To", "<sip:"+remote.String()+">"))
	callID := sipmsg.CallIDHeader(token())
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: 1, MethodName: sipmsg.OPTIONS})
	req.AppendHeader(sipmsg.NewHeader("Contact", s.contact(h, "")))
	req.SetBody(nil)
	s.request(req, h, newBranch())
	tx, err := s.send(ctx, req)
	if err != nil {
		return 0, h.local, err
	}
	drain(tx, func(res *sipmsg.Response) {
		if res != nil {
			status = res.StatusCode
		}
	})
	return status, h.local, nil
}

// TraceSize returns how many legs and octets the trace remembers.
func (s *Server) TraceSize() (legs, octets int) {
	s.trace.mu.Lock()
	defer s.trace.mu.Unlock()
	return len(s.trace.legs), s.trace.octets + s.trace.strange
}

// Locate is locate.
func (s *Server) Locate(ctx context.Context, host string, port int, transport string) ([]string, error) {
	targets, err := s.locate(ctx, host, port, transport)
	var all []string
	for _, t := range targets {
		all = append(all, t.String())
	}
	return all, err
}

// Names returns how many answers of name servers are kept.
func (s *Server) Names() int {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	return len(s.names.cache)
}

// CrowdLane pretends that so many octets more wait in the side lane.
func (s *Server) CrowdLane(octets int) {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	s.lane.octets += octets
}

// MaskedContacts is what a trace keeps of the Contacts of trunks.
func MaskedContacts(msg string) string { return string(maskContacts([]byte(msg))) }
