#!/bin/bash
# Copy programs, with the shared libraries they need, so that a guest can run them.
#   usage: copy-elf.sh PAYLOAD_DIR ELF…
# A program goes to PAYLOAD_DIR/NAME (/payload/NAME in the guest); its libraries go to
# PAYLOAD_DIR/root/…, which mkinitrd.sh lays over the guest's root folder.
# With COPY_ELF_TO=/usr/bin, say, a program goes into that folder of the guest instead.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || die "usage: copy-elf.sh PAYLOAD_DIR ELF…"
payload=$1
shift
to=$payload${COPY_ELF_TO:+/root$COPY_ELF_TO}
mkdir -p "$to"
for elf in "$@"; do
  cp -L "$elf" "$to/"
  # Lines are "NAME => /path (0x…)" or "/path (0x…)"; a static program has none.
  ldd "$elf" 2> /dev/null | sed -nE 's/^.*[[:space:]](\/[^ ]+) \(0x.*$/\1/p' |
    while read -r library; do
      mkdir -p "$payload/root/$(dirname "$library")"
      cp -L "$library" "$payload/root/$library"
    done
done
