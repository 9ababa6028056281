#!/usr/bin/env bash
# Runs the scripts of load-tests/ for a few seconds each against real nodes and a real Redis, resume.js while the nodes are
# restarted one after the other; then against gateways with faults, which the scripts must detect. Prints a line for each part.
#
#   tests/load.sh            (tests/setup.sh installs what it needs)
#
# It measures nothing and has long timeouts, because other programs may use the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${TIDEGATE:-target/debug/tidegate}
k6=target/test-tools/venv/bin/k6
export K6_NO_USAGE_REPORT=true P95=20s P99=20s WARMUP=5s
scratch=$(mktemp -d)
children=()
CROSSED=99 # k6's exit code when a threshold is crossed

finish() {
  status=$?
  for child in "${children[@]}" $(cat "$scratch"/*.pid 2>/dev/null); do kill -9 "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if grep -h -A2 panicked "$scratch"/*.log 2>/dev/null; then status=1; fi
  if [ $status -ne 0 ]; then tail -n 20 "$scratch"/*.log 2>/dev/null || true; fi
  rm -rf "$scratch"
  exit $status
}
trap finish EXIT

# Below the ephemeral ports of clients, so that a restarted node finds its port free.
free_port() {
  python3 - <<'PYTHON'
import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) != 0:
            print(port)
            break
PYTHON
}

# until_ok SECONDS COMMAND…: repeats the command until it succeeds.
until_ok() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 0.05
  done
}

declare -A public internal

start_node() {
  local name=$1
  "$binary" --set server.listen=127.0.0.1:"${public[$name]}" --set internal.listen=127.0.0.1:"${internal[$name]}" \
    --set broker.url=redis://127.0.0.1:"$redis_port" --set session.queue_bytes_max=256KiB \
    --set drain.delay=0s --set drain.period=1s \
    --set 'rules=[{ pattern = "load-test:**", history = { size = 10000, age = "10m" } }, { pattern = "**" }]' \
    2>>"$scratch/node-$name.log" &
  echo $! >"$scratch/$name.pid"
  until_ok 20 "$binary" health --ready --set internal.listen=127.0.0.1:"${internal[$name]}"
}

# run NAME SCRIPT ARGUMENT…: k6 in the background; `expect` waits for it.
declare -A runs
run() {
  local name=$1 script=$2
  shift 2
  "$k6" run --quiet --address '' "$@" "load-tests/$script" >"$scratch/$name.out" 2>&1 &
  runs[$name]=$!
  children+=($!)
}

# expect CODE NAME [TEXT]: the run must have ended with this exit code and printed the text.
expect() {
  local expected=$1 name=$2 text=${3:-} code=0
  wait "${runs[$name]}" || code=$?
  if [ $code -ne "$expected" ]; then
    echo "$name: k6 exited with $code, expected $expected" >&2
    tail -n 40 "$scratch/$name.out" >&2
    return 1
  fi
  if [ -n "$text" ] && ! grep -q -- "$text" "$scratch/$name.out"; then
    echo "$name: k6 did not print: $text" >&2
    tail -n 40 "$scratch/$name.out" >&2
    return 1
  fi
  echo "   ok  $name"
}

echo "== the load tests' Job"
if command -v kubectl >/dev/null; then
  kubectl kustomize load-tests >"$scratch/job.yaml"
  # A script's import that is missing in the pods would otherwise fail only on a cluster.
  for file in load-tests/*.js load-tests/lib/*.js; do
    grep -q "^  ${file##*/}: " "$scratch/job.yaml" || { echo "$file is not in load-tests/kustomization.yaml" >&2; exit 1; }
  done
  grep -q "image: grafana/k6:$(sed 's/k6==//' load-tests/requirements.txt)\$" "$scratch/job.yaml" ||
    { echo "load-tests/job.yaml runs another version of k6 than this test" >&2; exit 1; }
  validate=target/test-tools/venv/bin/kubernetes-validate
  if [ -x $validate ]; then $validate --strict --quiet "$scratch/job.yaml"; else echo "   not validated: kubernetes-validate is missing"; fi
  echo "   ok  renders"
else
  echo "   skipped: kubectl is missing"
fi

redis_port=$(free_port)
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" >"$scratch/redis.log" 2>&1 &
children+=($!)
until_ok 10 redis-cli -p "$redis_port" ping

# All scripts use a and b; c and d are restarted; only soak.js uses e, because it checks the node's memory and connections.
for name in a b c d e; do
  public[$name]=$(free_port) internal[$name]=$(free_port)
  start_node $name
done
pair_ab=ws://127.0.0.1:${public[a]},ws://127.0.0.1:${public[b]}
pair_cd=ws://127.0.0.1:${public[c]},ws://127.0.0.1:${public[d]}

declare -A proxies
for fault in drop double swap drain; do
  proxies[$fault]=$(free_port)
  node tests/load/faulty_proxy.mjs $fault "${proxies[$fault]}" "ws://127.0.0.1:${public[a]}" >"$scratch/$fault.log" 2>&1 &
  children+=($!)
  until_ok 10 grep -q ready "$scratch/$fault.log"
done

echo "== k6, nodes restarted one after the other"
# Long, because the restarts must end before it does, and a node restarts slowly on a busy machine.
run "resume.js" resume.js -e URL="$pair_cd" -e DURATION=15s -e DROPS=0 -e RESUMES=1

run "fanout.js, plain" fanout.js -e URL="$pair_ab" -e CHANNEL=plain -e DURATION=4s
run "fanout.js, json" fanout.js -e URL="$pair_ab" -e CHANNEL=json -e DURATION=4s -e PROTOCOL=json
run "chat.js" chat.js -e URL="$pair_ab" -e DURATION=4s
run "connect-storm.js" connect-storm.js -e URL="$pair_ab" -e VUS=100 -e DURATION=8s -e READY_P95=20s
run "soak.js" soak.js -e URL="ws://127.0.0.1:${public[e]}" -e DURATION=6s -e CHURN=3s -e METRICS="http://127.0.0.1:${internal[e]}"

# Starts the restarts once the channel has history; restarts a node only after the previous one is ready again and has clients.
has_history() { [ "$(redis-cli -p "$redis_port" xlen tidegate:load-test:resume)" -ge 10 ]; }
until_ok 30 has_history
has_clients() {
  python3 -c "import urllib.request as r; print(r.urlopen('http://127.0.0.1:${internal[$1]}/metrics').read().decode())" |
    grep -E '^tidegate_connections\{.*json.* [1-9]'
}
for name in c d; do
  until_ok 20 has_clients $name
  kill -TERM "$(cat "$scratch/$name.pid")"
  until_ok 20 eval "! kill -0 $(cat "$scratch/$name.pid")"
  start_node $name
done
for name in "fanout.js, plain" "fanout.js, json" chat.js connect-storm.js soak.js; do expect 0 "$name"; done

echo "== k6, slow consumers; gateways with faults, which must be detected"
run "slow-consumers.js" slow-consumers.js -e URL="$pair_ab" -e WARMUP=3s -e DURATION=6s -e SIZE=40000 -e RATE=50 -e GRACE=20s

few=(-e VUS=3 -e DURATION=2s -e GRACE=1s -e WARMUP=2s)
run "drop" fanout.js "${few[@]}" -e URL="ws://127.0.0.1:${proxies[drop]}" -e CHANNEL=drop -e PROTOCOL=json
run "double" fanout.js "${few[@]}" -e URL="ws://127.0.0.1:${proxies[double]}" -e CHANNEL=double
run "swap" fanout.js "${few[@]}" -e URL="ws://127.0.0.1:${proxies[swap]}" -e CHANNEL=swap -e PROTOCOL=json
# Clients reconnect in time only if they use `after_ms`.
run "after_ms" resume.js "${few[@]}" -e URL="ws://127.0.0.1:${proxies[drain]}" -e CHANNEL=load-test:drain -e DROPS=0 -e RESUMES=2 \
  -e GRACE=5s -e BACKOFF=1h -e AWAY_MAX=5s
run "no history" resume.js "${few[@]}" -e URL="$pair_ab" -e CHANNEL=none
run "no gateway" chat.js "${few[@]}" -e URL="ws://127.0.0.1:1"
run "bad value" fanout.js -e VUS=many
run "no rate" fanout.js -e RATE=0
run "no time" fanout.js -e DURATION=0s

expect 0 "after_ms"
expect $CROSSED "drop" "FAILED:.*missing"
expect $CROSSED "double" "FAILED:.*duplicates"
expect $CROSSED "swap" "FAILED:.*out_of_order"
expect $CROSSED "no history" "keeps no history"
expect $CROSSED "no gateway" "complete  *0"
expect 107 "bad value" "VUS=many: expected a whole number from 1 on"
expect 107 "no rate" "RATE=0: expected a number from 0.001 on"
expect 107 "no time" "DURATION=0s: expected a duration of 1ms or more"
expect 0 "slow-consumers.js"
expect 0 "resume.js" "resumed  *[1-9]"
