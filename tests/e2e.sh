#!/usr/bin/env bash
# The end-to-end tests, by several workers, each with its own LocalStack: the tests wait more than they work. WORKERS=n sets how many.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=tests
# A LocalStack that is given has one user at a time.
[ -z "${AWS_ENDPOINT_URL:-}" ] || WORKERS=0
exec "${PYTHON:-.venv/tools/bin/python}" -m pytest tests/e2e --numprocesses "${WORKERS:-3}" --dist loadscope --durations 20 "$@"
