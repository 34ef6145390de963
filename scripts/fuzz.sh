#!/usr/bin/env bash
# Runs every fuzz target for so many seconds, beginning with what is kept of it in fuzz/corpus. What it finds new is kept
# outside of the repository, from run to run; an input that fails is named and fails the run.
#
#   scripts/fuzz.sh SECONDS [TARGET...]
#
# Not with cargo-fuzz: its address sanitizer needs a nightly toolchain, and there is no unsafe code here to look after.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?how many seconds for each target}
shift
found="${XDG_CACHE_HOME:-$HOME/.cache}/websocket-service/fuzz"
target="${CARGO_TARGET_DIR:-fuzz/target}/fuzz"

# Coverage that libFuzzer can follow, as a stable compiler gives it; checks of overflows and of debug builds.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts and macros go without.
cargo build --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$target"

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | tail -n +2)
for name in "${names[@]}"; do
    mkdir -p "$found/$name" "fuzz/corpus/$name" "$found/failed"
    echo "== fuzz $name"
    "$target/$host/release/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$found/failed/$name-" "$found/$name" "fuzz/corpus/$name" 2>"$found/$name.log" || {
        tail -n 60 "$found/$name.log" >&2
        exit 1
    }
    grep -E 'number_of_executed_units|new_units_added|cov: ' "$found/$name.log" | tail -n 3
done
