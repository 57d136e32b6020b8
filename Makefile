# Driftwarden. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup localstack newcomer upgrade demo pictures demo-standalone demo-ab check test unit sdk e2e lint mutants mutants-diff cargo-mutants simulate bench bench-analysis build container deploy destroy invoke clean binaries cli clippy docs policies infra-check needs-rust rust-target

FUNCTIONS := ingest sweep remediate operator notify analyze promote dashboard
# Architecture of the deployed functions: arm64 (requires the Rust target, see docs/how-to/deploy.md) or x86_64.
ARCH ?= arm64
STACK ?= driftwarden
# LOCAL=1 deploys the binaries of the tests to the LocalStack of AWS_ENDPOINT_URL, with the same command and template, without confirmation.
LOCAL ?=
# Event that `make invoke` sends, and the function that gets it.
FUNCTION ?= ingest
EVENT ?= events/$(FUNCTION)/$(shell ls events/$(FUNCTION) 2>/dev/null | head -n 1)
# All packages that compile without the AWS SDK.
NO_AWS := --workspace --exclude driftwarden-aws --exclude driftwarden-lambda --no-default-features
# The crates that `make mutants` tests: pure, and fast to compile.
MUTATED := text alerting machine experiment model-monitor analysis remediation promotion backtest model-dashboard analyzer
CARGO_MUTANTS := 27.1.0
# The branch that `make mutants-diff` compares with.
BASE ?= origin/main
MUTANTS = CARGO_TARGET_DIR="$(CURDIR)/target/mutation" cargo mutants --output target/mutation $(if $(SHARD),--shard $(SHARD) --sharding round-robin)
PYTHON := .venv/tools/bin/python
NEXTEST := .venv/rust/bin/cargo-nextest nextest
HARNESS := PYTHONPATH=tests $(PYTHON) -m harness

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Install the Python environments of the tests and the demo (LocalStack, moto)
	@bash tests/setup.sh

needs-rust:
	@command -v cargo >/dev/null || { printf 'error: cargo is not installed\nhint: install Rust with rustup, then run the command again\n' >&2; exit 2; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1048576) }'); [ "$$free" -ge 15 ] || \
	  printf 'warning: only %s GiB are free on this disk, and a complete build needs about 15 GiB\nhint: free some space, or run `make clean`\n' "$$free" >&2

binaries: needs-rust
	@# The whole workspace, with the features of the tests, so that nothing is compiled twice.
	@cargo build --quiet --locked --workspace --bins
	@for f in $(FUNCTIONS); do mkdir -p target/lambda-test/$$f; \
	  if [ target/debug/$$f -nt target/lambda-test/$$f/bootstrap ]; then strip -o target/lambda-test/$$f/bootstrap target/debug/$$f; fi; done

cli: needs-rust
	@cargo build --quiet --locked --workspace --bin driftwarden

demo: setup ## Play the whole loop on this machine, without AWS; REPORT=PATH plays your report
	@echo "Building the functions (takes some minutes the first time) …"
	@$(MAKE) --no-print-directory binaries
	@$(HARNESS) demo $(if $(REPORT),--report "$(REPORT)")

pictures: demo ## Take the pictures of the documents from the pages of the demo (requires Chromium)
	@$(HARNESS) pictures

demo-standalone: setup ## Play the loop without Model Monitor: a served model drifts at hour 10 and is retrained
	@bash tests/setup.sh demo
	@echo "Building the functions and the command line (takes some minutes the first time) …"
	@$(MAKE) --no-print-directory binaries
	@$(HARNESS) demo-standalone

demo-ab: setup ## Test five candidates on live traffic: promoted, rolled back, inconclusive, invalid
	@bash tests/setup.sh demo
	@echo "Building the functions and the command line (takes some minutes the first time) …"
	@$(MAKE) --no-print-directory binaries
	@$(HARNESS) demo-ab

upgrade: setup ## Play an incident across an upgrade and a roll back; BEFORE=folder with the functions of another release
	@$(MAKE) --no-print-directory binaries
	@$(HARNESS) upgrade "$(BEFORE)"

