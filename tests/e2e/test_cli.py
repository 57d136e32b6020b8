"""The command line against a deployment."""

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from harness.stack import REGION, ROOT
from harness.world import ASKING, AUTO, CALLER, World, eventually, folder

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def hour(n: int) -> datetime:
    return NOW - timedelta(hours=n)


def driftwarden(world: World, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": world.stack.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": world.stack.sagemaker_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STATE_BUCKET": world.state,
        "EVENT_BUS_NAME": world.outputs["EventBusName"],
        "QUEUE_URL": world.outputs["DeadLetterQueueUrl"],
        "OPERATOR_URL": world.outputs["OperatorUrl"],
        "APPROVE_URL": world.outputs["ApproveUrl"],
        "USER": "ada",
    }
    command = [ROOT / "target/debug/driftwarden", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def waiting(world: World) -> int:
    attributes = world.stack.client("sqs").get_queue_attributes(
        QueueUrl=world.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def test_failed_event_is_redriven_after_fix(world, reports):
    where = folder("churn", "churn-dq", hour(2))
    world.put_report(where, b"{\"violations\": [")
    eventually(lambda: waiting(world) == 1, "the event in the dead-letter queue", 60)
    listed = driftwarden(world, "redrive", "--dry-run")
    assert listed.returncode == 0 and "ReportUnreadable" in listed.stdout, listed
    # The cause is fixed, and no other event arrives.
    world.silence()
    world.put_report(where, reports("data-quality-drift"))
    done = driftwarden(world, "redrive")
    assert done.returncode == 0, done
    ledger = eventually(lambda: world.ledger("churn-dq"), "the datapoint")
    assert len(ledger["datapoints"]) == 1
    again = driftwarden(world, "redrive")
    assert again.returncode == 0 and waiting(world) == 0, again
    assert len(world.ledger("churn-dq")["datapoints"]) == 1


def test_datapoint_is_dropped_by_caller(world, reports):
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    eventually(lambda: world.ledger("churn-dq"), "the datapoint")
    time = hour(2).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = driftwarden(world, "datapoint", "drop", "churn-dq", time, "--reason", "report of another model")
    assert done.returncode == 0 and "dropped: datapoint" in done.stdout, done
    ledger = world.ledger("churn-dq")
    assert ledger["datapoints"] == []
    assert [(dropped["by"], dropped["reason"]) for dropped in ledger["dropped"]] == [(CALLER, "report of another model")]
    again = driftwarden(world, "datapoint", "drop", "churn-dq", time, "--reason", "report of another model")
    assert again.returncode == 1 and "already dropped" in again.stderr, again


def test_operator_approves_retraining(make_world, reports, tmp_path):
    world = make_world(ASKING)
    world.card("churn", "Medium")
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    eventually(lambda: (world.model("churn") or {}).get("incident", {}).get("stage") == "AwaitingApproval", "an approval request")
    shown = driftwarden(world, "incidents")
    assert "AwaitingApproval" in shown.stdout and "churn-1" in shown.stdout, shown
    assert driftwarden(world, "approve", "churn-1", "--dry-run").returncode == 0
    assert world.executions() == []
    stale = driftwarden(world, "approve", "churn-1", "--decision", "7")
    assert stale.returncode == 1 and "the current decision is 1" in stale.stderr, stale
    approved = driftwarden(world, "approve", "churn-1", "--by", "Chief Risk Officer", "--reason", "the season has begun")
    assert approved.returncode == 0, approved
    # The approval has taken effect when the command ends. The name is a note.
    assert len(world.executions()) == 1
    shown = json.loads(driftwarden(world, "incidents", "churn", "--json").stdout)
    assert shown["incident"]["approval"]["by"] == CALLER and shown["incident"]["stage"] == "Retraining"
    records = eventually(lambda: world.events("Operator Command Accepted"), "the record of the command")
    assert [(record["detail"]["caller"], record["detail"]["by"]) for record in records] == [(CALLER, "Chief Risk Officer")]
    for wrong in ("churn-7", "chrun-1"):
        refused = driftwarden(world, "approve", wrong)
        assert refused.returncode == 1 and wrong.rsplit("-", 1)[0] in refused.stderr, refused


def test_misspelled_model_is_not_paused(world):
    world.command("pause", model="churn", reason="a test", newModel=True)
    refused = driftwarden(world, "pause", "chrun", "--reason", "labels are wrong")
    assert refused.returncode == 1 and "did you mean `churn`" in refused.stderr, refused
    assert world.model("chrun") is None
    assert driftwarden(world, "resume", "churn").returncode == 0
    assert not world.model("churn")["pause"]["paused"]


def test_policy_is_checked_pushed_and_explained(world, tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(AUTO + "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n")
    bad.write_text("[alert]\ndatapoint_to_alert = 2\n")
    refused = driftwarden(world, "policy", "push", bad)
    assert refused.returncode == 1 and "did you mean `datapoints_to_alert`" in refused.stderr
    pushed = driftwarden(world, "policy", "push", good)
    assert pushed.returncode == 0, pushed
    assert "already" in driftwarden(world, "policy", "push", good).stdout
    explained = driftwarden(world, "policy", "explain", "--model", "churn")
    assert "[remediation] automation, line 8" in explained.stdout, explained


def test_alerts_compares_with_sagemaker_alert(world, reports):
    schedule = f"beside-{world.name}"
    world.schedule(schedule, "churn")
    world.execution(schedule, "churn", hour(2), "CompletedWithViolations")
    world.put_report(folder("churn", schedule, hour(2)), reports("data-quality-drift"))
    eventually(lambda: (ledger := world.ledger(schedule)) and not ledger["outbox"] and ledger["history"], "a transition of the alert")
    compared = driftwarden(world, "alerts", schedule)
    assert compared.returncode == 0 and "InAlert" in compared.stdout, compared


def test_backtest_replays_history_in_s3(world, reports):
    for n in (5, 4, 2):
        world.put_report(folder("churn", "churn-dq", hour(n)), reports("data-quality-drift"))
    answer = driftwarden(world, "backtest", "--json", "--report-prefix", "reports", f"s3://{world.reports}/reports")
    assert answer.returncode == 0, answer
    [model] = json.loads(answer.stdout)["models"]
    assert (model["model"], model["executions"], model["violations"], model["alerts"]) == ("churn", 4, 3, 2)
