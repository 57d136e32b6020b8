#!/usr/bin/env bash
# Runs the end-to-end tests in several workers, each with its own LocalStack, because the tests mostly wait. WORKERS=N sets the number
# of workers. Arguments are passed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=tests
# An existing LocalStack has one user at a time.
[ -z "${AWS_ENDPOINT_URL:-}" ] || WORKERS=0
exec "${PYTHON:-.venv/tools/bin/python}" -m pytest tests/e2e --numprocesses "${WORKERS:-3}" --dist loadscope --durations 20 "$@"
