#!/bin/bash
# Measures side by side with the peer, interleaved, and writes the tables of docs/performance.md and its picture.
#   usage: bench.sh [ROW ...]      rows: minimal tree threads memory1 memory4 live1 live4 mappings descriptors descriptors10,
#                                  live4-little live4-all live4-huge incremental4 instant4 instant4-huge instant8 instant16 instant4-all
#                                  recycled1 copy1 disk1 redis redis-pause; with rows named, they are printed and the documents are left alone
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || stop "run it as root"
scripts/setup.sh
scripts/peer.sh
[ -x artifacts/criu-pmem ] || scripts/build.sh
scripts/build.sh --workloads
gcc -O1 -Wall -Wextra -Werror -o artifacts/measure bench/measure.c
gcc -O2 -Wall -Wextra -Werror -pthread -o artifacts/stamp bench/stamp.c
gcc -O2 -Wall -Wextra -Werror -pthread -o artifacts/copy bench/copy.c
gcc -O2 -Wall -Wextra -Werror -pthread -o artifacts/disk bench/disk.c
dotnet build bench/CriuPmem.Bench -c Release --nologo -v quiet >&2
program=$(dotnet msbuild bench/CriuPmem.Bench -p:Configuration=Release -getProperty:TargetPath)
# The peer keeps what it found out about the kernel in /run, if that is a tmpfs, as on real systems. What estimate remembers of the
# speed of directories may be from a busier time.
mkdir -p /var/cache/criu-pmem
exec artifacts/reaper unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/cache/criu-pmem && exec "$@"' sh \
  dotnet exec "$program" "$PWD" "$CRIU_PEER_PREFIX/bin/criu" "$@" 10>&- 251>&-
