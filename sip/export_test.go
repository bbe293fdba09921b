package sip

// Sources returns how many remote addresses sipgo keeps for UDP.
func (s *Server) Sources() int { return s.tpl.Pool("udp").Size() }
