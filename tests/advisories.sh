#!/usr/bin/env bash
# Checks the dependencies for known vulnerabilities and withdrawn releases.
#
#   tests/advisories.sh            skips the check if the advisory database cannot be reached
#   tests/advisories.sh --strict   fails in that case: for the workflows
#
# Only an unreachable database skips the check. An advisory, an outdated exception, or an invalid deny.toml fails it.
set -euo pipefail
cd "$(dirname "$0")/.."
database="https://github.com/RustSec/advisory-db"

case "${1:-}" in
  "") strict= ;;
  --strict) strict=1 ;;
  *) echo "error: unknown argument \`$1\`: expected --strict or nothing" >&2; exit 2 ;;
esac

# A stalled connection counts as unreachable after 20 seconds.
if ! reason="$(GIT_TERMINAL_PROMPT=0 git -c http.lowSpeedLimit=1 -c http.lowSpeedTime=20 ls-remote "$database" HEAD 2>&1 >/dev/null)"; then
  if [ -n "$strict" ]; then
    printf 'error: failed to reach the advisory database %s: %s\n' "$database" "$reason" >&2
    exit 1
  fi
  printf 'skipped: known vulnerabilities were not checked, because %s cannot be reached\n' "$database" >&2
  exit 0
fi
PATH="$PWD/.venv/lint/bin:$PATH" cargo deny --locked check --hide-inclusion-graph advisories
