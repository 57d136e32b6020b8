"""Invalid input, duplicates, disorder, and faults: nothing is lost, duplicated, or recorded as clean."""

import json
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from harness.faults import Fault, killing
from harness.stack import ACCOUNT, ROOT
from harness.world import ASKING, AUTO, TICK, eventually, folder

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def hour(n: int) -> datetime:
    return NOW - timedelta(hours=n)


def drift(n: int = 1) -> bytes:
    entry = {
        "feature_name": "age",
        "constraint_check_type": "baseline_drift_check",
        "description": "Numerical distance: 0.25 exceeds numerical threshold: 0.1",
    }
    return json.dumps({"violations": [entry] * n}).encode()


BROKEN = {
    "malformed": (b"violations: none", "is not JSON"),
    "truncated": (drift()[:-20], "is truncated"),
    "empty": (b"", "is empty"),
    "not-utf-8": (b'{"violations": ["\xff\xfe"]}', "is not UTF-8"),
    "without-violations": (b'{"version": 0.0}', "expected a field `violations`, found none"),
    "too-large": (b" " * (200 << 20), "209715200 bytes: the limit is 16777216"),
    "deeply-nested": (b'{"violations": [{"extra": ' + b"[" * 100_000, "nested"),
    "not-a-violation": (b'{"violations": [[1]]}', "expected an object for a violation, found a list"),
}


def test_unreadable_reports_are_kept_and_not_clean(world):
    schedules = {f"broken-{kind}-{uuid.uuid4().hex[:6]}": kind for kind in BROKEN}
    for schedule, kind in schedules.items():
        world.put_report(folder("broken", schedule, hour(2)), BROKEN[kind][0])

    def letters():
        found = {schedule: [letter for letter in world.dead_letters.bodies() if schedule in json.dumps(letter)] for schedule in schedules}
        return all(found.values()) and found

    for schedule, (letter,) in eventually(letters, "the events of all reports in the dead-letter queue", 90).items():
        reason = BROKEN[schedules[schedule]][1]
        assert reason in letter["responsePayload"]["errorMessage"], letter
        assert letter["requestContext"]["condition"] == "RetriesExhausted"
        assert letter["requestPayload"]["detail-type"] == "Object Created"
        assert world.ledger(schedule) is None
        now = datetime.now(timezone.utc)
        # The metric has the time of the attempt, not of the execution, so any datapoint of the last hour counts.
        points = world.stack.client("cloudwatch").get_metric_statistics(
            Namespace=world.namespace,
            MetricName="UnreadableReports",
            Dimensions=[{"Name": "Endpoint", "Value": "broken"}, {"Name": "MonitoringSchedule", "Value": schedule}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=5),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        assert sum(point["Sum"] for point in points) == 3, f"{schedule}: counted at each of three attempts"


def test_job_with_unreadable_report_is_not_clean(world):
    schedule = f"broken-job-{uuid.uuid4().hex[:6]}"
    where = folder("broken", schedule, hour(2))
    world.put_report(where, b"{")
    ok, answer = world.invoke("ingest", as_event(world.job_event(where, schedule)))
    assert not ok
    assert answer["errorType"] == "ReportUnreadable"
    assert world.ledger(schedule) is None
    eventually(world.dead_letters.drain, "the event of the report in the dead-letter queue")


def as_event(entry):
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "region": "us-east-1",
        "time": "2026-11-23T00:00:00Z",
        "detail": json.loads(entry["Detail"]),
    }


def test_unrelated_objects_are_ignored(world):
    before = len(world.dead_letters.drain())
    world.put_report("baselines/churn", drift())
    world.put_report("elsewhere/churn/churn-dq/2026/11/23/03", drift())
    ok, answer = world.invoke(
        "ingest",
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": world.reports}, "object": {"key": "baselines/churn/constraint_violations.json"}},
        },
    )
    assert ok and answer["outcome"] == "ignored"
    assert len(world.dead_letters.drain()) == before


