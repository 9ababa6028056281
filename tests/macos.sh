#!/usr/bin/env bash
# Type-checks and lints the library and the program for macOS, on any machine with Rust's library for that target. Nothing is
# linked or run, and no C is compiled: that needs Apple's SDK.
#
#   tests/macos.sh           (`make check-macos`)
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-apple-darwin

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
  echo "macOS: skipped, Rust's library for it is not installed (rustup target add $target)"
  exit 0
fi

# Cargo does not run the build script of a crate whose `links` key has a configuration. aws-lc-sys' own would choose the
# bindings by this cfg; the others need nothing to be type-checked.
overrides=$(cargo metadata --locked --format-version 1 --filter-platform "$target" | python3 -c '
import json, sys

crates = ("aws-lc-rs", "aws-lc-sys", "libmimalloc-sys")
links = {crate["name"]: crate["links"] for crate in json.load(sys.stdin)["packages"] if crate["links"]}
for name in crates:
    key = links[name]
    print(f"""target.{sys.argv[1]}.{key}.rustc-cfg=["aarch64_apple_darwin"]""")
' "$target")
mapfile -t overrides <<<"$overrides"

cargo clippy --quiet --locked --lib --bins --target "$target" "${overrides[@]/#/--config=}" -- -D warnings
echo "macOS: type-checked for $target, not run"
