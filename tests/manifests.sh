#!/usr/bin/env bash
# Renders the Kubernetes manifests, the Helm chart and the Dockerfile, checks them against schemas and rules, and verifies
# the checks with seeded faults. It needs no cluster.
#
#   tests/manifests.sh                   (tests/setup.sh installs what it needs)
#   tests/manifests.sh MY/OVERLAY        checks your own kustomization, such as after a change of drain.period
set -euo pipefail
overlay=$(realpath -m "${1:-.}")
cd "$(dirname "$0")/.."

export TIDEGATE=${TIDEGATE:-target/debug/tidegate}
bin=target/test-tools/bin
venv=target/test-tools/venv/bin
chart=deploy/helm/tidegate
scratch=$(mktemp -d)
passed=0
skipped=0

finish() {
  status=$?
  rm -rf "$scratch"
  echo "$passed passed, $([ $status -eq 0 ] && echo 0 || echo 1) failed, $skipped skipped"
  exit $status
}
trap finish EXIT

part() {
  echo "== $1"
  shift
  "$@"
  passed=$((passed + 1))
}

skip() {
  echo "== $1: skipped, $2"
  skipped=$((skipped + 1))
}

# The installed binaries are for x86-64 Linux; on other systems it uses those on the PATH.
tool() {
  local candidate
  for candidate in "$bin/$1" "$(command -v "$1" || true)"; do
    if [ -n "$candidate" ] && "$candidate" version --client >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
}
kubectl=$(tool kubectl)
helm=$("$bin/helm" version >/dev/null 2>&1 && echo "$bin/helm" || command -v helm || true)

check() { "$venv/python" tests/manifests/check.py "$@"; }

render() { "$kubectl" kustomize "$2" >"$scratch/$1.yaml"; }