check: needs-rust ## Run the checks before a commit: formatting, clippy, unit and doc tests; no LocalStack, no AWS SDK
	@bash tests/setup.sh rust
	cargo fmt --all --check
	cargo clippy --locked $(NO_AWS) --all-targets --quiet -- -D warnings
	SIMULATOR_SEEDS=1000 $(NEXTEST) run --locked $(NO_AWS)
	cargo test --locked $(NO_AWS) --doc --quiet

test: unit sdk e2e ## Run all tests: Rust, reports in the SageMaker SDK, end to end on LocalStack

unit: needs-rust ## Run the Rust tests; SIMULATOR_SEEDS=100000 plays more histories
	@bash tests/setup.sh rust tools
	$(NEXTEST) run --locked --workspace
	@$(PYTHON) tests/slowest.py target/nextest/default/junit.xml
	cargo test --locked --workspace --doc --quiet

e2e: setup binaries ## Run the end-to-end tests on LocalStack; PYTEST="-k rule" runs some
	@bash tests/setup.sh demo aws pages
	@cargo build --quiet --locked --workspace --example fleet
	@PYTHON=$(PYTHON) bash tests/e2e.sh $(PYTEST)

sdk: cli ## Read Driftwarden's report files with the SageMaker Python SDK
	@bash tests/setup.sh sdk
	PATH="$(CURDIR)/target/debug:$$PATH" .venv/sdk/bin/python tests/peers/sagemaker_sdk/report.py target/sdk-report
	.venv/sdk/bin/python -m pytest --quiet tests/peers/sagemaker_sdk --results target/sdk-report/report

clippy: needs-rust
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

docs: needs-rust
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

lint: infra-check clippy docs policies ## Check formatting, clippy, documentation, template, licenses, vulnerabilities, spelling, workflows

policies: needs-rust
	@bash tests/setup.sh lint
	PATH="$(CURDIR)/.venv/lint/bin:$$PATH" cargo deny --locked check --hide-inclusion-graph -A duplicate licenses bans sources
	@bash tests/advisories.sh
	.venv/lint/bin/typos
	.venv/lint/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/lint/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	.venv/lint/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	.venv/lint/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/lint/bin/zizmor --offline --quiet .github

infra-check: ## Check the template: cfn-lint, SAM, checkov, and permissions
	@bash tests/setup.sh infra checkov permissions
	.venv/infra/bin/cfn-lint --config-file infra/.cfnlintrc.yaml
	.venv/infra/bin/cfn-lint infra/alarms.yaml
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv/infra/bin/sam validate --lint --template infra/template.yaml
	.venv/checkov/bin/checkov --config-file infra/.checkov.yaml --file infra/template.yaml
	.venv/permissions/bin/python infra/check_permissions.py

cargo-mutants:
	@cargo mutants --version 2>/dev/null | grep -qx 'cargo-mutants $(CARGO_MUTANTS)' || \
	  { printf 'error: cargo-mutants $(CARGO_MUTANTS) is not installed\nhint: run `cargo install --locked cargo-mutants@$(CARGO_MUTANTS)`\n' >&2; exit 2; }

mutants: cargo-mutants ## Run mutation tests of CRATE=driftwarden-…, or of each pure crate; SHARD=0/8 runs one of 8 parts
	@mkdir -p target/mutation
	$(MUTANTS) $(addprefix --package ,$(or $(CRATE),$(addprefix driftwarden-,$(MUTATED))))

