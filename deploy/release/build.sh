#!/usr/bin/env bash
# Builds a release of the last commit, in a clean clone of it, into target/dist:
#
#   tidegate-VERSION-ARCH-unknown-linux-musl.tar.gz   one static binary, with its licences, documents, configuration, manual
#                                                     pages and completions
#   tidegate-VERSION-ARCH-image.oci.tar               the container image, as an OCI archive
#   SHA256SUMS
#
#   deploy/release/build.sh [FOLDER]     (`make release`)
#
#   RELEASE_PROFILE=dev    builds quickly instead of well, to try the rest of this
#   IMAGE=no               leaves out the image, which needs podman
#
# The tarball's binary is static with musl, so it runs on any Linux. The image has glibc, as deploy/Dockerfile has; it is
# made without a builder's image, of this machine's compiler and libraries.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${RELEASE_PROFILE:-release}
arch=$(uname -m)
musl=$arch-unknown-linux-musl
gnu=$arch-unknown-linux-gnu
out=$(realpath -m "${1:-target/dist}")
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/release-build}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  printf 'deploy/release/build.sh: %s\n' "$*" >&2
  exit 1
}

[ -d "$(rustc --print sysroot)/lib/rustlib/$musl/lib" ] || fail "Rust's library for $musl is missing: rustup target add $musl"
command -v musl-gcc >/dev/null || fail "musl-gcc is missing, for aws-lc and mimalloc: apt-get install musl-tools"
[ "${IMAGE:-}" = no ] || command -v podman >/dev/null || fail "podman is missing; IMAGE=no leaves out the image"

[ -z "$(git status --porcelain)" ] || echo "what is not committed is not part of the release" >&2
git clone --quiet --no-hardlinks . "$scratch/tidegate"
cd "$scratch/tidegate"
version=$(deploy/release/version.sh)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
echo "tidegate $version, commit $(git rev-parse --short HEAD), $(rustc --version)"

# Backtraces keep names of functions, as in deploy/Dockerfile. No path of this machine is in a binary.
if [ "$profile" = release ]; then
  export CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo
  export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  export CFLAGS="-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo -ffile-prefix-map=$CARGO_TARGET_DIR=/target"
fi

# binary TARGET: builds for it, and prints the binary's path.
binary() {
  cargo build --quiet --locked --bin tidegate --profile "$profile" --target "$1"
  echo "$CARGO_TARGET_DIR/$1/${profile/#dev/debug}/tidegate"
}

# Sorted, owned by root and as old as the commit, so that the same files are the same archive.
archive() { tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu "$@"; }

mkdir -p "$out"
rm -f "$out"/tidegate-* "$out/SHA256SUMS"

name=tidegate-$version-$musl
package=$scratch/$name
static=$(binary "$musl")
install -D -m 0755 "$static" "$package/tidegate"
python3 deploy/release/third_party.py "$musl" >"$package/THIRD-PARTY-LICENSES"
install -m 0644 LICENSE-* README.md CHANGELOG.md "$package"
install -D -m 0644 -t "$package/config" config/*.toml
mkdir -p "$package"/{man/man1,completions}
"$static" man >"$package/man/man1/tidegate.1"
for command in $("$static" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p' | grep -vx help); do
  "$static" man "$command" >"$package/man/man1/tidegate-$command.1"
done
"$static" completion bash >"$package/completions/tidegate.bash"
"$static" completion zsh >"$package/completions/_tidegate"
"$static" completion fish >"$package/completions/tidegate.fish"
archive -C "$scratch" -cf - "$name" | gzip -n -9 >"$out/$name.tar.gz"

if [ "${IMAGE:-}" != no ]; then
  root=$scratch/image/root
  mkdir -p "$root"
  install -D -m 0755 "$(binary "$gnu")" "$root/usr/local/bin/tidegate"
  install -D -m 0644 deploy/image/tidegate.toml "$root/etc/tidegate/tidegate.toml"
  install -D -m 0644 -t "$root/usr/share/licenses/tidegate" LICENSE-* "$package/THIRD-PARTY-LICENSES"
  sh deploy/image/rootfs.sh scratch "$root"
  # What the Dockerfile makes of its last stage, without the one that compiles.
  {
    echo "FROM scratch"
    sed '1,/^FROM \${RUNTIME_IMAGE}/d; s|^COPY --from=build /out/ /$|COPY root/ /|' deploy/Dockerfile
  } >"$scratch/image/Dockerfile"
  store=(podman --root "$scratch/podman/root" --runroot "$scratch/podman/run")
  "${store[@]}" build --quiet --pull=never --format oci --timestamp "$SOURCE_DATE_EPOCH" --tag "tidegate:$version" \
    --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD)" "$scratch/image" >/dev/null
  "${store[@]}" save --quiet --format oci-archive --output "$out/tidegate-$version-$arch-image.oci.tar" "tidegate:$version"
  # Files of other users, where a store is not root's.
  podman unshare rm -rf "$scratch/podman" 2>/dev/null || true
fi

cd "$out"
sha256sum tidegate-* >SHA256SUMS
cat SHA256SUMS
