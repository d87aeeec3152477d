#!/bin/sh
# What the guests of scripts/test-rig.sh do: run.sh STEP [ARGUMENT…]. Every test is told on the console in one line, "ok NAME" or
# "FAIL NAME", behind what went wrong. The programs are those of tests/workloads: they check themselves (workload.h).
engine=/payload/criu-pmem
store=/mnt/pmem

say() { echo "rig: $*"; }

# One test: a function, in which the first command that fails is the end.
it() { # NAME FUNCTION [ARGUMENT…]
  name=$1 home=$store/$1
  shift
  rm -rf "$home"
  mkdir -p "$home/work"
  (set -e; "$@")
  case $? in
    0) echo "ok $name" ;;
    77) ;; # told already
    *) echo "FAIL $name" ;;
  esac
  end
  rm -rf "$home"
}

wait_for() { # SECONDS COMMAND…
  end=$(($(date +%s) + $1))
  shift
  until "$@"; do
    if [ "$(date +%s)" -gt "$end" ]; then say "waited in vain: $*"; return 1; fi
    sleep 0.05
  done
}

gone() { [ ! -e "/proc/$1" ]; }

# Every process of a program that was started goes, as if it had crashed; nothing else runs in a guest.
end() {
  for found in /proc/[0-9]*; do
    case $(readlink "$found/exe") in
      "") continue ;;
      /payload/* | /opt/*) kill -9 "${found#/proc/}" && wait_for 20 gone "${found#/proc/}" ;;
    esac
  done 2> /dev/null
}

# Numbers of processes are the same in every boot: high ones are free when a program is restored in the next.
start() { # PROGRAM [ARGUMENT…]: sets pid, round
  echo $(($(cat /proc/sys/kernel/ns_last_pid) / 500 * 500 + 1000)) > /proc/sys/kernel/ns_last_pid
  program=$1
  shift
  (WORKLOAD_DIR=$home/work setsid "/payload/$program" "$@" < /dev/null > /dev/null 2>&1 &)
  wait_for 90 test -s "$home/work/ready"
  pid=$(cat "$home/work/ready")
  round=1
}

check() { # the program looks at itself
  : > "$home/work/check.$round"
  wait_for 120 test -s "$home/work/result.$round"
  [ "$(cat "$home/work/result.$round")" = OK ] || { cat "$home/work/result.$round"; return 1; }
  round=$((round + 1))
}

# Runs the engine; what it says is shown when it fails. Its log must say by which way pages go.
run() { # COMMAND IMAGES [OPTION…]
  command=$1 images=$home/$2
  shift 2
  mkdir -p "$images"
  began=$(cut -d' ' -f1 /proc/uptime)
  if ! "$engine" "$command" -D "$images" -v4 -o "$command.log" --use-pmem "$@" > "$home/said" 2>&1; then
    say "$command failed"
    cat "$home/said"
    tail -n 15 "$images/$command.log"
    return 1
  fi
  say "$name: $command ${images##*/} $* ($began to $(cut -d' ' -f1 /proc/uptime) s)"
  grep -q "lies on Dax" "$images/$command.log" || { say "the log does not say DAX"; grep pmem "$images/$command.log"; return 1; }
}

dump() { # IMAGES [OPTION…]
  to=$1
  shift
  run dump "$to" -t "$pid" "$@"
  grep -q "persistent memory (DAX)" "$images/dump.log" || { say "the log does not name the way"; return 1; }
}

restore() { # IMAGES [OPTION…]
  from=$1
  shift
  wait_for 20 gone "$pid"
  run restore "$from" -d "$@"
}

# --- tests of one file system ------------------------------------------------------------------------------------------

test_mapsync() {
  /payload/mapsync write "$home/file" 7
  /payload/mapsync check "$home/file" 7
}

# "check" knows DAX from what only stands in for it, and "pmem" on which devices it lies.
test_check() {
  mkdir -p /dev/shm/no-dax
  "$engine" check --feature dax -D "$home"
  if "$engine" check --feature dax -D /dev/shm/no-dax > /tmp/said 2>&1; then say "a tmpfs passes as DAX"; return 1; fi
  cat /tmp/said
  grep -q "tmpfs" /tmp/said
  "$engine" pmem "$home" > /tmp/said
  cat /tmp/said
  grep -q "^DAX  *yes.*MAP_SYNC works" /tmp/said
  grep -q "pmem0, .*persistent memory namespace0.0 used as fsdax" /tmp/said
}

