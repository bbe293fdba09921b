package sip

import (
	"bufio"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// look asks what the system has granted.
func (k *kernel) look(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF); err == nil {
			k.buffer = n / 2 // the system counts its own book-keeping too, and says twice as much
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(fd), &st); err == nil {
			k.inode = st.Ino
		}
	})
}

// droppedBy reads the drop counters of sockets from the tables of the system.
func droppedBy(all []*packetListener) (n uint64) {
	for _, file := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		for sc := bufio.NewScanner(f); sc.Scan(); {
			fields := strings.Fields(sc.Text())
			if len(fields) < 13 {
				continue
			}
			inode, err1 := strconv.ParseUint(fields[9], 10, 64)
			drops, err2 := strconv.ParseUint(fields[12], 10, 64)
			if err1 != nil || err2 != nil {
				continue
			}
			for _, l := range all {
				if l.kernel.inode == inode {
					n += drops
				}
			}
		}
		f.Close()
	}
	return n
}
