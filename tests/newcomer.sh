#!/usr/bin/env bash
# Times a new user's path through the README: clone → demo → own report → deployment to LocalStack → first alert.
#
#   tests/newcomer.sh            installs and builds everything in the clone
#   tests/newcomer.sh --shared   uses the builds and environments of this folder
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
shared="${1:-}"
folder="$(mktemp -d)"
localstack=""
finish() {
  if [ -n "$localstack" ]; then kill -TERM "$localstack" 2>/dev/null && wait "$localstack" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT

names=() times=()
step() {
  local name="$1" begun="$SECONDS"
  shift
  printf '\n=== %s\n' "$name"
  "$@"
  names+=("$name") times+=("$((SECONDS - begun))")
}

clone() {
  git clone --quiet "$here" "$folder/driftwarden"
  cd "$folder/driftwarden"
  if [ "$shared" = --shared ]; then
    mkdir -p "$here/target" "$here/.venv"
    ln -s "$here/target" target
    ln -s "$here/.venv" .venv
  fi
}

start_localstack() {
  PYTHONPATH=tests .venv/tools/bin/python -m harness up --bare >"$folder/up" &
  localstack=$!
  until grep -q "Ctrl-C" "$folder/up"; do
    kill -0 "$localstack" || { echo "error: LocalStack did not start" >&2; exit 1; }
    sleep 0.5
  done
  eval "$(grep '^export' "$folder/up")"
  bash tests/setup.sh aws
  export PATH="$PWD/.venv/aws/bin:$PATH"
  # A user of Model Monitor has a bucket for reports with EventBridge notifications, and a retraining pipeline.
  aws s3api create-bucket --bucket my-reports >/dev/null
  aws s3api put-bucket-notification-configuration --bucket my-reports --notification-configuration '{"EventBridgeConfiguration": {}}'
  aws sagemaker create-pipeline --pipeline-name my-pipeline --role-arn arn:aws:iam::000000000000:role/pipeline \
    --pipeline-definition '{"Version": "2020-12-01", "Parameters": [{"Name": "ReportUri", "Type": "String", "DefaultValue": "none"}], "Steps": []}' >/dev/null
}

deploy() {
  make deploy LOCAL=1 PARAMETERS="ReportBucketName=my-reports ReportPrefix=monitoring/reports RetrainingPipelineName=my-pipeline"
}

first_alert() {
  make cli
  export PATH="$PWD/target/debug:$PATH"
  STATE_BUCKET="$(aws cloudformation describe-stacks --stack-name driftwarden \
    --query "Stacks[0].Outputs[?OutputKey=='StateBucketName'].OutputValue" --output text)"
  export STATE_BUCKET
  aws s3 cp --quiet tests/harness/reports/data-quality-drift.json \
    "s3://my-reports/monitoring/reports/churn/churn-data-quality/$(date -u +%Y/%m/%d/%H)/constraint_violations.json"
  for _ in $(seq 120); do
    if driftwarden incidents 2>/dev/null | grep -q 'churn .*Hold'; then break; fi
    sleep 0.5
  done
  driftwarden incidents churn | tee "$folder/incident"
  # No model card rates the risk, so the retraining is only suggested.
  grep -q Hold "$folder/incident"
}

step "clone" clone
step "make demo" make demo
step "make demo REPORT=…" make demo REPORT=tests/harness/reports/model-quality.json
step "start LocalStack" start_localstack
step "make deploy LOCAL=1" deploy
step "report, alert, decision" first_alert

printf '\n'
for at in "${!names[@]}"; do printf '%6d s  %s\n' "${times[$at]}" "${names[$at]}"; done
printf '%6d s  total\n' "$SECONDS"
