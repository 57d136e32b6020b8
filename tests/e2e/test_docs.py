"""Runs every command of the documents: each line of each ```sh block, in a prepared folder and account.

`ELSEWHERE` lists commands that cannot run here, with the reason and another check. The test fails if another command fails, or if an
entry of `ELSEWHERE` is unused.
"""

import json
import os
import random
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from harness.experiments import Hosted, answering, ticked
from harness.stack import ACCOUNT, REGION, ROOT
from harness.world import eventually

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "*/README.md", "docs/**/*.md", "crates/*/README.md", "functions/src/*/README.md", "benches/*/README.md")
    for path in ROOT.glob(pattern)
)
# The exit code of `analyze` is its result: clean or violations.
ALSO_FINE = {"driftwarden analyze": {2}, "diff": {1}}


def commands(document: str) -> list[str]:
    """Commands of the ```sh blocks of a document. A backslash at the end continues a line."""
    found: list[str] = []
    inside, open_ended = False, False
    for line in (ROOT / document).read_text().splitlines():
        line = line.strip()
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside and line and not line.startswith("#"):
            if open_ended:
                found[-1] += "\n" + line
            else:
                found.append(re.sub(r"\s+# .*$", "", line))
            open_ended = line.endswith("\\")
    return found


# Checks of commands that cannot run here.


