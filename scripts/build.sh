#!/bin/bash
# Builds artifacts/criu-pmem (one NativeAOT file, no .NET needed to run it), the link artifacts/criu, and the test
# workloads in artifacts/workloads/.
#   usage: build.sh [--workloads]      with --workloads: only these
. "$(dirname "$0")/lib.sh"
artifacts=$PWD/artifacts

compile() {
  gcc -std=gnu17 -O1 -g -Wall -Wextra -Werror -pthread -o "$2~" "$1" -lrt && mv "$2~" "$2"
}

build_workloads() {
  local source program failed=0
  mkdir -p "$artifacts/workloads"
  for source in tests/workloads/*.c; do
    program=$artifacts/workloads/$(basename "$source" .c)
    [ "$program" -nt "$source" ] && [ "$program" -nt tests/workloads/workload.h ] && continue
    compile "$source" "$program" || failed=1
  done
  compile tests/workloads/harness/reaper.c "$artifacts/reaper" || failed=1
  # A program whose source is gone must not linger.
  for program in "$artifacts"/workloads/*; do
    [ -e "tests/workloads/$(basename "$program").c" ] || rm -f "$program"
  done
  return $failed
}

have gcc || scripts/setup.sh --build-only
build_workloads
[ "${1:-}" = --workloads ] && exit 0

dotnet publish src/CriuPmem.Cli/CriuPmem.Cli.csproj -c Release -r linux-x64 -o "$artifacts/publish" --nologo -v quiet
install -m 755 "$artifacts/publish/criu-pmem" "$artifacts/criu-pmem~"
mv "$artifacts/criu-pmem~" "$artifacts/criu-pmem"
ln -sfn criu-pmem "$artifacts/criu"
ls -l "$artifacts/criu-pmem" >&2
