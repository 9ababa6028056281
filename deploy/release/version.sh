#!/usr/bin/env bash
# Prints the version, or fails where a file has another one.
#
#   deploy/release/version.sh [NEW]     writes NEW into all of them first
set -euo pipefail
cd "$(dirname "$0")/../.."

# place PATTERN FILE: PATTERN is what stands before the version there.
places() {
  cat <<'END'
^version = " Cargo.toml
^ARG VERSION= deploy/Dockerfile
TIDEGATE_IMAGE:-tidegate: deploy/compose.yaml
`TIDEGATE_IMAGE` | `tidegate: deploy/README.md
^version: deploy/helm/tidegate/Chart.yaml
^appVersion: " deploy/helm/tidegate/Chart.yaml
newTag: k8s/base/kustomization.yaml
newTag: k8s/README.md
build.sh tidegate: k8s/README.md
load docker-image tidegate: k8s/README.md
AUTH__MODE=none tidegate: docs/operating/containers.md
^  "version": " web/client/package.json
END
}

# The lock file of the client has its version twice, each behind its name.
lock=web/client/package-lock.json

version='[0-9]\+\.[0-9]\+\.[0-9]\+\(-[0-9A-Za-z.]\+\)\?'

if [ $# -gt 0 ]; then
  grep -qx "$version" <<<"$1" || { echo "version.sh: $1 is no version, such as 1.2.0 or 1.2.0-rc.1" >&2; exit 2; }
  places | while read -r line; do
    sed -i "s/\(${line% *} \?\)$version/\1$1/" "${line##* }"
  done
  sed -i "/\"name\": \"tidegate\"/{n;s/$version/$1/}" "$lock"
  cargo update --quiet --offline --package tidegate
  cargo update --quiet --offline --package tidegate --manifest-path fuzz/Cargo.toml
fi

expected=$(sed -n "s/^version = \"\($version\)\"/\1/p" Cargo.toml | head -n 1)
places | while read -r line; do
  grep -q "${line% *} \?${expected//./\\.}" "${line##* }" || { echo "version.sh: ${line##* } has another version than $expected" >&2; exit 1; }
done
[ "$(grep -A1 '"name": "tidegate"' "$lock" | grep -cF "\"version\": \"$expected\"")" = 2 ] || { echo "version.sh: $lock has another version than $expected" >&2; exit 1; }
echo "$expected"
