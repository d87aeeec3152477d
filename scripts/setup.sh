#!/bin/bash
# Installs what building and testing need and is missing (Debian). Servers are installed, never started.
#   usage: setup.sh [--build-only]      with --build-only: just what compiling needs
. "$(dirname "$0")/lib.sh"
build_only=
[ "${1:-}" = --build-only ] && build_only=1

have dotnet || stop "the .NET SDK $(sed -n 's/.*"version": "\([^"]*\)".*/\1/p' global.json) or later is needed (https://dotnet.microsoft.com)"

missing=()
need() { # need PROGRAM PACKAGE: the package when the program is not there
  have "$1" || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}
need gcc gcc
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
if [ -z "$build_only" ]; then
  [ -x /usr/bin/python3 ] || missing+=(python3)
  /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null || missing+=(python3-protobuf)
  need top procps
  need setsid util-linux
  need script bsdutils
  need tmux tmux
  need redis-server redis-server
  need mariadbd mariadb-server
  need nginx nginx-light
  need strace strace
  # What --tls loads at run time.
  /sbin/ldconfig -p | grep -q 'libssl\.so\.3' || missing+=(libssl3)
  need node nodejs
  # javac is not needed: a source file can be started, but only with the compiler module of a JDK.
  { have java && java --list-modules 2>/dev/null | grep -q '^jdk.compiler'; } || missing+=(openjdk-17-jdk-headless)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

[ "$(id -u)" = 0 ] || stop "missing: ${missing[*]}; run as root, or install them"
have apt-get || stop "missing: ${missing[*]}; install them by hand (this is not Debian)"
say "setup: installing ${missing[*]}"
# Packages of servers start them on installation unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update >&2
apt-get -qq -y --no-install-recommends install "${missing[@]}" >&2
