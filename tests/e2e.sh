#!/usr/bin/env bash
# The end-to-end tests. They wait more than they work: those of promotion and of what people see run beside all others, each half on a LocalStack of
# its own; what they print comes last. With arguments, which are pytest's, or with a LocalStack that is given, all run one after
# another.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=tests
python="${PYTHON:-.venv/tools/bin/python}"
if [ $# -gt 0 ] || [ -n "${AWS_ENDPOINT_URL:-}" ]; then
  exec "$python" -m pytest tests/e2e "$@"
fi

promotion=(tests/e2e/test_promotion.py tests/e2e/test_hosting.py tests/e2e/test_{dashboard,docs,doctor,notify}.py)
log="$(mktemp)"
# In a process group of its own, so that it can be told to end, with all that it started, when this is interrupted.
set -m
"$python" -m pytest "${promotion[@]}" >"$log" 2>&1 &
beside=$!
trap 'kill -INT -- "-$beside" 2>/dev/null && wait "$beside" 2>/dev/null; rm -f "$log"' EXIT
code=0
"$python" -m pytest tests/e2e "${promotion[@]/#/--ignore=}" || code=$?
wait "$beside" || code=$?
cat "$log"
exit "$code"
