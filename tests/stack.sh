#!/usr/bin/env bash
# Three real nodes and a real Redis behind HAProxy, nginx and Envoy, monitored by Prometheus, all with the configuration files of
# deploy/: balancers, drains and crashes, alerts with their runbooks, the dashboard's queries, compose.yaml.
#
#   tests/stack.sh           (tests/setup.sh installs what it needs; TIDEGATE=/path selects another binary)
#   PENDING="name…"          skips checks of these metrics, label values or settings, for a binary without them
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)

finish() {
  status=$?
  if grep -h -A2 panicked "$scratch"/node-*.log 2>/dev/null; then status=1; fi
  if [ $status -ne 0 ]; then tail -n 15 "$scratch"/*.log; fi
  rm -rf "$scratch"
  exit $status
}
trap finish EXIT

timeout 180 target/test-tools/venv/bin/python tests/stack/main.py "$scratch"
