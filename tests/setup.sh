#!/usr/bin/env bash
# Installs Python environments in .venv/, each from its hash-pinned lock file in tests/requirements/. Skips environments that are up to
# date. Arguments are names of environments. Default: those of the tests and the demo.
#
#   localstack  LocalStack in host mode; Python 3.13 exactly (its Lambda service fails on 3.11 and 3.12)
#   tools       boto3, moto, pytest: for the harness and the tests
#   rust        cargo-nextest
#   lint        cargo-deny, typos, zizmor, check-jsonschema
#   infra       cfn-lint and the SAM CLI
#   checkov     security checks of the template
#   permissions the IAM simulator of infra/check_permissions.py
#   build       cargo-lambda
#   aws         AWS CLI, for the commands of the documents
#   demo        scikit-learn, for the models of make demo-standalone and make demo-ab
#   pages       axe-core, which checks the accessibility of pages
#   sdk         SageMaker Python SDK, for tests/peers/sagemaker_sdk
#   bench-…     libraries that benches/analysis compares with: duckdb, polars, whylogs, evidently
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .venv

say() { printf '%s\n' "$*" >&2; }

# Succeeds if the Python runs and has at least that version: `runs python3 3.11`. A pyenv shim can exist and fail to run.
runs() { "$1" -c "import sys; sys.exit(sys.version_info[:2] < tuple(map(int, '$2'.split('.'))))" 2>/dev/null; }
is() { [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; }

base_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && runs "$candidate" 3.11; then echo "$candidate"; return; fi
  done
  say "error: no Python 3.11 or later found"
  say "hint: install Python 3.11 or later, then run the command again"
  exit 1
}

uv() {
  if [ ! -x .venv/uv/bin/uv ] || [ tests/requirements/uv.txt -nt .venv/uv/.made ]; then
    say "Installing uv, which installs the other environments …"
    rm -rf .venv/uv
    "$(base_python)" -m venv .venv/uv
    .venv/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements/uv.txt
    touch .venv/uv/.made
  fi
  .venv/uv/bin/uv "$@"
}

# Prints the path of a Python 3.13: an installed one, also of pyenv, otherwise one that uv downloads.
python313() {
  local candidate
  for candidate in python3.13 "$(uv python find --no-python-downloads 3.13 2>/dev/null || true)" \
      "$(pyenv prefix 3.13 2>/dev/null || true)/bin/python" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && is "$candidate" 3.13; then
      command -v "$candidate"
      return
    fi
  done
  say "Python 3.13 is not installed: uv downloads it …"
  if uv python install --quiet 3.13 && uv python find 3.13; then return; fi
  say "error: LocalStack requires Python 3.13, which is not installed, and uv failed to download it"
  say "hint: install Python 3.13, for example with \`pyenv install 3.13\`, then run the command again"
  exit 1
}

[ $# -gt 0 ] || set -- localstack tools

for name in "$@"; do
  lock="tests/requirements/$name.txt"
  [ -f "$lock" ] || { say "error: unknown environment \`$name\`: expected the name of a file in tests/requirements"; exit 2; }
  stamp=".venv/$name/.lock"
  if cmp --silent "$lock" "$stamp" 2>/dev/null; then continue; fi
  say "Installing the environment $name …"
  case "$name" in
    localstack | infra | checkov | permissions) python="$(python313)" ;;
    # whylogs requires NumPy 1, which has no wheels for later versions of Python.
    bench-whylogs) python=">=3.11,<3.13" ;;
    *) python="$(base_python)" ;;
  esac
  rm -rf ".venv/$name"
  uv venv --quiet --python "$python" ".venv/$name"
  uv pip sync --quiet --require-hashes --python ".venv/$name/bin/python" "$lock"
  cp "$lock" "$stamp"
done
