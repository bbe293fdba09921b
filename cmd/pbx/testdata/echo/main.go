// Echo sends every datagram back where it came from. It is what a server costs that does nothing.
package main

import (
	"fmt"
	"net"
)

func main() {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.LocalAddr())
	for buf := make([]byte, 65536); ; {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(buf[:n], from)
	}
}
