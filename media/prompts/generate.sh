#!/bin/sh
# Makes the spoken phrases (phrases.txt) and the hold music under en/.
# Needs Debian's flite (voice slt) and sox, and Go for the music.
# The result is committed; run this only after a change of phrases.txt or of the music.
set -eu
cd "$(dirname "$0")"
mkdir -p en
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tab=$(printf '\t')
grep -v -e '^#' -e '^$' phrases.txt | while IFS="$tab" read -r name text; do
	flite -voice slt -t "$text" -o "$work/raw.wav" </dev/null
	# Cut the silence at both ends but leave 30 ms of breath before and 60 ms after, and take off what a telephone cannot carry.
	sox -D "$work/raw.wav" -r 16000 -b 16 -c 1 "$work/cut.wav" \
		highpass 80 \
		silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse \
		pad 0.03 0.06
	# Bring the loudness of all phrases to one level: -20 dBFS RMS, peaks kept below -1 dBFS.
	rms=$(sox "$work/cut.wav" -n stat 2>&1 | awk '/^RMS.*amplitude/ {print $3}')
	peak=$(sox "$work/cut.wav" -n stat 2>&1 | awk '/^Maximum amplitude/ {a=$3} /^Minimum amplitude/ {b=-$3} END {print (a>b)?a:b}')
	gain=$(awk -v r="$rms" -v p="$peak" 'BEGIN {g=0.1/r; if (g*p>0.89) g=0.89/p; print g}')
	sox -D "$work/cut.wav" -b 16 "en/$name.wav" vol "$gain"
done

go run ./musicgen -o en/music.wav
