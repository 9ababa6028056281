#!/usr/bin/env bash
# Writes the alerts of deploy/prometheus/alerts.yml into the PrometheusRule of k8s/components/prometheus-operator and into
# the Helm chart: neither kustomize nor Helm reads files from outside of its own folder. The links to runbooks, in the alerts, their
# tests, the chart's values and the Grafana dashboard, all begin with the one line of deploy/runbooks.
#
#   k8s/alerts.sh                     writes
#   k8s/alerts.sh --runbooks ADDRESS  puts where your docs/operating/runbooks.md can be read into deploy/runbooks, and writes
#   k8s/alerts.sh --check             only says whether they are as they would be written
set -euo pipefail
cd "$(dirname "$0")/.."

source=deploy/prometheus/alerts.yml
rule=k8s/components/prometheus-operator/prometheusrule.yaml
tests=deploy/prometheus/alerts_test.yml
chart=deploy/helm/tidegate/files/alerts.yml
values=deploy/helm/tidegate/values.yaml
dashboard=deploy/grafana/dashboard.py
setting=deploy/runbooks

rule_of() {
  cat <<EOF
# Written by k8s/alerts.sh from $source: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tidegate
  labels:
    app.kubernetes.io/name: tidegate
spec:
EOF
  sed 's/^\(.\)/  \1/' "$source"
}

# linked FILE ADDRESS: the file, with each link to a runbook beginning with the address.
linked() { sed "s|\(runbook_url: \)[^#]*#|\1$2#|" "$1"; }

linked_source() { linked "$source" "$(cat "$setting")"; }
linked_tests() { linked "$tests" "$(cat "$setting")"; }
# The chart puts its own value in its place.
chart_of() { linked "$source" docs/operating/runbooks.md; }
values_of() { sed "s|^\(  runbooks: \).*|\1$(cat "$setting")|" "$values"; }

# made: each file that is written here, and what makes it. Sources first.
made=("$source linked_source" "$tests linked_tests" "$rule rule_of" "$chart chart_of" "$values values_of")

write() {
  local pair file made_by text
  mkdir -p "$(dirname "$chart")"
  for pair in "${made[@]}"; do
    read -r file made_by <<<"$pair"
    text=$("$made_by" && echo .)
    printf %s "${text%.}" >"$file"
  done
  python3 "$dashboard"
}

case ${1:-} in
  '') write ;;
  --runbooks)
    [[ ${2:-} =~ ^https?://[^[:space:]\|\&\\#\"\']+$ ]] || { echo "k8s/alerts.sh: --runbooks takes an address, such as https://wiki.example.com/runbooks.md" >&2; exit 2; }
    echo "$2" >"$setting"
    write
    ;;
  --check)
    for pair in "${made[@]}"; do
      read -r file made_by <<<"$pair"
      "$made_by" | cmp -s - "$file" || { echo "$file is not what $source and $setting say: run k8s/alerts.sh" >&2; exit 1; }
    done
    python3 "$dashboard" --check
    ;;
  *)
    echo "usage: k8s/alerts.sh [--runbooks ADDRESS | --check]" >&2
    exit 2
    ;;
esac
