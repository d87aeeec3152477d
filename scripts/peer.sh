#!/bin/bash
# Puts the peer (CRIU 4.2 of a newer Debian suite, with all its libraries) into a prefix of its own, where the tests
# find it: ${CRIU_PEER_PREFIX:-/opt/criu-peer}/bin/criu and crit. Nothing else on the machine changes, apt's own state
# included. When it is there already nothing happens.
#   usage: peer.sh [--force]
. "$(dirname "$0")/lib.sh"
prefix=$CRIU_PEER_PREFIX
bin=$prefix/bin
suite=${CRIU_PEER_SUITE:-sid}
apt=$prefix/apt
root=$prefix/root

[ "${1:-}" != --force ] && [ -x "$bin/criu" ] && [ -x "$bin/crit" ] && "$bin/criu" --version >/dev/null 2>&1 && exit 0
[ "$(uname -m)" = x86_64 ] || stop "the peer is fetched for x86-64 only"
say "peer: installing into $prefix"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$root" "$bin"

# The mirror is whichever this machine's own apt configuration uses for Debian.
mirrors() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' |
    awk '$3 == "Debian" && $2 !~ /-/ { print $1; exit }'
}
mirror=$(mirrors)
[ -n "$mirror" ] || { apt-get -qq update >&2; mirror=$(mirrors); }
[ -n "$mirror" ] || stop "no Debian mirror in apt's configuration"

echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
: >"$apt/status" # an empty package status: the whole closure is fetched, the C library too
cat >"$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Bin::dpkg "/bin/false"; // this apt must never install anything on the machine
APT::Get::Download-Only "true";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$apt/apt.conf
apt-get -qq update >&2
apt-get -qq -y --no-install-recommends --download-only install criu libcriu2 libcriu-dev >&2
(cd "$apt/cache/archives" && apt-get -qq download python3-pycriu >&2) # crit, for the machine's own python3
for deb in "$apt"/cache/archives/*.deb; do dpkg -x "$deb" "$root"; done

lib=$root/usr/lib/x86_64-linux-gnu
loader=$(find "$root" -name ld-linux-x86-64.so.2 -not -type d | head -n 1)
criu=$(find "$root/usr/sbin" "$root/usr/bin" -name criu 2>/dev/null | head -n 1)
packages=$root/usr/lib/python3/dist-packages
printf '#!/bin/sh\nexec %s --library-path %s --argv0 criu %s "$@"\n' "$loader" "$lib" "$criu" >"$bin/criu"
printf '#!/bin/sh\nPYTHONPATH=%s exec /usr/bin/python3 %s "$@"\n' "$packages" "$root/usr/bin/crit" >"$bin/crit"
chmod 755 "$bin/criu" "$bin/crit"
"$bin/criu" --version >&2
