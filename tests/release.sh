#!/usr/bin/env bash
# Makes a release of the last commit with an unoptimized binary, and tries what is in it: about four minutes where
# nothing is compiled yet.
#
#   tests/release.sh         (`make release-check`)
#   RELEASE=FOLDER           tries the release in this folder, such as target/dist, and builds none
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
podman=(podman --root "$scratch/podman/root" --runroot "$scratch/podman/run")
container=tidegate-release-$$

finish() {
  status=$?
  if [ -e "$scratch/podman" ]; then
    if [ $status -ne 0 ]; then "${podman[@]}" logs "$container" || true; fi
    "${podman[@]}" rm --force --time 0 "$container" >/dev/null 2>&1 || true
    podman unshare rm -rf "$scratch/podman" 2>/dev/null || true
  fi
  rm -rf "$scratch"
  exit $status
}
trap finish EXIT

fail() {
  echo "$*" >&2
  exit 1
}

# crun 1.8 does not run where both versions of control groups are mounted, and podman asks for more files than some hosts
# allow.
cat >"$scratch/containers.conf" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
$(if command -v runc >/dev/null; then echo 'runtime = "runc"'; fi)
END
export CONTAINERS_CONF=${CONTAINERS_CONF:-$scratch/containers.conf}

image=yes
command -v podman >/dev/null || image=no
release=${RELEASE:-}
if [ -z "$release" ]; then
  release=$scratch/dist
  IMAGE=$image RELEASE_PROFILE=dev deploy/release/build.sh "$release"
fi
version=$(deploy/release/version.sh)

echo "== checksums"
(cd "$release" && sha256sum --quiet --check SHA256SUMS)

echo "== the tarball"
mkdir "$scratch/package"
tar -xzf "$release"/tidegate-"$version"-*-musl.tar.gz -C "$scratch/package" --strip-components 1
cd "$scratch/package"
for file in LICENSE-{MIT,APACHE} THIRD-PARTY-LICENSES README.md CHANGELOG.md config/{default,production}.toml \
  man/man1/tidegate{,-serve,-publish}.1 completions/{_tidegate,tidegate.bash,tidegate.fish}; do
  [ -s "$file" ] || fail "the tarball has no $file"
done
[ "$(./tidegate --version)" = "tidegate $version" ] || fail "the tarball's binary is another version"
./tidegate check --config config/default.toml >/dev/null
if ldd ./tidegate 2>&1 | grep -q '=>'; then fail "the tarball's binary is not static"; fi
if [ -n "${RELEASE:-}" ] && grep -qaF "$HOME/" ./tidegate; then fail "the tarball's binary has a path of this machine"; fi
bash -n completions/tidegate.bash
cd - >/dev/null

if [ $image = no ]; then
  echo "== the image: skipped, podman is missing"
  exit 0
fi

echo "== the image, read-only and without capabilities"
"${podman[@]}" load --quiet --input "$release"/tidegate-"$version"-*-image.oci.tar >/dev/null
"${podman[@]}" run --detach --name "$container" --pull=never --read-only --cap-drop=ALL --network=none \
  --env TIDEGATE__AUTH__MODE=none "localhost/tidegate:$version" >/dev/null
for _ in $(seq 100); do
  healthy=0
  "${podman[@]}" exec "$container" /usr/local/bin/tidegate health --ready --config /etc/tidegate/tidegate.toml >/dev/null && break
  healthy=1
  sleep 0.1
done
[ $healthy = 0 ] || fail "the node in the container did not become ready"
"${podman[@]}" stop --time 20 "$container" >/dev/null
[ "$("${podman[@]}" inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] || fail "the node did not stop by itself"