def is_a_target(command: str) -> None:
    """make has the target and all its dependencies."""
    done = subprocess.run(shlex.split(command.replace("make ", "make --dry-run ", 1)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in shlex.split(command):
        if word.startswith("EVENT="):
            assert (ROOT / word.removeprefix("EVENT=")).exists(), word


def installs_the_command(_: str) -> None:
    package = tomllib.loads((ROOT / "crates/cli/Cargo.toml").read_text())
    assert [binary["name"] for binary in package["bin"]] == ["driftwarden"]


def is_a_command(command: str) -> None:
    """The command line has each option."""
    _, subcommand, *arguments = shlex.split(command)
    help_text = subprocess.run([ROOT / "target/debug/driftwarden", subcommand, "--help"], capture_output=True, text=True, check=True).stdout
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in help_text, argument


def is_a_subcommand(command: str) -> None:
    """The command of a command, such as `datapoint drop`, has each option."""
    _, above, subcommand, *arguments = shlex.split(command)
    help_text = subprocess.run([ROOT / "target/debug/driftwarden", above, subcommand, "--help"], capture_output=True, text=True, check=True).stdout
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in help_text, argument


def is_a_rust_target(command: str) -> None:
    known = subprocess.run(["rustc", "--print", "target-list"], capture_output=True, text=True, check=True).stdout.split()
    assert command.split()[-1] in known


def is_a_function(command: str) -> None:
    assert (ROOT / "crates/lambda/src/bin" / f"{command.split(' --bin ')[1]}.rs").is_file()


def is_a_package(command: str) -> None:
    _, _, package = command.split()[1:4]
    manifests = [tomllib.loads(path.read_text()) for path in (ROOT / "crates").glob("*/Cargo.toml")]
    assert package in [manifest["package"]["name"] for manifest in manifests]


def is_a_git_command(command: str) -> None:
    """git has the command, and a man page or a short help of it."""
    done = subprocess.run(["git", command.split()[1], "-h"], capture_output=True, text=True, check=False)
    assert "usage: git" in done.stdout + done.stderr, done


def is_a_fuzz_target(command: str) -> None:
    _, _, _, _, target, _, seeds, *_ = shlex.split(command)
    assert (ROOT / f"fuzz/fuzz_targets/{target}.rs").exists() and (ROOT / seeds).is_dir()


def is_a_deployment(command: str) -> None:
    """SAM has each option, and the template each parameter."""
    subprocess.run(["bash", "tests/setup.sh", "infra"], cwd=ROOT, check=True, capture_output=True)
    help_text = subprocess.run([ROOT / ".venv/infra/bin/sam", "deploy", "--help"], capture_output=True, text=True, check=True).stdout
    template = (ROOT / "infra/template.yaml").read_text()
    for word in shlex.split(command.replace("\\\n", " ")):
        if word.startswith("--"):
            assert word in help_text, word
        elif "=" in word:
            assert f"\n  {word.split('=')[0]}:\n" in template, word


Check = Callable[[str], None]
DEMO = ("builds and takes minutes; tests/e2e/test_loop.py tests the same", is_a_target)
DEPLOY = ("a real account; tests/newcomer.sh deploys by `make deploy LOCAL=1`", is_a_target)
# By the beginning of the command.
ELSEWHERE: dict[str, tuple[str, Check]] = {
    "make demo": DEMO,
    "make deploy": DEPLOY,
    "make destroy": ("a real account; the tests delete their deployments", is_a_target),
    "make localstack": ("runs until it is interrupted; tests/newcomer.sh starts it", is_a_target),
    "git fetch": ("changes the clone", is_a_git_command),
    "git checkout": ("changes the clone", is_a_git_command),
    "cargo run --package": ("a build", is_a_package),
    "make build": ("a release build for another architecture", is_a_target),
    "make invoke": ("needs a function under `cargo lambda watch`", is_a_target),
    "sam deploy": ("a real account", is_a_deployment),
    # Here it would report the disabled rules and the used queue.
    "driftwarden doctor": ("requires a healthy deployment; tests/e2e/test_doctor.py has one", is_a_command),
    "driftwarden datapoint drop": ("needs a datapoint of that hour; crates/cli/tests/operator has one", is_a_subcommand),
    "cargo install --path crates/cli": ("a release build", installs_the_command),
    "rustup target add": ("downloads a toolchain's library", is_a_rust_target),
    "cargo +nightly fuzz run": ("a nightly toolchain, and a minute", is_a_fuzz_target),
    "STATE_BUCKET=my-state EVENT_BUS_NAME=driftwarden cargo lambda watch": ("runs until it is stopped", is_a_function),
}


def elsewhere(command: str) -> str | None:
    return next((beginning for beginning in ELSEWHERE if command.startswith(beginning)), None)


# The account.

HOUR = "2026/11/23/14"
DATA, REPORTS = "my-data", "my-reports"
SCHEDULE = "churn-data-quality"
POLICY = """
[remediation]
decide_after = "0s"
cooldown = "0h"

[[model]]
name = "churn"
risk_rating = "medium"
"""


def captured(seed: int, count: int) -> tuple[bytes, bytes]:
    """Captured requests and their labels."""
    chance = random.Random(seed)
    requests, labels = [], []
    for at in range(count):
        truth = chance.randint(0, 1)
        score = 0.8 if (truth == 1) == (chance.random() < 0.9) else 0.2
        part = lambda mode, data: {"observedContentType": "application/json", "mode": mode, "encoding": "JSON", "data": json.dumps(data)}
        of = {"eventId": f"{seed}-{at}", "inferenceTime": "2026-11-23T14:20:00Z"}
        both = {"endpointInput": part("INPUT", {"age": chance.randint(18, 80)}), "endpointOutput": part("OUTPUT", {"score": score})}
        requests.append(json.dumps({"captureData": both, "eventMetadata": of, "eventVersion": "0"}))
        label = {"data": str(truth), "encoding": "CSV"}
        labels.append(json.dumps({"groundTruthData": label, "eventMetadata": {"eventId": of["eventId"]}, "eventVersion": "0"}))
    return "\n".join(requests).encode(), "\n".join(labels).encode()


class Account:
    """The account of a reader of the documents: buckets with data and reports, the stack `driftwarden`, a model in alert."""

    def __init__(self, pool: Any, url: Callable[..., str], report: bytes):
        self.stack, self.report = pool.stack, report
        self.s3, self.sqs = self.stack.client("s3"), self.stack.client("sqs")
        for bucket in (DATA, REPORTS):
            self.s3.create_bucket(Bucket=bucket)
        on = {"EventBridgeConfiguration": {}}
        self.s3.put_bucket_notification_configuration(Bucket=REPORTS, NotificationConfiguration=on)
        self.world = pool.borrow(POLICY, name="driftwarden", ReportBucketName=REPORTS, ReportPrefix="monitoring/reports")
        self.world.schedule(SCHEDULE, "churn")
        requests, labels = captured(1, 400)
        self.s3.put_object(Bucket=DATA, Key=f"capture/churn/AllTraffic/{HOUR}/a.jsonl", Body=requests)
        self.s3.put_object(Bucket=DATA, Key=f"labels/churn/{HOUR}/a.jsonl", Body=labels)
        self._put_report(datetime.now(timezone.utc).strftime("%Y/%m/%d/%H"))
        eventually(lambda: (self.world.model("churn") or {}).get("incident", {}).get("stage") == "AwaitingApproval", "an approval request", 90)
        self._experiment(url)
        self.queue = self.world._queue("mine")[1]
        # From here on, only the commands of the documents act.
        self.world.silence()
        self._put_report(HOUR)
        self.kept = {key: self._body(key) for key in ("models/churn.json", f"monitors/{SCHEDULE}.json", "policy.toml")}

    def _put_report(self, hour: str) -> None:
        key = f"monitoring/reports/churn/{SCHEDULE}/{hour}/constraint_violations.json"
        self.s3.put_object(Bucket=REPORTS, Key=key, Body=self.report)

    def _body(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.world.state, Key=key)["Body"].read())

    def _experiment(self, url: Callable[..., str]) -> None:
        hosted = Hosted(self.world, "churn", {"champion": (1.0, url(0.9))})
        # POLICY already has the header of this table.
        self.world.put_policy(POLICY + hosted.policy().removeprefix('[[model]]\nname = "churn"\n'))
        hosted.package(url(0.95))
        ticked(self.world, lambda: (hosted.open() or {}).get("stage") == "Testing", "the experiment of churn")

    def restore_model(self) -> None:
        """Restores the incident before the first command."""
        self.s3.put_object(Bucket=self.world.state, Key="models/churn.json", Body=self.kept["models/churn.json"])

    def restore(self) -> dict[str, str]:
        """Restores the state before the first command. Returns the environment variables."""
        for key, body in self.kept.items():
            self.s3.put_object(Bucket=self.world.state, Key=key, Body=body)
        key = f"monitoring/reports/churn/{SCHEDULE}/{HOUR}/constraint_violations.json"
        letter = {
            "requestContext": {
                "requestId": "1",
                "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:driftwarden-ingest:$LATEST",
                "condition": "RetriesExhausted",
            },
            "requestPayload": {
                "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "account": ACCOUNT,
                "time": "2026-11-23T15:10:00Z", "region": REGION, "resources": [],
                "detail": {"version": "0", "bucket": {"name": REPORTS}, "object": {"key": key, "size": len(self.report), "etag": "1"}},
            },
            "responsePayload": {"errorType": "ReportUnreadable", "errorMessage": f"the report `s3://{REPORTS}/{key}` was cut off"},
        }
        self.sqs.send_message(QueueUrl=self.world.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(letter))
        model = self.s3.head_object(Bucket=self.world.state, Key="models/churn.json")
        # Variables of a user's shell.
        return {
            "STATE_BUCKET": self.world.state,
            "EVENT_BUS_NAME": self.world.outputs["EventBusName"],
            "QUEUE_URL": self.world.outputs["DeadLetterQueueUrl"],
            "OPERATOR_URL": self.world.outputs["OperatorUrl"],
            "APPROVE_URL": self.world.outputs["ApproveUrl"],
            "MY_QUEUE_ARN": self.queue,
            "VERSION_ID": model["VersionId"],
            "ETAG": model["ETag"],
            "USER": "ada",
        }


def files(folder: Path, report: bytes) -> None:
    """Writes the files that the commands of the documents read."""
    chance = random.Random(7)
    write = lambda name, header, rows: (folder / name).write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    people = lambda older: [(chance.randint(18, 80) + older, round(chance.lognormvariate(10, 0.5), 2)) for _ in range(500)]
    write("train.csv", "age,income", people(0))
    write("today.csv", "age,income", people(30))
    write("scored.csv", "score,truth", [(0.8 if at % 7 else 0.2, 1) if at % 2 else (0.2, 0) for at in range(400)])
    write("loans.csv", "sex,label,predicted", [("fm"[at % 2], int(at % 3 > at % 2), int(at % 5 > 1)) for at in range(600)])
    write("rows.csv", "hard,side", [(round(chance.random(), 3), chance.randint(0, 1)) for _ in range(50)])
    configurations = {
        "quality.json": {"problem_type": "BinaryClassification", "probability_attribute": "score", "probability_threshold_attribute": 0.5,
                         "ground_truth_attribute": "truth"},
        "bias.json": {"label": "label", "label_values_or_threshold": [1], "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
                      "predicted_label": "predicted"},
        "attributions.json": {"methods": {"shap": {"baseline": [[0, 0]], "num_samples": 20, "agg_method": "mean_abs"}},
                              "predictor": {"content_type": "text/csv", "accept_type": "text/csv"}},
    }
    for name, configuration in configurations.items():
        (folder / name).write_text(json.dumps(configuration))
    (folder / "constraint_violations.json").write_bytes(report)
    alert = "[alert]\ndatapoints_to_alert = {}\nevaluation_period = 3\n"
    for name, datapoints in (("policy.toml", 2), ("other.toml", 1)):
        (folder / name).write_text(POLICY + alert.format(datapoints))
    history = [
        {"schedule": SCHEDULE, "endpoint": "churn", "scheduled_time": f"2026-11-{day:02}T{hour:02}:00:00Z",
         "state": "Violations" if hour % 5 > 2 else "Clean"}
        for day in (21, 22) for hour in range(24)
    ]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, history)) + "\n")
    # Folders of the repository that commands name.
    for name in ("infra", "events", "crates", "tests"):
        (folder / name).symlink_to(ROOT / name)
    tools = folder / ".tools"
    tools.mkdir()
    (tools / "xdg-open").write_text("#!/bin/sh\n")
    (tools / "xdg-open").chmod(0o755)


