#!/usr/bin/env bash
# Builds the image with docker, podman or buildah: the first that is installed and works.
#
#   deploy/build.sh [NAME:TAG] [-- more flags of the builder]
#
#   BUILDER=podman             uses that builder
#   RUST_IMAGE, RUNTIME_IMAGE  other base images, of a mirror or of this machine (see deploy/Dockerfile)
#   CARGO_BUILD_JOBS=1         uses less of the machine
#
# deploy/build.sh tidegate:test -- --pull=never --network=host
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

name=tidegate:$version
if [ $# -gt 0 ] && [ "$1" != -- ]; then
  name=$1
  shift
fi
if [ $# -gt 0 ]; then
  [ "$1" = -- ] || { echo "deploy/build.sh: flags of the builder come behind --" >&2; exit 2; }
  shift
fi

# The docker client alone cannot build: it needs its daemon.
builds() {
  case $1 in
    docker) docker info --format '{{.ServerVersion}}' >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

builder=${BUILDER:-}
for candidate in docker podman buildah; do
  if [ -z "$builder" ] && builds "$candidate"; then builder=$candidate; fi
done
[ -n "$builder" ] || { echo "deploy/build.sh: neither docker (with its daemon) nor podman nor buildah is here" >&2; exit 1; }

flags=(--file deploy/Dockerfile --tag "$name" --build-arg VERSION="$version" --build-arg REVISION="$revision")
for variable in RUST_IMAGE RUNTIME_IMAGE CARGO_BUILD_JOBS; do
  if [ -n "${!variable:-}" ]; then flags+=(--build-arg "$variable=${!variable}"); fi
done
# OCI's own format has no health check.
if [ "$builder" != docker ]; then flags+=(--format docker); fi

echo "building $name with $builder"
DOCKER_BUILDKIT=1 "$builder" build "${flags[@]}" "$@" .
