"""`driftwarden doctor` on a healthy deployment and on a broken one."""

import json
import os
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from typing import Any

from harness.stack import REGION, ROOT
from harness.world import AUTO, World, eventually, folder


def environment(world: World) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": world.stack.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": world.stack.sagemaker_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DRIFTWARDEN_STACK": world.name,
        "USER": "ada",
        "COLUMNS": "120",
    }


def driftwarden(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "target/debug/driftwarden"), *arguments]
    answer = subprocess.run(command, env=environment(world), capture_output=True, text=True, timeout=180, check=False)
    # Prints the output for the log of the test.
    print(f"$ driftwarden {shlex.join(arguments)}\nexit {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer


def findings(answer: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The most severe finding of each check."""
    gravity = ["skipped", "ok", "warning", "unknown", "broken"]
    found = json.loads(answer.stdout)["findings"]
    found.sort(key=lambda finding: gravity.index(finding["verdict"]))
    return {finding["check"]: finding for finding in found}


def test_doctor_finds_problems_and_remedies_work(world):
    well = driftwarden(world, "doctor")
    assert well.returncode == 0, well
    assert "a report became a datapoint within" in well.stdout

    # Events were handled, and no notification was sent.
    ledger = world.ledger("driftwarden-doctor")
    assert len(ledger["datapoints"]) == 1 and ledger["outbox"] == []
    assert world.model("driftwarden-doctor") is None
    assert world.events() == [] and world.messages() == []
    assert "Contents" not in world.stack.client("s3").list_objects_v2(Bucket=world.reports)
    swept = world.sweep()
    assert swept["missing"] == 0 and swept["repaired"] == 0, swept
    assert world.events() == []

    # A second run within the hour writes another report and waits for it.
    again = driftwarden(world, "doctor", "--json")
    assert again.returncode == 0 and findings(again)["event flow"]["verdict"] == "ok", again

    # Three problems at once.
    s3, events, functions = (world.stack.client(name) for name in ("s3", "events", "lambda"))
    rules = events.list_rules(NamePrefix=world.name)["Rules"]
    [rule] = [rule["Name"] for rule in rules if "ReportRule" in rule["Name"]]
    events.disable_rule(Name=rule)
    s3.put_bucket_notification_configuration(Bucket=world.reports, NotificationConfiguration={})
    world.put_policy("[alert]\ndatapoint_to_alert = 2\n")
    name = f"{world.name}-notify"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": variables | {"STATE_BUCKET": "elsewhere"}}
    )
    ill = driftwarden(world, "doctor")
    assert ill.returncode == 4, ill
    found = findings(driftwarden(world, "doctor", "--json"))
    broken = {check for check, finding in found.items() if finding["verdict"] == "broken"}
    assert broken == {"rules", "report bucket", "policy", "functions"}, found
    assert rule in found["rules"]["seen"] and "line 2" in found["policy"]["seen"]
    assert "elsewhere" in found["functions"]["seen"]
    assert found["event flow"]["verdict"] == "skipped"
    for check in broken:
        assert found[check]["remedy"] in ill.stdout, check

    # The hints work: two of them are executed unchanged.
    assert f"--name {rule}" in found["rules"]["remedy"]
    events.enable_rule(Name=rule)
    words = shlex.split(found["functions"]["remedy"])
    assert words[:3] == ["aws", "lambda", "update-function-configuration"]
    fixed = json.loads(words[words.index("--environment") + 1])
    functions.update_function_configuration(FunctionName=name, Environment=fixed)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    s3.put_bucket_notification_configuration(
        Bucket=world.reports, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    world.put_policy(AUTO)
    eventually(lambda: driftwarden(world, "doctor").returncode == 0, "a healthy deployment", 60)


def test_one_model_then_all_models_are_paused(world, reports):
    paused = driftwarden(world, "pause", "churn", "--new", "--reason", "labels are wrong", "--until", "24h")
    assert paused.returncode == 0 and world.model("churn")["pause"]["paused"], paused
    hour = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    world.put_report(folder("churn", "churn-dq", hour), reports("data-quality-drift"))

    def decided(model: str) -> str | None:
        return ((world.model(model) or {}).get("incident") or {}).get("decision", {}).get("sentence")

    sentence = eventually(lambda: decided("churn"), "the decision")
    assert "paused the model" in sentence and "labels are wrong" in sentence, sentence
    # All models, also one that does not exist yet.
    assert driftwarden(world, "pause", "--reason", "the store is down").returncode == 0
    assert driftwarden(world, "resume", "churn").returncode == 0
    sentence = eventually(lambda: "all models" in (decided("churn") or "") and decided("churn"), "the other reason")
    world.put_report(folder("fraud", "fraud-dq", hour), reports("data-quality-drift"))
    eventually(lambda: "all models" in (decided("fraud") or ""), "the decision on the new model")
    assert world.executions() == []
    assert driftwarden(world, "resume").returncode == 0
    world.sweep()
    assert len(eventually(world.executions, "the retrainings")) == 2
