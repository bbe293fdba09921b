// Package xdp relays RTP in the kernel: an eXpress Data Path program rewrites the packets of plain calls where the card hands them
// over, and sends them on. It implements media.Kernel.
package xdp
