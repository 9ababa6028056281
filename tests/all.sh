#!/usr/bin/env bash
# All tests, as CI runs them, with real nodes and a real Redis. Stops at the first stage that fails, and prints the time of
# each stage, with the processors' time that it used. Two stages run at the same time if one of them mostly waits and neither measures.
#
#   tests/all.sh             (`make test`)
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
declare -A beside=()

finish() {
  status=$?
  # Each background stage has its own process group.
  for pid in "${beside[@]}"; do kill -- -"$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  printf '\n%7s %7s  %s\n' seconds CPU stage
  cat "$scratch/times" 2>/dev/null || true
  printf '%7s %7s  %s\n' "$SECONDS" "" "$([ $status -eq 0 ] && echo "all stages" || echo "until a stage failed")"
  rm -rf "$scratch"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Sets `cpu` to the seconds of processor time that the ended children of this shell used, those of stages in the background among them.
# `times` tells of its own shell alone, so it runs in no subshell.
read_cpu() {
  local file=$scratch/cpu.$BASHPID
  times >"$file"
  cpu=$(awk 'NR == 2 { split($1, user, /[ms]/); split($2, kernel, /[ms]/); print int(60 * (user[1] + kernel[1]) + user[2] + kernel[2]) }' "$file")
}

# stage NAME COMMAND…: runs the command and records its time.
stage() {
  local name=$1 begun=$SECONDS cpu cpu_before
  shift
  echo "=== $name"
  read_cpu
  cpu_before=$cpu
  "$@"
  read_cpu
  printf '%7s %7s  %s\n' $((SECONDS - begun)) $((cpu - cpu_before)) "$name" >>"$scratch/times"
}

# begin NAME COMMAND…: the same in the background; `join NAME` prints its output.
begin() {
  set -m
  stage "$@" >"$scratch/$1.out" 2>&1 &
  beside[$1]=$!
  set +m
}

join() {
  local status=0
  wait "${beside[$1]}" || status=$?
  unset "beside[$1]"
  cat "$scratch/$1.out"
  [ $status -eq 0 ] || { echo "$1 failed" >&2; exit $status; }
}

# Compiling does not need the installed tools. The setup runs in the foreground, because it may ask for a password. One
# command compiles all suites, so that they share the cores.
web/demo/yjs/build.sh
begin compiling cargo test --workspace --no-run
stage setup tests/setup.sh
join compiling
stage unit make unit

# The behaviour tests and the real clients mostly wait, so more of them run at a time than there are cores. The lints have
# their own target directory, because cargo allows only one build at a time in each.
begin lint env CARGO_TARGET_DIR=target/lint nice make lint doc check-macos
begin manifests tests/manifests.sh
begin real tests/real.sh
stage behaviour cargo test --test behaviour -- --test-threads=4
join manifests
join lint
join real

# From here on each stage runs alone: the first three measure, and the random operations need both cores.
stage abuse cargo test --test abuse
stage stack tests/stack.sh
stage chaos env CHAOS=short cargo test --test chaos

stage "random operations" env SEEDS=12 PARALLEL=2 cargo test --test random_operations
stage rolling env ROLLING=short cargo test --test rolling
