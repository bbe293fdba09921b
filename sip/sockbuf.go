package sip

import "net"

// receiveBuffer is how much may wait in a UDP socket while its readers are busy: a
// thousand phones that answer one power cut within a moment fill the usual 200 kB.
const receiveBuffer = 4 << 20

// kernel is what the operating system tells of a UDP socket.
type kernel struct {
	buffer int    // octets it may hold; 0 where that is not told
	inode  uint64 // its name in the tables of the system
}

// enlarge gives a socket a large receive buffer, or as large a one as is granted.
func (l *packetListener) enlarge() {
	c, ok := l.conn.(*net.UDPConn)
	if !ok {
		return
	}
	err := c.SetReadBuffer(receiveBuffer)
	l.kernel.look(c)
	if err != nil || l.kernel.buffer > 0 && l.kernel.buffer < receiveBuffer {
		l.s.log.Warn("receive buffer is smaller than asked for", "local", l.local, "octets", l.kernel.buffer, "wanted", receiveBuffer,
			"hint", "sysctl net.core.rmem_max", "error", err)
	}
}

// Dropped returns how many datagrams the system threw away because we did not read
// them fast enough, where it tells. It is no part of Stats because it reads tables of the system.
func (s *Server) Dropped() (n uint64) {
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	for _, l := range s.sockets.packets {
		if l.kernel.inode != 0 {
			return droppedBy(s.sockets.packets)
		}
	}
	return 0
}
