#!/bin/bash
# Boots guests with emulated persistent memory (QEMU, NVDIMMs) and dumps and restores programs there, on file systems with DAX,
# over power cuts and reboots. The last line is "N passed, N failed, N skipped"; the console of each case is kept in
# artifacts/rig/logs.
#   usage: test-rig.sh [--short] [CASE…]
#     --short    one boot with a few of the tests (two minutes, and at first one more for downloads)
#     CASE       ext4 xfs lvm memmap old-kernel reboot cuts cuts-cacheloss other-kernel redis mariadb (default: all)
#   CRIU_PMEM=/path/to/binary tests another engine than artifacts/criu-pmem; RIG_DIR is where kernels are kept.
. "$(dirname "$0")/lib.sh"
rig=$PWD/scripts/rig
. "$rig/lib.sh"
all=(ext4 xfs lvm memmap old-kernel reboot cuts cuts-cacheloss other-kernel redis mariadb)
case ${1:-} in
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --short) cases=(short) ;;
  -*) stop "unknown option $1" ;;
  '') cases=("${all[@]}") ;;
  *) cases=("$@") ;;
esac
for name in "${cases[@]}"; do
  [[ " short ${all[*]} " == *" $name "* ]] || stop "unknown case $name"
done

engine=${CRIU_PMEM:-$PWD/artifacts/criu-pmem}
[ -n "${CRIU_PMEM:-}" ] || [ -x "$engine" ] || scripts/build.sh >&2
scripts/build.sh --workloads
work=$PWD/artifacts/rig
logs=$work/logs
mkdir -p "$logs"
# NVDIMMs lie in memory where there is room: what they hold is thrown away.
nvdimms=$(mktemp -d /dev/shm/criu-pmem-rig.XXXXXX)
trap 'rm -rf "$nvdimms"' EXIT
passed=0 failed=0 skipped=0

# What the guests run.
make_payload() {
  local payload=$work/payload
  rm -rf "$payload"
  mkdir -p "$payload"
  cp "$rig"/guest/*.sh "$payload/"
  cp "$engine" "$work/criu-pmem"
  gcc -O2 -Wall -Wextra -Werror -o "$work/mapsync" "$rig/guest/mapsync.c"
  "$rig/copy-elf.sh" "$payload" "$work/criu-pmem" "$work/mapsync" \
    artifacts/workloads/{mem_large,mem_churn,mem_one_instant,mem_thp,mem_shared_anon,tree_shapes}
  if wanted redis; then "$rig/copy-elf.sh" "$payload" "$(command -v redis-server)" "$(command -v redis-cli)"; fi
  if wanted mariadb; then add_mariadb "$payload"; fi
}

wanted() { [[ " ${cases[*]} " == *" $1 "* ]]; }

add_mariadb() { # PAYLOAD: with an empty database, and what its messages are made of
  "$rig/copy-elf.sh" "$1" /usr/sbin/mariadbd "$(command -v mariadb)"
  mariadb-install-db --no-defaults --datadir="$1/mariadb-data" --user=root --skip-test-db --innodb-log-file-size=8M > /dev/null
  mkdir "$1/mariadb-share"
  cp -r /usr/share/mysql/{english,charsets} "$1/mariadb-share/"
}

install_kernels() { "$rig/install.sh" "$@" >&2; }

passes() { passed=$((passed + 1)); say "ok    $*"; }
fails() { # NAME: the console is named
  failed=$((failed + 1))
  say "FAIL  $1 (console: $log)"
}

# One guest; its console is $log, to which those of one case are appended. Sets status.
boot() { # KERNEL BOOT-OPTION…
  local kernel=$1 initrd=$work/$1.img
  shift
  [ "$initrd" -nt "$work/payload" ] || "$rig/mkinitrd.sh" "$kernel" "$work/payload" "$initrd" > /dev/null
  status=0
  "$rig/boot.sh" --kernel "$kernel" --initrd "$initrd" --timeout 600 --log "$console" "$@" > /dev/null || status=$?
  { echo "=== $kernel $*"; cat "$console"; } >> "$log"
}

# A guest that tells of each of its tests.
tests() { # KERNEL BOOT-OPTION…
  local verdict
  boot "$@"
  while read -r verdict; do
    case $verdict in
      "ok "*) passes "${verdict#ok }" ;;
      "skip "*) skipped=$((skipped + 1)); say "skip  ${verdict#skip }" ;;
      "FAIL "*) fails "${verdict#FAIL }" ;;
    esac
  done < <(grep -E '^(ok|skip|FAIL) ' "$console")
  [ "$status" = 0 ] || fails "$name: the guest ended with $status"
}

case_short() {
  install_kernels 6.12
  tests 6.12 --pmem "$nvdimms/a:1G" --args few,ext4
}

case_ext4() {
  install_kernels 6.12
  tests 6.12 --pmem "$nvdimms/a:1G" --args all,ext4
}

case_xfs() {
  install_kernels 6.12
  tests 6.12 --pmem "$nvdimms/a:1G" --fs xfs --args all,xfs
}

case_lvm() {
  install_kernels 6.12
  tests 6.12 --pmem "$nvdimms/a:768M" --pmem "$nvdimms/b:768M" --fs none --args lvm
}

case_memmap() {
  install_kernels 6.12
  tests 6.12 --mem 3072 --append 'memmap=1G!1G' --args all,memmap
}

case_old_kernel() {
  install_kernels 6.1
  tests 6.1 --pmem "$nvdimms/a:1G" --args old,old-kernel
}

# The power goes right after success was reported.
case_reboot() {
  install_kernels 6.12
  cut_at '^dumped 1' ''
  tests 6.12 --pmem "$nvdimms/a" --args "verify,reboot,1,1"
}

case_other_kernel() {
  install_kernels 6.12 7.x
  cut_at '^dumped 1' ''
  tests 7.x --pmem "$nvdimms/a" --args other,other-kernel
}

# A guest that dumps a running program again and again into one directory, until the power goes. Sets low and high: the
# snapshots that may be there then.
cut_at() { # LINE SECONDS [DUMP-OPTION…]
  local line=$1 after=$2
  shift 2
  rm -f "$nvdimms"/*
  boot 6.12 --pmem "$nvdimms/a:1G" --args "loop$(printf ',%s' "$@")" --kill-on-line "$line" ${after:+--kill-after "$after"} "${kept[@]}"
  [ "$status" = 137 ] || fails "$name: the guest ended with $status before its power was cut"
  low=$(sed -n 's/^dumped //p' "$console" | tr -d '\r' | tail -n 1)
  high=$(sed -n 's/^dumping //p' "$console" | tr -d '\r' | tail -n 1)
  # How long the last dump that succeeded took.
  took=$(sed -nE 's/^rig: .*: dump images .* \(([0-9.]+) to ([0-9.]+) s\).*/\2 \1/p' "$console" | tail -n 1 | awk '{ print $1 - $2 }')
}

