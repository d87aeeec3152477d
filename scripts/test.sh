#!/bin/bash
# Sets up, builds, and runs every test project under tests/, and, without --quick and FILTER, the short form of test-rig.sh (a guest
# with persistent memory). The last line is "N passed, N failed, N skipped".
#   usage: test.sh [--peer] [--quick] [FILTER]
#     --peer    the directions with the peer too (it is installed when missing)
#     --quick   one round each, a tenth of the kills and flipped bits, no guest
#     FILTER    only tests whose name (class.method, or workload and direction) contains it
. "$(dirname "$0")/lib.sh"
peer='' filter=''
while [ $# -gt 0 ]; do
  case $1 in
    --peer) peer=1 ;;
    --quick) export CRIU_TEST_QUICK=1 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) stop "unknown option $1" ;;
    *) filter=$1 ;;
  esac
  shift
done

scripts/setup.sh
if [ -n "$peer" ]; then
  scripts/peer.sh
  export CRIU_TEST_PEER=${CRIU_TEST_PEER:-1}
fi
scripts/build.sh
wanted=()
[ -z "$filter" ] || wanted=(-preEnumerateTheories -displayName "*$filter*")

results=$PWD/artifacts/test-results
rm -rf "$results"
mkdir -p "$results"
broken=0
for project in tests/*/*.csproj; do
  name=$(basename "$project" .csproj)
  say "== $name"
  if ! dotnet build "$project" -c Release --nologo -v quiet -p:UseMicrosoftTestingPlatformRunner=false >&2; then
    say "$name does not build"
    broken=$((broken + 1))
    continue
  fi
  program=$(dotnet msbuild "$project" -p:Configuration=Release -getProperty:TargetPath)
  artifacts/reaper dotnet exec "$program" -noColor -noLogo -result-xml "$results/$name.xml" "${wanted[@]}" >&2 || true
done

# Counted from the reports, not from what was printed. A project without a report counts as one failure.
passed=0 failed=$broken skipped=0
for project in tests/*/*.csproj; do
  report=$results/$(basename "$project" .csproj).xml
  if [ ! -s "$report" ]; then
    [ $broken -gt 0 ] && broken=$((broken - 1)) && continue
    say "$(basename "$project" .csproj): no report, it ended early"
    failed=$((failed + 1))
    continue
  fi
  for assembly in $(grep -o '<assembly [^>]*>' "$report" | tr ' ' '\n' | grep -E '^(passed|failed|skipped|errors)=' | tr -d '">'); do
    case $assembly in
      passed=*) passed=$((passed + ${assembly#*=})) ;;
      failed=* | errors=*) failed=$((failed + ${assembly#*=})) ;;
      skipped=*) skipped=$((skipped + ${assembly#*=})) ;;
    esac
  done
done
if [ -z "$filter" ] && [ -z "${CRIU_TEST_QUICK:-}" ]; then
  say "== test-rig.sh --short"
  counts=$(scripts/test-rig.sh --short 10>&- 251>&- | tail -n 1) || true
  if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
  else
    say "test-rig.sh: no count, it ended early"
    failed=$((failed + 1))
  fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
