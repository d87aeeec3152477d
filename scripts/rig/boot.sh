#!/bin/bash
# Boot a guest under QEMU, show its console, and return the status of /payload/run.sh.
#   usage: boot.sh --kernel 6.1|6.12|7.x --initrd FILE [option…] [-- QEMU-ARGUMENT…]
#     --pmem FILE[:SIZE]     an NVDIMM backed by FILE, made if missing (/dev/pmem0, then 1, …)
#     --kept FILE            also make FILE: the first NVDIMM as it is when all that is still
#                            in CPU caches is lost (cacheloss.c; needs install.sh cacheloss);
#                            the guest then uses one CPU
#     --args A,B             arguments for /payload/run.sh
#     --fs ext4|xfs|none     filesystem on the first NVDIMM, mounted at /mnt/pmem (ext4)
#     --mkfs                 make it anew even if there is one
#     --kill-on-line REGEX   cut the power when a console line matches
#     --kill-after SECONDS   cut the power so long after that line, or else after the start
#     --timeout SECONDS      give up (300)
#     --mem M --smp N --cpu MODEL   (1536, 2, max)
#     --log FILE             copy of the console
#     --append ARGS          more kernel arguments
# Status: that of run.sh; 137 when the power was cut; 124 at the timeout; 125 when the guest
# ended without a status (a panic, say); 2 for wrong usage.
# Environment: RIG_QEMU, the QEMU command (qemu-system-x86_64), and RIG_ACCEL, its -accel
# (tcg,thread=single; kvm is much faster where it works). Not thread=multi: guests then panic now
# and then ("Oops: int3"), as one emulated CPU runs code that another has just patched.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

kernel='' initrd='' args='' fs=ext4 mkfs=auto kill_line='' kill_after='' timeout=300
mem=1536 smp=2 cpu=max log=/dev/null append='' pmem=() qemu=() kept=''
while [ $# -gt 0 ]; do
  case $1 in
    --mkfs) mkfs=always; shift; continue ;;
    --) shift; qemu=("$@"); break ;;
  esac
  [ $# -ge 2 ] || die "$1 needs a value"
  case $1 in
    --kernel) kernel=$2 ;; --initrd) initrd=$2 ;; --pmem) pmem+=("$2") ;; --args) args=$2 ;;
    --kept) kept=$2 ;;
    --fs) fs=$2 ;; --kill-on-line) kill_line=$2 ;;
    --kill-after) kill_after=$2 ;; --timeout) timeout=$2 ;; --mem) mem=$2 ;; --smp) smp=$2 ;;
    --cpu) cpu=$2 ;; --log) log=$2 ;; --append) append=$2 ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done
if [ -z "$kernel" ] || [ ! -f "$initrd" ]; then die "--kernel and --initrd are needed"; fi
vmlinuz=$(rig_kernel "$kernel")/vmlinuz

devices=() n=0
for spec in "${pmem[@]}"; do
  file=${spec%:*}
  if [ ! -e "$file" ]; then truncate -s "${spec##*:}" "$file"; fi
  size=$(stat -c %s "$file")
  # share=on: the guest's stores land in the host's page cache of FILE, which outlives QEMU.
  devices+=(-object "memory-backend-file,id=mem$n,share=on,mem-path=$file,size=$size"
    -device "nvdimm,id=nv$n,memdev=mem$n")
  n=$((n + 1))
done
if [ -n "$kept" ]; then
  file=${pmem[0]%:*}
  [ -x "$RIG_DIR/qemu/run" ] || die "--kept needs install.sh cacheloss"
  [ "$mem" -le 3072 ] || die "--kept needs --mem 3072 or less: only then is the first NVDIMM at 4 GiB"
  RIG_QEMU=$RIG_DIR/qemu/run
  cp --sparse=always "$file" "$kept"
  # With one host thread for all CPUs QEMU tells a plugin which CPU translated an instruction, not which one runs it; then fences
  # of one CPU would count for another. With a single CPU that is the same. (-smp stays: else the kernel leaves LOCK prefixes out.)
  append+=" maxcpus=1"
  devices+=(-plugin "$RIG_DIR/qemu/cacheloss.so,nvdimm=$file,kept=$kept,base=0x100000000")
fi

cmdline="console=ttyS0 quiet no_timer_check loglevel=4 panic=-1 mitigations=off random.trust_cpu=on"
cmdline+=" rig.fs=$fs rig.mkfs=$mkfs rig.args=$args $append"

# Read the console line by line. $! is QEMU itself, as the subshell is replaced by it.
read -ra qemu_command <<< "${RIG_QEMU:-qemu-system-x86_64}"
exec 3< <(exec "${qemu_command[@]}" -M pc,nvdimm=on -accel "${RIG_ACCEL:-tcg,thread=single}" -cpu "$cpu" -smp "$smp" \
  -m "$mem,slots=$((n + 1)),maxmem=64G" -nodefaults -no-user-config -display none -no-reboot \
  -serial stdio -kernel "$vmlinuz" -initrd "$initrd" -append "$cmdline" \
  "${devices[@]}" "${qemu[@]}" < /dev/null 2>&1)
pid=$!
trap 'kill -KILL "$pid" 2> /dev/null || true' EXIT

# Points in time are in microseconds.
now() { echo "${EPOCHREALTIME/[.,]/}"; }
after() { awk -v now="$(now)" -v s="$1" 'BEGIN { printf "%.0f", now + s * 1e6 }'; }
deadline=$(after "$timeout") kill_at='' status=125
[ -z "$kill_after" ] || [ -n "$kill_line" ] || kill_at=$(after "$kill_after")

cut_power() { kill -KILL "$pid" 2> /dev/null || true; status=137; }
say() { printf '%s\n' "$1" | tee -a "$log"; }

: > "$log"
rest=''
while :; do
  left=$((${kill_at:-$deadline} - $(now)))
  if [ "$left" -lt 1000 ]; then left=1000; fi
  if IFS= read -r -t "$((left / 1000000)).$(printf %06d $((left % 1000000)))" line <&3; then
    line=$rest${line%$'\r'} rest=''
    if [ -n "$kill_line" ] && [[ $line =~ $kill_line ]]; then
      kill_line=''
      if [ -n "$kill_after" ]; then kill_at=$(after "$kill_after"); else cut_power; fi
    fi
    say "$line"
    if [[ $line =~ ^RIG-EXIT:\ ([0-9]+) ]]; then status=${BASH_REMATCH[1]}; fi
  elif [ $? -gt 128 ]; then # the wait ended, not the output; keep the part of a line
    rest+=$line
    if [ -n "$kill_at" ]; then kill_at=$deadline; cut_power; continue; fi
    say "RIG: timeout"
    status=124
    break
  else
    break
  fi
done
[ "$status" != 137 ] || say "RIG: power cut"
exit "$status"
