#!/usr/bin/env bash
# Writes the alerts of deploy/prometheus/alerts.yml into the PrometheusRule of k8s/components/prometheus-operator and into
# the Helm chart: neither kustomize nor Helm reads files from outside of its own folder.
#
#   k8s/alerts.sh            writes
#   k8s/alerts.sh --check    only says whether they are as they would be written
set -euo pipefail
cd "$(dirname "$0")/.."

source=deploy/prometheus/alerts.yml
rule=k8s/components/prometheus-operator/prometheusrule.yaml
chart=deploy/helm/tidegate/files/alerts.yml

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

case ${1:-} in
  '')
    mkdir -p "$(dirname "$chart")"
    rule_of >"$rule"
    cp "$source" "$chart"
    ;;
  --check)
    for pair in "$rule rule_of" "$chart cat"; do
      read -r file made_by <<<"$pair"
      "$made_by" "$source" | cmp -s - "$file" || { echo "$file is not what $source says: run k8s/alerts.sh" >&2; exit 1; }
    done
    ;;
  *)
    echo "usage: k8s/alerts.sh [--check]" >&2
    exit 2
    ;;
esac