test_eager() { start "$@"; check; dump images; restore images --no-lazy; check; dump images; restore images --no-lazy; check; }
test_lazy() { start "$@"; check; dump images; restore images --lazy; check; check; }
test_live() { start "$@"; dump images -R --live-mode copy --live; check; dump images -R --live; end; round=2; restore images; check; }
test_twins() { start "$@"; dump images -R --live --live-mode twins; check; end; round=1; rm "$home"/work/result.*; restore images; check; }

test_chain() {
  start "$@"
  run pre-dump 1 -t "$pid"
  check
  run pre-dump 2 -t "$pid" --prev-images-dir ../1
  check
  dump 3 -R --track-mem --prev-images-dir ../2
  check
  dump 4 --prev-images-dir ../3
  restore 4 --no-lazy
  check
}

test_dedup() {
  start "$@"
  run pre-dump 1 -t "$pid"
  check
  dump 2 --prev-images-dir ../1
  run dedup 2
  restore 2 --lazy
  check
}

test_recycle() {
  start "$@"
  for _ in 1 2 3; do dump images -R --recycle --no-live; check; done
  ls "$home/images/.criu-pmem-recycled" > /dev/null
  dump images --recycle --no-live
  grep "MiB copied by the process itself" "$home/images/dump.log" # which is mapped
  restore images --no-lazy
  check
}

test_compress() { start "$@"; dump images --compress; restore images --lazy; check; }

test_old_kernel() {
  start mem_large
  if "$engine" dump -t "$pid" -D "$home/work" --use-pmem > "$home/said" 2>&1; then say "a dump works here"; return 1; fi
  cat "$home/said"
  grep -q "6\.7" "$home/said" # says which kernel it needs
  check
}

few() { # what one boot of the short form has
  it "$1: check" test_check
  it "$1: eager" test_eager mem_large
  it "$1: lazy" test_lazy mem_large
  it "$1: recycle" test_recycle mem_large
  it "$1: live" test_live mem_one_instant
}

all() {
  few "$1"
  it "$1: mapsync" test_mapsync
  it "$1: huge pages" test_eager mem_thp
  it "$1: many processes" test_eager tree_shapes
  it "$1: shared memory" test_eager mem_shared_anon
  it "$1: twins" test_twins mem_large
  it "$1: chain" test_chain mem_churn
  it "$1: dedup" test_dedup mem_large
  it "$1: compress" test_compress mem_large
}

# --- power cuts and other kernels: the same directory in one boot after the other ----------------------------------------------

# Snapshot N is of a program that has looked at itself N - 1 times; its memory is another one each time. Ends with the power.
loop() { # DUMP-OPTION…
  name=loop home=$store/loop
  mkdir -p "$home/work" "$home/images"
  set -e
  start mem_churn 128
  sync
  while :; do
    echo "dumping $round"
    dump images -R "$@"
    echo "dumped $round"
    check
  done
}

# The program is the one of a snapshot from LOW to HIGH, and whole.
verify() { # NAME LOW HIGH
  name=$1 home=$store/loop
  (
    set -e
    rm -rf "$home"/work/check.* "$home"/work/result.*
    pid=1000000
    restore images --no-lazy
    for round in $(seq "$2" "$3"); do : > "$home/work/check.$round"; done
    wait_for 120 test -s "$home/work/result.$3"
    for round in $(seq "$2" "$3"); do
      [ -e "$home/work/result.$round" ] || continue
      [ -n "$found" ] || { found=$round; say "$name: it is snapshot $found of $2 to $3"; }
      [ "$(cat "$home/work/result.$round")" = OK ] || { cat "$home/work/result.$round"; exit 1; }
    done
  )
  if [ $? = 0 ]; then echo "ok $name"; else echo "FAIL $name"; ls -la "$home/images" "$home"/images/.criu*; fi
}

# In another kernel it works, or is refused for the reason that is known.
other() { # NAME
  name=$1 home=$store/loop
  (
    set -e
    rm -f "$home"/work/check.* "$home"/work/result.*
    if ! "$engine" restore -d -D "$home/images" --use-pmem > /tmp/said 2>&1; then
      cat /tmp/said
      grep -q "vDSO" /tmp/said
      echo "skip $name: $(grep -m 1 vDSO /tmp/said)"
      exit 77
    fi
    round=1
    check
  )
  case $? in 0) echo "ok $name" ;; 77) ;; *) echo "FAIL $name" ;; esac
}

