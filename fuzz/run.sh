#!/usr/bin/env bash
# Runs one fuzz target with its seeds, or lists the targets as JSON.
#
#   fuzz/run.sh TARGET SECONDS
#   fuzz/run.sh --list
#
# Requires a nightly toolchain and cargo-fuzz. The corpus stays in fuzz/corpus, failing inputs in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --list ]; then
  targets=(fuzz/fuzz_targets/*.rs)
  targets=("${targets[@]##*/}")
  printf '["%s"' "${targets[0]%.rs}"
  printf ',"%s"' "${targets[@]:1}" | sed 's/\.rs"/"/g'
  printf ']\n'
  exit 0
fi

target="${1:?usage: fuzz/run.sh TARGET SECONDS}"
seconds="${2:?usage: fuzz/run.sh TARGET SECONDS}"
[ -f "fuzz/fuzz_targets/$target.rs" ] || { echo "error: unknown fuzz target \`$target\`" >&2; exit 2; }

fixtures=crates/model-monitor/tests/fixtures
case "$target" in
  violations) seeds=("$fixtures/violations" "$fixtures/broken") ;;
  policy) seeds=(fuzz/corpus/policy-seeds) && mkdir -p "${seeds[0]}" && cp infra/policy.toml "${seeds[0]}" ;;
  *) if [ -d "$fixtures/$target" ]; then seeds=("$fixtures/$target"); else seeds=(); fi ;;
esac
mkdir -p "fuzz/corpus/$target"
cargo +nightly fuzz run "$target" "fuzz/corpus/$target" ${seeds[@]+"${seeds[@]}"} -- -max_total_time="$seconds" -timeout=30
