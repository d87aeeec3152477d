#!/bin/bash
# Shows criu-pmem on emulated persistent memory (a directory in RAM): top on a terminal, MariaDB with an open session,
# Redis with data. Each is saved, is gone, comes back, and proves that it goes on. Nothing is left running.
#   usage: demo.sh      CRIU_PMEM=/path/to/engine takes another engine than artifacts/criu-pmem
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || stop "run it as root"
if [ -z "${DEMO_REAPED:-}" ]; then
  scripts/setup.sh
  # Ended processes are reaped at once: some inits, in containers above all, take their time, and keep the pids taken.
  [ -x artifacts/reaper ] || { mkdir -p artifacts && gcc -O1 -o artifacts/reaper tests/workloads/harness/reaper.c; }
  DEMO_REAPED=1 exec artifacts/reaper "$PWD/scripts/demo.sh" "$@"
fi
engine=${CRIU_PMEM:-$PWD/artifacts/criu-pmem}
[ -n "${CRIU_PMEM:-}" ] || [ -x "$engine" ] || scripts/build.sh >&2
pmem=--use-pmem
"$engine" --version | grep -q criu-pmem || pmem= # CRIU itself does not know it

home=$(mktemp -d /dev/shm/criu-pmem-demo.XXXXXX)
table=$home/table
failed=0
roots=()
tmux_() { tmux -f /dev/null -S "$home/tmux" "$@"; }
cleanup() {
  local root pid
  for root in "${roots[@]}"; do
    for pid in $(ps -o pid= -s "$root"); do kill -9 "$pid" 2>/dev/null || true; done
  done
  tmux_ kill-server 2>/dev/null || true
  rm -rf "$home"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
title() { printf '\n== %s\n' "$*"; }
# The machine's descriptors of this shell must not be part of what is saved.
quiet() { "$@" </dev/null 10>&- 251>&-; }
wait_for() { # wait_for SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}
# Its session too: while a member is there the number of its leader is taken.
gone() { [ ! -e "/proc/$1" ] && [ -z "$(ps -o pid= -s "$1")" ]; }
alive() { [ -e "/proc/$1" ]; }

save() { # save NAME PID OPTIONS...: dumps; sets dump_ms, size
  local name=$1 pid=$2 begun; shift 2
  images=$home/$name.images
  mkdir "$images"
  begun=$(milliseconds)
  if ! quiet "$engine" dump -t "$pid" -D "$images" -o dump.log $pmem "$@" >"$home/said" 2>&1; then
    give_up "$name" "$pid" "$images/dump.log"
    return 1
  fi
  dump_ms=$(($(milliseconds) - begun))
  size=$(du -sh --apparent-size "$images" | cut -f1)
  wait_for 20 gone "$pid" || true
  echo "saved in $dump_ms ms to $size of images; process $pid is gone: $(gone "$pid" && echo yes || echo NO)"
}
restored_in() { restore_ms=$(($(milliseconds) - $1)); echo "restored in $restore_ms ms, with pid $2 again"; }
give_up() { # name pid log
  echo "it did not work: $(grep -h Error "$3" "$home/said" 2>/dev/null | grep -v RLIMIT_NOFILE | head -1)"
  printf '%s\t%s\t-\t-\t-\tno\n' "$1" "$2" >>"$table"
  failed=1
}
row() { printf '%s\t%s\t%s\t%s\t%s\tyes\n' "$1" "$2" "$size" "$dump_ms ms" "$restore_ms ms" >>"$table"; }

demo_top() {
  local shell pid begun before after
  title "top, a full-screen program on a terminal"
  quiet tmux_ new-session -d -x 80 -y 24 "exec bash --norc --noprofile"
  shell=$(tmux_ list-panes -F '#{pane_pid}')
  tmux_ send-keys "top -d 0.5" Enter
  wait_for 10 pgrep -P "$shell" -x top || return 1
  pid=$(pgrep -P "$shell" -x top)
  sleep 1
  before=$(ps -o lstart= -p "$pid")
  tmux_ capture-pane -p | sed -n '1,2p'
  save top "$pid" --shell-job || return 0
  begun=$(milliseconds)
  tmux_ send-keys "clear; $engine restore -D $images -o restore.log $pmem --shell-job" Enter
  wait_for 10 alive "$pid" || { give_up top "$pid" "$images/restore.log"; return 0; }
  restored_in "$begun" "$pid"
  sleep 1.5
  tmux_ capture-pane -p | sed -n '1,2p'
  tmux_ send-keys h
  sleep 0.5
  after=$(tmux_ capture-pane -p)
  tmux_ send-keys Escape q
  case $after in
    *"Help for Interactive"*) echo "it draws its screen and answers to keys"; row top "$pid" ;;
    *) give_up top "$pid" "$images/restore.log" ;;
  esac
}

