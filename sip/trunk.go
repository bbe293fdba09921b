package sip

import "pbx/store"

// trunkOf returns an enabled trunk.
func (s *Server) trunkOf(id store.ID) (store.Trunk, bool) {
	if s.cfg.Trunks == nil {
		return store.Trunk{}, false
	}
	for _, t := range s.cfg.Trunks.Trunks() {
		if t.ID == id && t.Enabled {
			return t, true
		}
	}
	return store.Trunk{}, false
}

// TrunkStatus returns what is known of a trunk now; false if there is no such trunk.
func (s *Server) TrunkStatus(id store.ID) (store.TrunkStatus, bool) {
	t, ok := s.trunkOf(id)
	return store.TrunkStatus{TrunkID: t.ID, Reachable: true}, ok
}