def test_event_delivered_50_times_has_one_effect(world):
    # CloudWatch keeps metrics, so the names are unique to this test.
    model, schedule = f"fifty-{uuid.uuid4().hex[:8]}", f"fifty-dq-{uuid.uuid4().hex[:8]}"
    where = folder(model, schedule, hour(2))
    world.put_report(where, drift())
    event = world.job_event(where, schedule, exit_message="CompletedWithViolations: Job completed successfully with 1 violations.")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: world.put_events(event), range(50)))
    eventually(lambda: world.executions(), "a pipeline execution")
    eventually(lambda: len(world.messages()) >= 2, "alert and decision")
    world.settle()
    assert len(world.ledger(schedule)["datapoints"]) == 1
    assert world.metric("Breaching", hour(2), "SampleCount", Endpoint=model, MonitoringSchedule=schedule) == 1
    assert Counter(e["detail-type"] for e in world.events()) == {"Model Monitor Alert State Change": 1, "Remediation Decided": 1}
    assert len(world.executions()) == 1
    assert len(world.messages()) == 2
    assert world.dead_letters.drain() == []


# Faults of SageMaker, and the number of calls until the pipeline starts.
ANSWERS = {
    "throttled": ({"status": 400, "code": "ThrottlingException", "count": 3}, 4),
    "down-for-a-while": ({"status": 500, "code": "InternalFailure", "count": 6}, 7),
    "done-but-the-answer-lost": ({"status": 500, "code": "InternalFailure", "after": True, "count": 1}, 2),
}


def retrained_once(world, models) -> None:
    """Asserts that each model has one pipeline execution, one alert, one decision, and no pending effects."""
    for model in models:
        assert [run["displayName"] for run in world.executions() if run["parameters"]["DriftwardenModel"] == model] == [f"driftwarden-{model}-1"]
        document = world.model(model)
        assert document["incident"]["stage"] == "Retraining" and document["outbox"] == [], document
        assert len([message for message in world.messages() if f"] {model}:" in message["Subject"]]) == 2, model


def retraining(world, model) -> None:
    """Plays drift of a model and waits until its retraining has started."""
    world.put_report(folder(model, f"{model}-dq", hour(2)), drift())
    started = lambda: (document := world.model(model)) and document["incident"]["stage"] == "Retraining" and not document["outbox"]
    eventually(started, f"the retraining of {model}", 90)


def test_pipeline_starts_once_with_sagemaker_faults(world):
    for kind, (fault, attempts) in ANSWERS.items():
        world.stack.stand_in("fault", {"operation": "StartPipelineExecution"} | fault)
        retraining(world, kind)
        calls = [
            call["body"]["ClientRequestToken"]
            for call in world.stack.stand_in("calls")
            if call["operation"] == "StartPipelineExecution" and call["body"]["PipelineExecutionDisplayName"] == f"driftwarden-{kind}-1"
        ]
        assert len(calls) >= attempts and len(set(calls)) == 1, (kind, calls)
    world.settle()
    retrained_once(world, ANSWERS)


def test_decision_retries_failed_queries(make_world):
    # Without an automation level in the policy, the model card is read, too.
    world = make_world(ASKING)
    kinds = ["throttled", "down-for-a-while"]
    for kind in kinds:
        world.card(kind, "Low")
        fault = {key: value for key, value in FAULTS[kind].items() if key in ("status", "code", "count")}
        for operation in ("ListPipelineExecutions", "DescribeModelCard"):
            world.stack.stand_in("fault", {"operation": operation} | fault)
        retraining(world, kind)
        for operation in ("ListPipelineExecutions", "DescribeModelCard"):
            assert world.stack.stand_in("calm", {"operation": operation})["left"] == 0, (kind, operation)
    world.settle()
    retrained_once(world, kinds)