demo_mariadb() {
  local data=$home/mariadb sock=$home/mariadb.sock pid begun ask
  title "MariaDB, with a table of 100,000 rows and a client in the middle of its session"
  quiet mariadb-install-db --no-defaults --datadir="$data" --user=root --skip-test-db >"$home/said" 2>&1
  mkfifo "$home/questions"
  cat >"$home/mariadb.sh" <<SCRIPT
/usr/sbin/mariadbd --no-defaults --datadir=$data --socket=$sock --user=root --skip-networking \
  --innodb-use-native-aio=0 --log-error=$home/mariadb.log --pid-file=$home/mariadb.pid &
until mariadb --no-defaults -uroot -S $sock -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
exec 3<>$home/questions
mariadb --no-defaults -uroot -S $sock -N -B --unbuffered --force <&3 3<&- &
wait
SCRIPT
  # exec: a shell in between would write "Killed" into the program's own output.
  (exec setsid sh "$home/mariadb.sh" </dev/null >"$home/answers" 2>&1 10>&- 251>&-) & disown
  wait_for 5 pgrep -f "$home/mariadb.sh"
  pid=$(pgrep -o -f "$home/mariadb.sh")
  roots+=("$pid")
  wait_for 30 pgrep -s "$pid" -f -- --unbuffered || { give_up MariaDB "$pid" "$home/mariadb.log"; return 0; }
  ask() { # one question to the same session; its answer is the next line
    local have; have=$(wc -l <"$home/answers")
    echo "$1" >"$home/questions"
    more() { [ "$(wc -l <"$home/answers")" -gt "$have" ]; }
    wait_for 20 more || true; tail -1 "$home/answers"
  }
  ask "CREATE DATABASE shop; USE shop; CREATE TABLE sale (id INT PRIMARY KEY, price INT);
    INSERT INTO sale SELECT seq, seq % 97 FROM seq_1_to_100000;
    SET @basket = 'three apples'; CREATE TEMPORARY TABLE draft AS SELECT * FROM sale LIMIT 5; SELECT 'ready';" >/dev/null
  local question="SELECT CONCAT('connection ', CONNECTION_ID(), ', basket: ', @basket, ', draft rows: ',
    (SELECT COUNT(*) FROM draft), ', sales: ', (SELECT COUNT(*) FROM sale), ', sum: ', (SELECT SUM(price) FROM sale));"
  local before after up
  uptime_of() { ask "SHOW STATUS LIKE 'Uptime';" | cut -f2; }
  sleep 1
  before=$(ask "$question"); echo "$before"
  echo "uptime $(uptime_of) s"
  save MariaDB "$pid" --file-locks --ghost-limit 64M || return 0
  begun=$(milliseconds)
  if ! quiet "$engine" restore -d -D "$images" -o restore.log $pmem --file-locks >"$home/said" 2>&1; then
    give_up MariaDB "$pid" "$images/restore.log"; return 0
  fi
  restored_in "$begun" "$pid"
  after=$(ask "$question"); echo "$after"
  sleep 1
  up=$(uptime_of)
  ask "INSERT INTO sale VALUES (100001, 5); SELECT CONCAT('new sale taken, now ', COUNT(*)) FROM sale;"
  echo "uptime $up s, running on; table check: $(ask "CHECK TABLE sale;" | cut -f4)"
  if [ -n "$before" ] && [ "$before" = "$after" ]; then row MariaDB "$pid"; else give_up MariaDB "$pid" "$images/restore.log"; fi
}

demo_redis() {
  local port=$((20000 + RANDOM % 10000)) pid begun before after
  title "Redis, with 200,000 keys"
  mkdir "$home/redis"
  (exec setsid redis-server --port "$port" --bind 127.0.0.1 --dir "$home/redis" --appendonly yes --save '' \
    </dev/null >"$home/redis.log" 2>&1 10>&- 251>&-) & disown
  wait_for 10 redis-cli -p "$port" PING
  pid=$(redis-cli -p "$port" INFO | tr -d '\r' | sed -n 's/^process_id://p')
  roots+=("$pid")
  redis-cli -p "$port" EVAL "for i = 1, 200000 do redis.call('SET', 'key:' .. i, 'value ' .. i) end" 0 >/dev/null
  redis-cli -p "$port" SET visits 41 >/dev/null
  sleep 1.2
  look() { redis-cli -p "$port" INFO | tr -d '\r' | sed -n 's/^\(run_id\|uptime_in_seconds\):/\1 /p' | paste -sd' '; }
  before=$(look); echo "$(redis-cli -p "$port" DBSIZE) keys, $before"
  save Redis "$pid" || return 0
  begun=$(milliseconds)
  if ! quiet "$engine" restore -d -D "$images" -o restore.log $pmem >"$home/said" 2>&1; then
    give_up Redis "$pid" "$images/restore.log"; return 0
  fi
  restored_in "$begun" "$pid"
  after=$(look); echo "$(redis-cli -p "$port" DBSIZE) keys, $after"
  echo "key:777 is \"$(redis-cli -p "$port" GET key:777)\"; visit number $(redis-cli -p "$port" INCR visits)"
  case $(redis-cli -p "$port" GET key:777),$(redis-cli -p "$port" GET visits),$after in
    "value 777,42,${before%% uptime*}"*) row Redis "$pid" ;;
    *) give_up Redis "$pid" "$images/restore.log" ;;
  esac
}

echo "criu-pmem demonstration: $("$engine" --version | tail -1)"
echo "Persistent memory is emulated by a directory in RAM: $home"
demo_top
demo_mariadb
demo_redis
title "Summary"
{ printf 'program\tpid\tsnapshot\tsaved in\trestored in\tgoes on\n'; cat "$table"; } | column -t -s "$(printf '\t')"
exit $failed
