#!/usr/bin/env bash
# Fuzzes one target after another, each with a bound, and stops at the first finding.
#
#   fuzz/run.sh [TARGET…]
#
# At most FUZZ_RUNS (10,000,000) executions a target, and FUZZ_SECONDS (no bound) of time. The corpus is in
# target/fuzz/corpus and is reused; findings are in target/fuzz/artifacts, and the last lines show how to
# repeat one. Exit code 0: no finding; 77: skipped, because cargo-fuzz is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# libFuzzer needs coverage instrumentation, which stable Rust allows only with this variable.
export RUSTC_BOOTSTRAP=1

# No sanitizer: there is no unsafe code (`forbid(unsafe_code)`), and without it fuzzing is ten times as fast.
build=(--sanitizer none)

cargo fuzz --version >/dev/null 2>&1 || {
  echo "skipped: cargo-fuzz is not installed (cargo install --locked cargo-fuzz)"
  exit 77
}

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)

for target in "${targets[@]}"; do
  corpus=target/fuzz/corpus/$target artifacts=target/fuzz/artifacts/$target
  mkdir -p "$corpus" "$artifacts"
  echo "== $target"
  nice cargo fuzz run "${build[@]}" "$target" "$corpus" "fuzz/seeds/$target" -- \
    -dict="fuzz/dictionaries/$target" -artifact_prefix="$artifacts/" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
    -runs="${FUZZ_RUNS:-10000000}" -max_total_time="${FUZZ_SECONDS:-0}" -print_final_stats=1 -verbosity=0
done
