package media

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// BenchmarkRoom is 20 ms of a room of 50: what all send is taken, buffered and decoded, mixed for each and encoded.
func BenchmarkRoom(b *testing.B) {
	const parties = 50
	for _, k := range []kind{kindPCMU} {
		for _, talking := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d talk", k.name(), talking), func(b *testing.B) {
				r := &Room{speakers: usualSpeakers}
				var raws [parties][]byte
				var packets [parties]packet
				var sessions [parties]*Session
				for i := range sessions {
					s, _ := bridged(k, k)
					s.sink.Store(nil)
					if _, err := r.Join(s, RoomMember{}); err != nil {
						b.Fatal(err)
					}
					raws[i] = rtpPacket(numberOf[k])
					for j := range raws[i][headerSize:] {
						raws[i][headerSize+j] = 0xff // silence
						if i < talking {
							raws[i][headerSize+j] = ulawEncode[uint16(int16(8000*math.Sin(float64(j)*0.3)))]
						}
					}
					packets[i] = packet{header: header{number: numberOf[k]}, at: time.Now()}
					sessions[i] = s
				}
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					for i, s := range sessions {
						relayOne(s, &packets[i], raws[i], n)
					}
					r.tick()
					n++
				}
			})
		}
	}
}
