#!/usr/bin/env bash
# Makes the Python environments in .venv/, each from its hash-pinned lock file in tests/requirements/, and does nothing
# for those that are up to date. Arguments name the environments; without any: those of the tests and the demo.
#
#   localstack  LocalStack in host mode; Python 3.13 exactly (its Lambda service fails on 3.11 and 3.12)
#   tools       boto3, moto, pytest: what the harness and the tests are written with
#   rust        cargo-nextest
#   lint        cargo-deny, typos, zizmor, check-jsonschema
#   infra       cfn-lint and the SAM CLI
#   checkov     checks of the template's security
#   permissions the IAM simulator that infra/check_permissions.py asks
#   build       cargo-lambda
#   aws         the AWS CLI, for the commands of the documents
#   demo        scikit-learn: the model that make demo-standalone trains and serves
#   pages       axe-core, which looks at the accessibility of pages
#   sdk         the SageMaker Python SDK, for tests/peers/sagemaker_sdk
#   bench-…     what benches/analysis measures Driftwarden beside: duckdb, polars, whylogs, evidently
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .venv

say() { printf '%s\n' "$*" >&2; }

# A Python that runs and is of that version, e.g. `runs python3 3.11`: a shim may exist that refuses to run.
runs() { "$1" -c "import sys; sys.exit(sys.version_info[:2] < tuple(map(int, '$2'.split('.'))))" 2>/dev/null; }
is() { [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; }

base_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && runs "$candidate" 3.11; then echo "$candidate"; return; fi
  done
  say "Python 3.11 or later is needed, and none was found: install one, then try again."
  exit 1
}

uv() {
  if [ ! -x .venv/uv/bin/uv ] || [ tests/requirements/uv.txt -nt .venv/uv/.made ]; then
    say "Installing uv (makes the other environments) …"
    rm -rf .venv/uv
    "$(base_python)" -m venv .venv/uv
    .venv/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements/uv.txt
    touch .venv/uv/.made
  fi
  .venv/uv/bin/uv "$@"
}

# Python 3.13: one that is installed, however it is hidden, else one that uv brings.
python313() {
  local candidate
  for candidate in python3.13 "$(uv python find --no-python-downloads 3.13 2>/dev/null || true)" \
      "$(pyenv prefix 3.13 2>/dev/null || true)/bin/python" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && is "$candidate" 3.13; then
      command -v "$candidate"
      return
    fi
  done
  say "No Python 3.13 is installed: asking uv for one …"
  if uv python install --quiet 3.13 && uv python find 3.13; then return; fi
  say "LocalStack needs Python 3.13 exactly, none is installed, and uv could not bring one."
  say "Install Python 3.13 (for instance with pyenv: pyenv install 3.13), then try again."
  exit 1
}

[ $# -gt 0 ] || set -- localstack tools

for name in "$@"; do
  lock="tests/requirements/$name.txt"
  [ -f "$lock" ] || { say "There is no environment '$name': see tests/requirements."; exit 2; }
  stamp=".venv/$name/.lock"
  if cmp --silent "$lock" "$stamp" 2>/dev/null; then continue; fi
  say "Installing the environment '$name' …"
  case "$name" in
    localstack | infra | checkov | permissions) python="$(python313)" ;;
    # It needs NumPy 1, which has no wheels for later ones.
    bench-whylogs) python=">=3.11,<3.13" ;;
    *) python="$(base_python)" ;;
  esac
  rm -rf ".venv/$name"
  uv venv --quiet --python "$python" ".venv/$name"
  uv pip sync --quiet --require-hashes --python ".venv/$name/bin/python" "$lock"
  cp "$lock" "$stamp"
done
