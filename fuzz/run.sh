#!/usr/bin/env bash
# Fuzzes one target after another, each bounded, and stops at the first finding.
#
#   fuzz/run.sh [TARGET…]
#
# FUZZ_RUNS (10,000,000) executions a target at most, and FUZZ_SECONDS (no bound) of time. What it learns lies
# in target/fuzz/corpus and is used again; a finding lies in target/fuzz/artifacts, and the last lines say how
# to repeat it. Exit code 0: no finding; 77: skipped, as cargo-fuzz is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# libFuzzer wants the compiler to count what is reached, which stable Rust keeps behind this.
export RUSTC_BOOTSTRAP=1

# There is no unsafe code to sanitize (`forbid(unsafe_code)`), and without it ten times as many runs fit.
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