# --- real programs: dumped with their data, then the power goes ----------------------------------------------------------------

verdict() { # NAME: of the command before
  if [ $? = 0 ]; then echo "ok $1"; else echo "FAIL $1"; fi
}

redis() {
  name=redis home=$store/redis
  set -e
  mkdir -p "$home/data"
  echo 3000 > /proc/sys/kernel/ns_last_pid
  (setsid redis-server --bind 127.0.0.1 --dir "$home/data" --appendonly yes --appendfsync always --save "" < /dev/null > /dev/null 2>&1 &)
  wait_for 60 redis-cli PING
  redis-cli EVAL "for i = 1, 100000 do redis.call('SET', 'key:' .. i, string.rep('value ' .. i .. ' ', 40)) end" 0
  redis-cli SET visits 41
  redis-cli INFO server | grep run_id > "$home/run_id"
  sync
  pid=$(redis-cli INFO server | tr -d '\r' | sed -n 's/^process_id://p')
  dump images
  echo "dumped 1"
  sleep 600
}

redis_verify() {
  name=redis home=$store/redis pid=1000000
  (
    set -e
    restore images
    redis-cli INFO server | grep run_id | cmp - "$home/run_id"
    [ "$(redis-cli DBSIZE)" = 100001 ]
    redis-cli GET key:777 | grep -q "^value 777 value 777 "
    [ "$(redis-cli INCR visits)" = 42 ]
  )
  verdict redis
}

sql() { mariadb --no-defaults -uroot -S "$home/socket" -N -B -e "$1"; }

mariadb_server() {
  name=mariadb home=$store/mariadb
  set -e
  mkdir -p "$home"
  cp -r /payload/mariadb-data "$home/data"
  echo 3000 > /proc/sys/kernel/ns_last_pid
  (setsid mariadbd --no-defaults --datadir="$home/data" --socket="$home/socket" --user=root --skip-networking \
    --innodb-use-native-aio=0 --innodb-log-file-size=8M --lc-messages-dir=/payload/mariadb-share --character-sets-dir=/payload/mariadb-share/charsets \
    --pid-file="$home/pid" < /dev/null > /dev/null 2>&1 &)
  wait_for 120 sql "SELECT 1" > /dev/null 2>&1
  sql "CREATE DATABASE shop; USE shop; CREATE TABLE sale (id INT PRIMARY KEY, price INT); INSERT INTO sale SELECT seq, seq % 97 FROM seq_1_to_20000"
  sql "CREATE TABLE shop.basket (id INT PRIMARY KEY) ENGINE=MEMORY; INSERT INTO shop.basket VALUES (7)"
  sync
  pid=$(cat "$home/pid")
  dump images --file-locks --ghost-limit 64M
  echo "dumped 1"
  sleep 600
}

mariadb_verify() {
  name=mariadb home=$store/mariadb pid=1000000
  (
    set -e
    restore images --file-locks
    [ "$(sql "SELECT COUNT(*), SUM(price) FROM shop.sale")" = "$(printf '20000\t%s' "$1")" ]
    [ "$(sql "SELECT id FROM shop.basket")" = 7 ] # lies in memory alone
    sql "INSERT INTO shop.sale VALUES (20001, 5)"
    sql "CHECK TABLE shop.sale" | grep -q OK
  )
  verdict mariadb
}

# A volume over both NVDIMMs, made as a user does it.
lvm_volume() {
  set -e
  mkdir -p /run/lock/lvm
  pvcreate -q /dev/pmem0 /dev/pmem1
  vgcreate -q memory /dev/pmem0 /dev/pmem1
  lvcreate -q -y -Wn -Zn -l 100%FREE -n store memory # nobody makes device nodes here (udev), so it cannot wipe
  vgmknodes
  mkfs.ext4 -q -b 4096 /dev/mapper/memory-store
  mount -t ext4 -o dax /dev/mapper/memory-store "$store"
  set +e
}

step=$1
shift
case $step in
  few | all | loop | verify | other | redis | redis_verify | mariadb_server | mariadb_verify) "$step" "$@" ;;
  lvm) lvm_volume && all lvm ;;
  old) it "$1" test_old_kernel ;;
  *) say "unknown step $step"; exit 2 ;;
esac
