#!/usr/bin/env bash
# Real clients and a real browser against two real nodes and a real Redis; then k6, and a short form
# of Autobahn. Prints a line for each part; stops at the first failure.
#
#   tests/real.sh            (tests/setup.sh installs what it needs)
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${TIDEGATE:-target/debug/tidegate}
python=target/test-tools/venv/bin/python
scratch=$(mktemp -d)
children=()
passed=0
skipped=0

finish() {
  status=$?
  for child in "${children[@]}"; do kill -9 "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if grep -h -A2 panicked "$scratch"/*.log 2>/dev/null; then status=1; fi
  if [ $status -ne 0 ]; then tail -n 20 "$scratch"/*.log; fi
  rm -rf "$scratch"
  echo "$passed passed, $([ $status -eq 0 ] && echo 0 || echo 1) failed, $skipped skipped"
  exit $status
}
trap finish EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
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

part() {
  echo "== $1"
  shift
  "$@"
  passed=$((passed + 1))
}

redis_port=$(free_port)
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" \
  >"$scratch/redis.log" 2>&1 &
children+=($!)
until_ok 10 redis-cli -p "$redis_port" ping

urls=()
for name in a b; do
  public=$(free_port) internal=$(free_port)
  "$binary" --set server.listen=127.0.0.1:"$public" --set internal.listen=127.0.0.1:"$internal" \
    --set broker.url=redis://127.0.0.1:"$redis_port" 2>"$scratch/node-$name.log" &
  children+=($!)
  until_ok 10 "$binary" health --ready --set internal.listen=127.0.0.1:"$internal"
  urls+=("127.0.0.1:$public")
done
a=http://${urls[0]} b=http://${urls[1]}

# The same fleet over TLS.
certificate=$scratch/certificate.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$scratch/key.pem" -out "$certificate" 2>/dev/null
encrypted=()
for name in c d; do
  public=$(free_port) internal=$(free_port)
  "$binary" --set server.listen=127.0.0.1:"$public" --set internal.listen=127.0.0.1:"$internal" \
    --set server.tls.cert="$certificate" --set server.tls.key="$scratch/key.pem" \
    --set broker.url=redis://127.0.0.1:"$redis_port" 2>"$scratch/node-$name.log" &
  children+=($!)
  until_ok 10 "$binary" health --ready --set internal.listen=127.0.0.1:"$internal"
  encrypted+=("https://localhost:$public")
done

part "Python websockets, two nodes" \
  "$python" tests/clients/python_websockets.py --node-a "$a" --node-b "$b" --redis-port "$redis_port"
part "Node ws, two nodes" \
  node tests/clients/node_ws.mjs --node-a "$a" --node-b "$b" --redis-port "$redis_port"
part "Python websockets, two nodes, TLS" env SSL_CERT_FILE="$certificate" \
  "$python" tests/clients/python_websockets.py --node-a "${encrypted[0]}" --node-b "${encrypted[1]}"
part "Node ws, two nodes, TLS" env NODE_EXTRA_CA_CERTS="$certificate" \
  node tests/clients/node_ws.mjs --node-a "${encrypted[0]}" --node-b "${encrypted[1]}"
part "the AI SDK's clients, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/ai/main.mjs
part "the Durable Streams protocol, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/streams/main.mjs
part "workers of runs in Python, Node and Go" env TIDEGATE="$(realpath "$binary")" node tests/ai/workers.mjs
part "MQTT's libraries, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/mqtt/main.mjs
part "Pusher's libraries and Laravel Echo, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/pusher/main.mjs
part "pusher-js in Chromium, two nodes" env TIDEGATE="$(realpath "$binary")" node tests/pusher/browser.mjs
part "Pusher's webhooks, two nodes" env TIDEGATE="$(realpath "$binary")" node tests/pusher/webhooks.mjs
part "npm eventsource as a Mercure client, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/mercure/main.mjs
part "STOMP's clients for JavaScript, Python and Spring, one node and two" env TIDEGATE="$(realpath "$binary")" node tests/stomp/main.mjs
part "examples/, two nodes" env TIDEGATE="$binary" tests/examples.sh
part "the TypeScript client: types and size" npm --prefix web/client run --silent lint
part "the TypeScript client against real nodes" env TIDEGATE="$(realpath "$binary")" npm --prefix web/client test --silent

# A node on its defaults, and two whose rules give the demo pages history.
demo_nodes=()
demo_rules=$("$binary" check | sed -n 's/^# \(rules = .*\)  # built in.*/\1/p')
for broker in memory: redis://127.0.0.1:"$redis_port" redis://127.0.0.1:"$redis_port"; do
  public=$(free_port) internal=$(free_port)
  settings=(--set server.listen=127.0.0.1:"$public" --set internal.listen=127.0.0.1:"$internal" --set broker.url="$broker")
  [ "$broker" = memory: ] || settings+=(--set broker.prefix=demo: --set "${demo_rules/ = /=}")
  "$binary" "${settings[@]}" 2>"$scratch/node-demo-$public.log" &
  children+=($!)
  until_ok 10 "$binary" health --ready --set internal.listen=127.0.0.1:"$internal"
  demo_nodes+=("http://127.0.0.1:$public")
done
part "the demo pages in Chromium" \
  node tests/browser/demo.mjs "${demo_nodes[@]}"
part "the devices page in Chromium, two nodes, with a node that is killed" env TIDEGATE="$(realpath "$binary")" node tests/browser/devices.mjs

# Two nodes with history and presence of chat:*.
rules='rules=[{pattern="chat:*",history={size=200,age="10m"},presence=true},{pattern="**"}]'
for name in f e; do
  other=${public-} public=$(free_port) internal=$(free_port)
  "$binary" --set server.listen=127.0.0.1:"$public" --set internal.listen=127.0.0.1:"$internal" \
    --set broker.url=redis://127.0.0.1:"$redis_port" --set broker.prefix=sse: --set "$rules" 2>"$scratch/node-$name.log" &
  children+=($!)
  until_ok 10 "$binary" health --ready --set internal.listen=127.0.0.1:"$internal"
done
part "EventSource in Chromium, two nodes" \
  node tests/browser/sse.mjs "http://127.0.0.1:$public" "http://127.0.0.1:$internal" "http://127.0.0.1:$other"

part "HTTP/2 in Chromium, with many streams and a WebSocket on one connection" \
  node tests/browser/http2.mjs "$binary"

part "fault proxy and audits of the seeded tests" node --test tests/browser/lib/*.test.mjs tests/browser/chaos/*.test.mjs tests/runs_chaos/*.test.mjs tests/mqtt_chaos/*.test.mjs
part "the client in Chromium, two nodes, with faults" env TIDEGATE="$(realpath "$binary")" node tests/browser/client.mjs chromium
echo "== the client in Firefox, two nodes, with faults"
status=0
TIDEGATE="$(realpath "$binary")" node tests/browser/client.mjs firefox || status=$?
case $status in
  0) passed=$((passed + 1)) ;;
  77) skipped=$((skipped + 1)) ;;
  *) exit 1 ;;
esac
part "the client in seeded faults, short" env TIDEGATE="$(realpath "$binary")" SEEDS="${CLIENT_SEEDS:-4}" PARALLEL=4 MILLISECONDS=2500 \
  node tests/browser/chaos/main.mjs websocket
part "the client in seeded faults, short, by the other transports" env TIDEGATE="$(realpath "$binary")" SEEDS="${CLIENT_SEEDS:-2}" PARALLEL=4 MILLISECONDS=2500 \
  node tests/browser/chaos/main.mjs sse poll changing

# The same seeds each time; `make runs-chaos` draws others.
part "runs with a hundred viewers in seeded faults, short" env TIDEGATE="$(realpath "$binary")" SEED="${RUN_SEED:-9030}" SEEDS="${RUN_SEEDS:-3}" PARALLEL=3 MILLISECONDS=2500 \
  node tests/runs_chaos/main.mjs

# The same seeds each time; `make mqtt-chaos` draws others.
part "MQTT and STOMP clients in seeded faults, short" env TIDEGATE="$(realpath "$binary")" SEED="${MQTT_SEED:-17}" SEEDS="${MQTT_SEEDS:-3}" PARALLEL=3 MILLISECONDS=2000 \
  node tests/mqtt_chaos/main.mjs

# A node that exits in the test, and one of its fleet that requires an API key.
api_key=0123456789abcdef0123456789abcdef
operated=()
for key in "" "--set=internal.api_key=$api_key"; do
  public=$(free_port) internal=$(free_port)
  "$binary" --set server.listen=127.0.0.1:"$public" --set internal.listen=127.0.0.1:"$internal" ${key:+"$key"} \
    --set broker.url=redis://127.0.0.1:"$redis_port" --set broker.prefix=operator: --set drain.delay=1s --set drain.period=2s \
    --set "$rules" 2>"$scratch/node-$public.log" &
  children+=($!)
  until_ok 10 "$binary" health --ready --set internal.listen=127.0.0.1:"$internal"
  operated+=("http://127.0.0.1:$public" "http://127.0.0.1:$internal")
done
part "the operator's page in Chromium" node tests/browser/operator.mjs "${operated[@]:0:2}" "${operated[3]}" "$api_key"

part "JavaScript of docs/CLIENTS.md in Chromium, with a node that is killed" \
  node tests/browser/clients.mjs "$binary" "redis://127.0.0.1:$redis_port"

part "code blocks of the documentation, the README's tour among them" env TIDEGATE="$binary" python3 tests/snippets/main.py

part "load tests: k6, rolling restart, seeded faults" env TIDEGATE="$binary" tests/load.sh

echo "== Autobahn, short"
status=0
tests/autobahn/run.sh --short "$binary" || status=$?
case $status in
  0) passed=$((passed + 1)) ;;
  77) skipped=$((skipped + 1)) ;;
  *) exit 1 ;;
esac