@pytest.fixture(scope="module")
def account(pool: Any, reports: Callable[[str], bytes]) -> Iterator[Account]:
    subprocess.run(["bash", "tests/setup.sh", "aws"], cwd=ROOT, check=True, capture_output=True)
    with answering() as url:
        account = Account(pool, url, reports("data-quality-drift"))
        driftwarden = ROOT / "target/debug/driftwarden"
        environment = os.environ | variables(account, Path("/"))
        made = [driftwarden, "baseline", f"s3://{DATA}/capture/churn/AllTraffic/2026/11/23/", "--output", f"s3://{DATA}/baselines/churn"]
        subprocess.run(made, env=environment, check=True, capture_output=True)
        yield account


def variables(account: Account, folder: Path) -> dict[str, str]:
    tools = [folder / ".tools", ROOT / "target/debug", ROOT / ".venv/aws/bin"]
    return {
        "PATH": ":".join([*map(str, tools), os.environ["PATH"]]),
        "AWS_ENDPOINT_URL": account.stack.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": account.stack.sagemaker_url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": account.stack.sagemaker_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_PAGER": "",
    }


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if commands(document)])
def test_commands_run(document: str, account: Account, tmp_path: Path) -> None:
    files(tmp_path, account.report)
    environment = os.environ | variables(account, tmp_path) | account.restore()
    failures = []
    for command in commands(document):
        if beginning := elsewhere(command):
            ELSEWHERE[beginning][1](command)
            continue
        # A command on an incident has its effect at once, so each of them gets the incident as it was.
        if command.startswith(("driftwarden approve ", "driftwarden resolve ")):
            account.restore_model()
        # The next command has the variables that a command sets.
        script = f"set -a -o pipefail\n{command}\ncode=$?\nexport -p > .environment\nexit $code\n"
        before = ". ./.environment\n" if (tmp_path / ".environment").exists() else ""
        done = subprocess.run(
            ["bash", "-c", before + script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        fine = {0}.union(*(codes for words, codes in ALSO_FINE.items() if words in command))
        if done.returncode not in fine:
            failures.append(f"$ {command}\nexit code {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    assert not failures, "\n\n".join(failures)


def test_every_exception_is_used() -> None:
    shown = [command for document in DOCUMENTS for command in commands(document)]
    unused = [beginning for beginning in ELSEWHERE if not any(elsewhere(command) == beginning for command in shown)]
    assert not unused, unused
    assert len(shown) > 50, len(shown)
