#!/usr/bin/env bash
# Runs the Autobahn test suite, all cases except compression, against one node, to check conformance to RFC 6455.
#
#   tests/autobahn/run.sh [--short] BINARY
#
# --short skips the slow cases: long UTF-8 (6.5 and later), and large and many messages (9 and 10). BINARY is
# the node, such as target/release/tidegate. Exit code 0: all passed; 1: failed; 77: skipped, because Python 2.7,
# which the suite needs, is missing. PY2=/path/to/python2.7 selects it.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/autobahn
home=target/test-tools/autobahn
wstest=$home/python2.7/bin/wstest

main() {
  cases='"*"'
  if [ "${1:-}" = --short ]; then
    cases='"1.*", "2.*", "3.*", "4.*", "5.*", "6.1.*", "6.2.*", "6.3.*", "6.4.*", "7.*"'
    shift
  fi
  [ $# = 1 ] && [ -x "$1" ] || { echo "usage: $0 [--short] BINARY" >&2; exit 1; }

  install
  rm -rf "$home/reports"
  mkdir -p "$home/reports"
  start_node "$1"
  sed -e "s|@URL@|ws://127.0.0.1:$port/ws/autobahn|" -e "s|@REPORTS@|$home/reports|" -e "s|\"@CASES@\"|$cases|" \
    "$here/fuzzingclient.json" > "$home/fuzzingclient.json"
  "$wstest" -m fuzzingclient -s "$home/fuzzingclient.json" > "$home/wstest.log" 2>&1 ||
    { tail "$home/wstest.log" >&2; exit 1; }
  python3 "$here/summary.py" "$home/reports"

  # A panic ends one session, which the suite may not detect.
  if grep -A2 panicked "$home/node.log"; then exit 1; fi
}

install() {
  [ "$home/installed" -nt "$here/requirements.txt" ] && return
  local python2
  python2=$(find_python2) || {
    echo "skipped: the Autobahn test suite needs Python 2.7 (as from pyenv install 2.7.18; PY2=/path names it)"
    exit 77
  }
  echo "installing the Autobahn test suite into $home"
  rm -rf "$home"
  python3 -m venv "$home/python3"
  "$home/python3/bin/pip" install --quiet --disable-pip-version-check 'virtualenv<20.22' # later ones cannot make a Python 2.7
  "$home/python3/bin/virtualenv" --quiet --python "$python2" "$home/python2.7"
  "$home/python2.7/bin/pip" install --quiet --disable-pip-version-check --no-python-version-warning -r "$here/requirements.txt"
  touch "$home/installed"
}

# Runs the interpreter to test it, because pyenv's shim is on the PATH even without a version behind it.
find_python2() {
  local candidate
  for candidate in "${PY2:-}" python2.7 "$HOME"/.pyenv/versions/2.7*/bin/python; do
    candidate=$(command -v "${candidate:-/nowhere}") || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null && echo "$candidate" && return
  done
  return 1
}

# Starts the node on free ports, with limits for the largest cases (16 MiB, 9.*); sets `port`.
start_node() {
  local internal deadline=$((SECONDS + 10))
  read -r port internal < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')
  "$1" serve --set server.listen="127.0.0.1:$port" --set internal.listen="127.0.0.1:$internal" \
    --set session.message_bytes_max=32MiB --set session.queue_bytes_max=128MiB --set limits.publications_per_second=0 > "$home/node.log" 2>&1 &
  node=$!
  trap 'kill "$node" 2>/dev/null; wait "$node" || true' EXIT
  until "$1" health --set internal.listen="127.0.0.1:$internal" >/dev/null 2>&1; do
    kill -0 "$node" 2>/dev/null && [ $SECONDS -lt $deadline ] || { echo "the node does not start:" >&2; tail "$home/node.log" >&2; exit 1; }
    sleep 0.05
  done
}

main "$@"