mutants-diff: cargo-mutants ## Run mutation tests of the lines that differ from BASE=origin/main
	@mkdir -p target/mutation
	@git diff --no-ext-diff --merge-base $(BASE) -- $(patsubst %,crates/%/src/*.rs,$(MUTATED)) > target/mutation/changes.diff
	@if [ -s target/mutation/changes.diff ]; then $(MUTANTS) --in-diff target/mutation/changes.diff; \
	else echo "No code of the pure crates differs from $(BASE): nothing to test"; fi

simulate: needs-rust ## Play SEEDS=100000 histories with faults; SEED=N prints one; PLANT=drop-token|skip-outbox|loose-etag|blind-update|frozen-start|edge-facts|fail-open|stop-at-first|no-rotation|retire-on-error|drop-unknown|same-epoch|stale-approval|ignore-pause|skip-fleet adds a bug
	cargo run --quiet --locked -p driftwarden-simulator -- $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100000)) $(if $(FROM),--from $(FROM)) $(if $(PLANT),--plant $(PLANT))

bench: setup ## Measure ingest and backtest, each beside a Python implementation
	$(PYTHON) benches/backtest/run.py
	@bash tests/setup.sh build
	PATH="$(CURDIR)/.venv/build/bin:$$PATH" cargo-lambda lambda build --locked --release --x86-64 -p driftwarden-lambda --bin ingest
	$(PYTHON) benches/ingest/run.py --binary target/lambda/ingest/bootstrap

bench-analysis: ## Measure statistics and drift of two files beside DuckDB, Polars, whylogs, and Evidently; ROWS=1000000
	@bash tests/setup.sh bench-duckdb bench-polars bench-whylogs bench-evidently
	@cargo build --quiet --locked --profile bench -p driftwarden --no-default-features
	.venv/bench-polars/bin/python benches/analysis/run.py --driftwarden target/release/driftwarden $(if $(ROWS),--rows $(ROWS))

container: ## Build the analyses as a container for SageMaker Processing (requires Docker); IMAGE=NAME
	docker build --file infra/container/Dockerfile --tag $(or $(IMAGE),driftwarden-analyzer) .

rust-target:
	@case "$(ARCH)" in arm64) target=aarch64-unknown-linux-gnu;; x86_64) target=x86_64-unknown-linux-gnu;; \
	  *) echo "ARCH is '$(ARCH)': it should be arm64 or x86_64"; exit 2;; esac; \
	if ! rustc --print target-libdir --target $$target >/dev/null 2>&1 || [ ! -d "$$(rustc --print target-libdir --target $$target)" ]; then \
	  echo "Rust's standard library for $$target is not installed: run 'rustup target add $$target', or build with ARCH=x86_64"; exit 1; fi

build: needs-rust rust-target ## Build release binaries for Lambda in target/lambda; ARCH=arm64|x86_64
	@bash tests/setup.sh build
	PATH="$(CURDIR)/.venv/build/bin:$$PATH" cargo-lambda lambda build --locked --release --$(subst _,-,$(ARCH)) -p driftwarden-lambda

localstack: setup ## Run LocalStack and a simulated SageMaker until Ctrl-C; prints the variables for make deploy LOCAL=1
	@$(HARNESS) up --bare

deploy: $(if $(LOCAL),binaries,build) ## Build and deploy to your AWS account; PARAMETERS="ReportBucketName=… RetrainingPipelineName=…"; LOCAL=1
	@bash tests/setup.sh infra
ifneq ($(LOCAL),)
	@[ -n "$${AWS_ENDPOINT_URL:-}" ] || { printf 'error: AWS_ENDPOINT_URL is not set\nhint: run `make localstack` in another terminal, and set the variables that it prints\n' >&2; exit 2; }
	@sed 's|CodeUri: ../target/lambda/|CodeUri: lambda-test/|' infra/template.yaml > target/template.yaml
	cd infra && SAM_CLI_TELEMETRY=0 ../.venv/infra/bin/sam deploy --stack-name $(STACK) --template-file ../target/template.yaml --config-file $(CURDIR)/infra/samconfig.toml --no-confirm-changeset \
	  --parameter-overrides Architecture=$(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64) $(PARAMETERS)
else
	cd infra && ../.venv/infra/bin/sam deploy --stack-name $(STACK) --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)
endif

newcomer: ## Time a new user's path: clone, demo, own report, deployment to LocalStack, first alert; SHARED=1 reuses target
	bash tests/newcomer.sh $(if $(SHARED),--shared)

destroy: ## Delete the deployed stack (the state bucket is kept)
	@bash tests/setup.sh infra
	.venv/infra/bin/sam delete --stack-name $(STACK)

invoke: ## Send EVENT=events/… to FUNCTION=… that runs under cargo lambda watch
	@bash tests/setup.sh build
	PATH="$(CURDIR)/.venv/build/bin:$$PATH" cargo-lambda lambda invoke $(FUNCTION) --data-file $(EVENT)

clean: ## Remove everything that was built and installed in this folder
	rm -rf target .venv .work