FAULTS = {
    "throttled": {"status": 400, "code": "ThrottlingException", "count": 2},
    "slow-down": {"status": 503, "code": "SlowDown", "count": 2},
    "down-for-a-while": {"status": 500, "code": "InternalError", "count": 6},
    "reset": {"reset": True, "count": 2},
    "timing-out": {"hang": 6.0, "count": 1},
    "done-but-the-answer-lost": {"after": True, "reset": True, "count": 1},
}


SWEPT = (
    "ListMonitoringSchedules",
    "DescribeMonitoringSchedule",
    "ListMonitoringExecutions",
    "DescribeProcessingJob",
    "ListMonitoringAlerts",
    "ListPipelineExecutions",
    "StartPipelineExecution",
    "DescribePipelineExecution",
)


@pytest.mark.parametrize("kind", ["throttled", "done-but-the-answer-lost"])
def test_next_sweep_completes_failed_sweep(make_world, stack, kind):
    world = make_world(AUTO + "[alert]\nfollow_monitoring_alert = true\n")
    schedule = "swept"
    world.silence()
    world.schedule(schedule, "churn", CreationTime=hour(3).timestamp() - 60)
    world.execution(schedule, "churn", hour(3), "Completed")
    world.execution(schedule, "churn", hour(2), "CompletedWithViolations")
    world.put_report(folder("churn", schedule, hour(2)), drift())
    throttled = {"status": 400, "code": "ThrottlingException"}
    fault = (throttled if kind == "throttled" else {"status": 500, "after": True}) | {"count": FAULTS[kind]["count"]}
    for operation in SWEPT:
        stack.stand_in("fault", {"operation": operation} | fault)
    with world.faulty() as faults:
        for operation in ("GetObject", "PutObject", "PutMetricData", "PutEvents"):
            faults.add(Fault(operation, **FAULTS[kind]))

        def swept():
            world.invoke("sweep", {})
            return world.executions()

        run = eventually(swept, "a pipeline execution despite the faults", 300)[0]
        world.finish(run["arn"])

        def verifying():
            world.invoke("sweep", {})
            incident = world.model("churn").get("incident") or {}
            return incident.get("stage") == "Verifying"

        eventually(verifying, "the end of the pipeline execution despite the faults", 300)
    assert len(world.executions()) == 1
    assert len({point["scheduled_time"] for point in world.ledger(schedule)["datapoints"]}) == len(world.ledger(schedule)["datapoints"])


STRUCK = ("GetObject", "PutObject", "PutMetricData", "PutEvents", "Publish")


@pytest.mark.slow
def test_aws_faults_lose_and_duplicate_nothing(world):
    # CloudWatch keeps metrics, so the names are unique to this test.
    models = {kind: f"{kind}-{uuid.uuid4().hex[:6]}" for kind in FAULTS}
    messages = lambda model: [message for message in world.messages() if f"] {model}:" in message["Subject"]]
    with world.faulty() as faults:
        for kind, model in models.items():
            faults.struck.clear()
            for operation in STRUCK:
                faults.add(Fault(operation, **FAULTS[kind]))
            # The next invocation completes the work of one that ran out of retries.
            retraining(world, model)
            eventually(lambda: world.ledger(f"{model}-dq")["outbox"] == [], f"nothing pending of {kind}", 120)
            # What could not be sent at once waits for a tick, after a pause of a minute.
            notified = lambda: len(messages(model)) >= 2 or not world.invoke("notify", TICK)
            eventually(notified, f"alert and decision of {kind} as messages", 120, every=1)
            assert set(STRUCK) <= set(faults.struck), (kind, faults.struck)
            # No fault may affect the model of another fault kind.
            eventually(lambda: not any(fault.count for fault in faults.pending), f"all faults of {kind}", 60)
            world.settle()
    for kind, model in models.items():
        assert len(world.ledger(f"{model}-dq")["datapoints"]) == 1
        ids = Counter(event["detail"]["id"] for event in world.events() if event["detail"]["model"] == model)
        decision = next(id for id in ids if id.startswith(f"decision-{model}-1-1-"))
        alert = next(id for id in ids if id.startswith(f"alert-{model}-dq-") and id.endswith("-1"))
        assert set(ids) == {alert, decision}
        # Only a response that was lost after the call can repeat it: an event with the same ID, a message, a metric.
        lost = kind == "done-but-the-answer-lost"
        assert max(ids.values()) <= 1 + lost
        assert 2 <= len(messages(model)) <= 2 + lost
        monitor = {"Endpoint": model, "MonitoringSchedule": f"{model}-dq"}
        assert 1 <= world.metric("Breaching", hour(2), "SampleCount", **monitor) <= 1 + lost
        assert world.metric("Breaching", hour(2), "Maximum", **monitor) == 1
    assert Counter(run["parameters"]["DriftwardenModel"] for run in world.executions()) == {model: 1 for model in models.values()}