if [ $# -gt 0 ]; then
  [ -n "$kubectl" ] || { echo "kubectl is missing" >&2; exit 1; }
  render overlay "$overlay"
  part "$1" check "$scratch/overlay.yaml"
  exit
fi

template() {
  local name=$1
  shift
  "$helm" template tidegate "$chart" "$@" >"$scratch/$name.yaml"
}

# refuses TEXT COMMAND…: the command must fail and print the text.
refuses() {
  local text=$1
  shift
  if "$@" >/dev/null 2>"$scratch/refusal"; then
    echo "not refused: $*" >&2
    return 1
  fi
  grep -q "$text" "$scratch/refusal" || { cat "$scratch/refusal" >&2; return 1; }
}

chart_refuses() {
  refuses "'peroidSeconds' not allowed" template refused --set drain.peroidSeconds=30
  refuses "/config/drain" template refused --set config.drain.period=30s
  refuses "are the same" template refused --set ports.internal=8080
  refuses "more than maxReplicas" template refused --set autoscaling.minReplicas=40
  refuses "autoscaling has no metric" template refused --set autoscaling.enabled=true,autoscaling.connections=0,autoscaling.cpu=0
  refuses "pods are selected" template refused --set 'podLabels.app\.kubernetes\.io/name=web'
  refuses "/image/repository" template refused --set image.repository=tidegate@sha256:0
  refuses "the kubelet shows no certificate" template refused --set config.internal.tls.client_ca=ca.pem
  refuses "/env/0/name" template refused --set env[0].name=TIDEGATE__DRAIN__PERIOD,env[0].value=60s
  refuses "/image/tag" template refused --set image.tag=latest
  refuses "several nodes need Redis" template refused --set secrets.existingSecret=
  refuses "several nodes need Redis" template refused --set secrets.existingSecret=,env[0].name=RUST_BACKTRACE,env[0].value=1
}

custom_resources() { check --custom "$@" | node tests/manifests/custom_resources.mjs; }

if [ -n "$kubectl" ]; then
  render production k8s/overlays/production
  render dev k8s/overlays/dev
  render gateway tests/manifests/gateway
  part "kustomize: schemas, rules" check "$scratch"/{production,dev,gateway}.yaml
  part "custom resources: schemas, seeded faults" custom_resources "$scratch"/{production,gateway}.yaml
  render load load-tests
  part "the load tests' Job: schemas, and whether it reaches the nodes" check --load "$scratch"/{load,production,dev,gateway}.yaml
  part "seeded faults" check --faults "$scratch"/{production,gateway}.yaml
else
  skip kustomize "no kubectl runs on this machine"
fi

if [ -n "$helm" ]; then
  template helm
  template helm-dev -f "$chart/values-dev.yaml"
  template helm-production -f tests/manifests/production-values.yaml
  template helm-gateway -f tests/manifests/production-values.yaml --set ingress.enabled=false,gateway.enabled=true
  # Another release name, which is a number, and every value that is off or empty by default.
  "$helm" template 7 "$chart" -n elsewhere -f tests/manifests/all-values.yaml >"$scratch/helm-all.yaml"
  part "Helm: lint" "$helm" lint --quiet --strict "$chart" -f tests/manifests/production-values.yaml
  part "Helm: schemas, rules" check "$scratch"/helm*.yaml
  part "Helm: custom resources" custom_resources "$scratch"/helm-{production,gateway}.yaml
  part "Helm: invalid values are refused" chart_refuses
  if [ -n "$kubectl" ]; then
    part "Helm and kustomize render the same" check --same "$scratch"/{production,helm-production}.yaml
  fi
else
  skip Helm "no helm runs on this machine"
fi

empty_file() {
  : >"$scratch/empty.yaml"
  { check "$scratch/empty.yaml" || true; } | grep -q "there is no Deployment"
}
part "an empty file is a fault" empty_file

dockerfile() {
  "$venv/hadolint" --failure-threshold info deploy/Dockerfile
  # Verifies that hadolint detects a fault.
  if sed 's/^USER .*/USER root/' deploy/Dockerfile | "$venv/hadolint" --failure-threshold info - >/dev/null; then
    echo "hadolint does not find a root user" >&2
    return 1
  fi
}
part "Dockerfile" dockerfile

image_configuration() { "$TIDEGATE" check --config deploy/image/tidegate.toml --set auth.mode=none >/dev/null; }
part "the image's configuration" image_configuration

# In a copy of the repository: the rendered manifests, Prometheus' alerts and Grafana's dashboard contain the address.
runbooks() {
  local copy=$scratch/copy address=https://wiki.example.com/tidegate/runbooks.md alerts name
  mkdir "$copy"
  cp -r deploy k8s "$copy"
  "$copy/k8s/alerts.sh" --runbooks "$address"
  "$copy/k8s/alerts.sh" --check
  alerts=$(grep -c 'alert: ' "$copy/deploy/prometheus/alerts.yml")
  cp "$copy/deploy/prometheus/alerts.yml" "$scratch/linked-prometheus"
  [ -z "$kubectl" ] || "$kubectl" kustomize "$copy/k8s/overlays/production" >"$scratch/linked-kustomize"
  [ -z "$helm" ] || "$helm" template tidegate "$copy/$chart" --set prometheusRule.enabled=true >"$scratch/linked-helm"
  for name in "$scratch"/linked-*; do
    if [ "$(grep -c "runbook_url: $address#tidegate" "$name")" != "$alerts" ] || [ "$(grep -c runbook_url: "$name")" != "$alerts" ]; then
      echo "${name##*-}: not each of $alerts alerts links to $address" >&2
      return 1
    fi
  done
  grep -q "\"query\": \"$address\"" "$copy/deploy/grafana/dashboards/tidegate.json"
  refuses "takes an address" "$copy/k8s/alerts.sh" --runbooks docs/operating/runbooks.md
}

if [ -e deploy/prometheus/alerts.yml ]; then
  part "the alerts equal those of deploy/prometheus" k8s/alerts.sh --check
  part "one setting makes all links to runbooks absolute" runbooks
else
  skip alerts "there is no deploy/prometheus/alerts.yml"
fi
