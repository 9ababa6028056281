#!/usr/bin/env bash
# Runs each program of examples/ with two nodes and a Redis, and checks its output.
#
#   tests/examples.sh        (tests/setup.sh installs what it needs; TIDEGATE=/path selects another binary)
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${TIDEGATE:-target/debug/tidegate}")
python=target/test-tools/venv/bin/python
scratch=$(mktemp -d)
declare -A children=()
names=()

finish() {
  status=$?
  for child in "${children[@]}"; do kill -9 "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ $status -ne 0 ]; then tail -n 20 "$scratch"/*.out "$scratch"/*.log; fi
  rm -rf "$scratch"
  exit $status
}
trap finish EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until_ok COMMAND…: repeats the command until it succeeds, for at most 20 s.
until_ok() {
  local deadline=$((SECONDS + 20))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 0.05
  done
}

# start NAME COMMAND…: runs it in the background, with its output in NAME.out. Without `<&0` its input would be /dev/null.
start() {
  local name=$1
  shift
  "$@" <&0 >"$scratch/$name.out" 2>&1 &
  children[$name]=$!
}

stop() {
  kill "${children[$1]}"
  wait "${children[$1]}" 2>/dev/null || true
  unset "children[$1]"
}

# prints NAME LINE: waits until the program has printed this line.
prints() { until_ok grep -qxF -- "$2" "$scratch/$1.out"; }

# start_node NAME: starts the node; after a stop, on the same ports.
declare -A ports=()
start_node() {
  : "${ports[$1]:=$(free_port)}" "${ports[$1-internal]:=$(free_port)}"
  "$binary" --config examples/tidegate.toml --set broker.url="$redis" \
    --set drain.delay=0s --set drain.period=1s --set server.listen=127.0.0.1:"${ports[$1]}" \
    --set internal.listen=127.0.0.1:"${ports[$1-internal]}" 2>>"$scratch/node-$1.log" &
  children[$1]=$!
  until_ok "$binary" health --ready --set internal.listen=127.0.0.1:"${ports[$1-internal]}"
}

example() {
  echo "== examples/$1"
  names+=("$1")
}

redis_port=$(free_port)
redis=redis://127.0.0.1:$redis_port
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" >"$scratch/redis.log" 2>&1 &
children[redis]=$!
until_ok redis-cli -p "$redis_port" ping
start_node a
start_node b
a=127.0.0.1:${ports[a]} b=127.0.0.1:${ports[b]}
publish() { "$python" examples/publish.py; }
export REDIS=$redis API=http://127.0.0.1:${ports[a-internal]}

example chat.mjs
mkfifo "$scratch/keys" "$scratch/no-keys"
# Open for reading and writing, so that opening does not wait for the other end.
exec 3<>"$scratch/keys" 4<>"$scratch/no-keys"
TIDEGATE=ws://$b start listener node examples/chat.mjs harbour bob <&4 3>&-
prints listener "connected to chat:harbour"
TIDEGATE=ws://$a start speaker node examples/chat.mjs harbour ada <"$scratch/keys" 3>&-
prints speaker "connected to chat:harbour"
echo "high water" >&3
prints listener "ada: high water"
prints speaker "ada: high water"
exec 3>&-
prints speaker "closed: 1005 "
stop listener

example resume.mjs
TIDEGATE=ws://$b start resume node examples/resume.mjs news
until_ok grep -q '^subscribed at ' "$scratch/resume.out"
example events.py
TIDEGATE=http://$b start events "$python" examples/events.py news
until_ok sh -c "curl -s http://127.0.0.1:${ports[b-internal]}/metrics | grep -q 'tidegate_subscriptions 2'"

example publish.py
start publish publish
until_ok grep -q '^published at .* changed nothing: True$' "$scratch/publish.out"
for reader in resume events; do
  prints $reader 'the tide is in'
done
prints events '{"level": 3.4}'
prints events '{"level": 3.2}'
prints resume '{ level: 3.4 }'

# A publication while the node of the readers is down.
stop b
until_ok grep -q '^closed: ' "$scratch/resume.out"
curl -sf -o /dev/null -d '{"level": 2.9}' "$API/api/publish/news"
start_node b
prints resume '{ level: 2.9 }'
prints events '{"level": 2.9}'
for reader in resume events; do
  [ "$(grep -c '2\.9' "$scratch/$reader.out")" = 1 ] || { echo "$reader printed a publication twice"; exit 1; }
done
if grep -q reloading "$scratch/resume.out"; then echo "resume.mjs missed something"; exit 1; fi

example token_backend.py
backend_port=$(free_port)
start backend "$python" examples/token_backend.py "$backend_port"
prints backend "http://127.0.0.1:$backend_port/token"
example inbox.mjs
TIDEGATE=ws://$a BACKEND=http://127.0.0.1:$backend_port start inbox node examples/inbox.mjs ada
prints inbox "reading inbox:ada"
curl -sf -o /dev/null -d 'your ship is in' "http://127.0.0.1:${ports[b-internal]}/api/publish/inbox:ada"
prints inbox "your ship is in"

# The demo's node: in memory, with its built-in rules.
example assistant.mjs
demo=$(free_port) demo_internal=$(free_port)
"$binary" --set server.listen=127.0.0.1:"$demo" --set internal.listen=127.0.0.1:"$demo_internal" 2>>"$scratch/node-demo.log" &
children[node-demo]=$!
until_ok "$binary" health --ready --set internal.listen=127.0.0.1:"$demo_internal"
start assistant node examples/assistant.mjs http://127.0.0.1:"$demo"
prints assistant "waiting for questions"
ended() { curl -sf "http://127.0.0.1:$demo/history/demo:run:one" | grep -F '"ended":"done"' >"$scratch/answer"; }
asked() { curl -sf -o /dev/null -d '{"run":"one","text":"Low tide?"}' "http://127.0.0.1:$demo/publish/demo:assistant"; }
asked
until_ok ended
grep -qF 'Low ' "$scratch/answer" || { echo "the answer does not quote the question"; cat "$scratch/answer"; exit 1; }

for file in examples/*.{mjs,py}; do
  [[ " ${names[*]} " = *" ${file#examples/} "* ]] || { echo "$file is not run here"; exit 1; }
done