def test_unreadable_report_bucket_is_not_clean(world):
    """LocalStack does not enforce IAM, so a deleted report bucket stands for denied access."""
    event = as_event(world.job_event(folder("churn", "churn-dq", hour(2)), "churn-dq"))
    world.stack.client("s3").delete_bucket(Bucket=world.reports)
    try:
        ok, answer = world.invoke("ingest", event)
    finally:
        world.create_report_bucket()
    assert not ok and answer["errorType"] == "AwsNotFound" and "NoSuchBucket" in answer["errorMessage"]
    assert world.ledger("churn-dq") is None


def test_invalid_configuration_stops_function_at_start(stack):
    client, name = stack.client("lambda"), f"misconfigured-{uuid.uuid4().hex[:8]}"
    code = stack.code(name, ROOT / "target/lambda-test/remediate/bootstrap")
    client.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=f"arn:aws:iam::{ACCOUNT}:role/function",
        Code={f"S3{key}": value for key, value in code.items()},
        Environment={"Variables": {"STATE_BUCKET": "Not A Bucket"}},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    answer = client.invoke(FunctionName=name, Payload=b"{}")
    error = answer["Payload"].read().decode()
    client.delete_function(FunctionName=name)
    assert "FunctionError" in answer and ("EVENT_BUS_NAME" in error or "RETRAINING_PIPELINE" in error), error


@pytest.mark.slow
def test_killed_functions_lose_nothing(world):
    """Repeatedly kills running functions (kill -9) during twenty executions of ten monitors."""
    with killing(world.stack.functions, (0.15, 0.4), seed=11) as killed:
        for n in (3, 2):
            for monitor in range(10):
                world.put_report(folder(f"model-{monitor}", f"monitor-{monitor}", hour(n)), drift())
                time.sleep(0.05)
        time.sleep(4)
    assert killed

    def done():
        for monitor in range(10):
            ledger, model = world.ledger(f"monitor-{monitor}"), world.model(f"model-{monitor}")
            if not ledger or len(ledger["datapoints"]) < 2 or ledger["outbox"] or not model or model["outbox"]:
                return False
        return True

    # Killed invocations are retried. After the last retry, events are in the dead-letter queue and are redriven. What a killed invocation
    # had claimed is left to the next sweep after the end of its claim.
    def done_or_redriven():
        for letter in world.dead_letters.bodies()[redriven[0] :]:
            redriven[0] += 1
            function = letter["requestContext"]["functionArn"].split(":function:")[1].split(":")[0].rsplit("-", 1)[1]
            world.stack.client("lambda").invoke(
                FunctionName=f"{world.name}-{function}", InvocationType="Event", Payload=json.dumps(letter["requestPayload"]).encode()
            )
        if time.monotonic() > swept_at[0] + 30:
            world.sweep()
            swept_at[0] = time.monotonic()
        return done()

    redriven, swept_at = [0], [time.monotonic()]
    eventually(done_or_redriven, "every execution recorded and no pending effects", 240)
    runs = Counter(run["parameters"]["DriftwardenModel"] for run in world.executions())
    assert runs == {f"model-{monitor}": 1 for monitor in range(10)}