# Moments of the third dump, spread over the time that the second one takes, and the moment after it.
cuts() { # MOMENTS VERIFY
  local i moment options
  took=2
  for i in $(seq 0 "$1"); do
    options=(--no-live)
    [ $((i % 2)) = 0 ] || options=(--no-live --recycle)
    [ $((i % 3)) != 2 ] || options=(--live)
    [ "$i" != "$1" ] || options=(--no-live --recycle) # the third dump is the first that is mapped
    moment=$(awk -v took="$took" -v part="$i" -v parts="$1" -v some="$RANDOM" 'BEGIN { print took * (part + some / 32768) / parts + 0.01 }')
    if [ "$i" = "$1" ]; then cut_at '^dumped 3' '' "${options[@]}"; else cut_at '^dumping 3' "$moment" "${options[@]}"; fi
    say "      $name-$i: dump ${options[*]}, cut after ${moment} s of about $took s: snapshot $low to $high"
    "$2" "$name-$i"
  done
}

verify_one() { tests 6.12 --pmem "$nvdimms/a" --args "verify,$1,$low,$high"; }

case_cuts() {
  install_kernels 6.12
  cuts 6 verify_one
}

# The caches are lost, too: nothing is there but what was written back; or by chance some of it.
verify_kept() {
  local seed what
  kept=()
  for seed in 1 2; do "$RIG_DIR/qemu/mixlines" "$nvdimms/a" "$nvdimms/kept" "$seed" "$nvdimms/mixed-$seed" >> "$log"; done
  for what in a kept mixed-1 mixed-2; do
    tests 6.12 --pmem "$nvdimms/$what" --args "verify,$1-$what,$low,$high"
    rm "$nvdimms/$what"
  done
  kept=(--kept "$nvdimms/kept")
}

case_cuts_cacheloss() {
  install_kernels 6.12 cacheloss
  # One QEMU for all boots: another has a CPU with other features, and a restore refuses that.
  export RIG_QEMU=$RIG_DIR/qemu/run
  kept=(--kept "$nvdimms/kept")
  cuts 4 verify_kept
  kept=()
  unset RIG_QEMU
}

# A real program is dumped, the power goes, and it is there again after the next boot.
reboot_with() { # STEP VERIFY
  install_kernels 6.12
  boot 6.12 --pmem "$nvdimms/a:1G" --args "$1" --kill-on-line '^dumped 1'
  [ "$status" = 137 ] || { fails "$name: the guest ended with $status before its power was cut"; return 0; }
  tests 6.12 --pmem "$nvdimms/a" --args "$2"
}

case_redis() { reboot_with redis redis_verify; }
case_mariadb() { reboot_with mariadb_server "mariadb_verify,$(awk 'BEGIN { for (i = 1; i <= 20000; i++) sum += i % 97; print sum }')"; }

kept=()
if wanted redis || wanted mariadb; then scripts/setup.sh >&2; fi
make_payload
for name in "${cases[@]}"; do
  log=$logs/$name.log console=$work/console
  : > "$log"
  rm -f "$nvdimms"/*
  begun=$SECONDS
  "case_${name//-/_}"
  say "      $name: $((SECONDS - begun)) s"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
