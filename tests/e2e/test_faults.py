"""Bad input, duplicates, disorder and faults: nothing lost, nothing doubled, nothing taken for clean."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from harness.faults import Fault, proxy
from harness.world import AUTO, eventually, folder

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
    "not-utf-8": (b'{"violations": ["\xff\xfe"]}', "is not UTF-8 text"),
    "without-violations": (b'{"version": 0.0}', "expected a field `violations`, found none"),
    "too-large": (b" " * (200 << 20), "209715200 bytes: at most 16777216 are read"),
    "deeply-nested": (b'{"violations": [{"extra": ' + b"[" * 100_000, "nested"),
    "not-a-violation": (b'{"violations": [[1]]}', "expected an object for a violation, found a list"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_report_that_cannot_be_read_is_kept_with_its_reason_and_is_never_clean(shared, kind):
    body, reason = BROKEN[kind]
    schedule = f"broken-{kind}-{uuid.uuid4().hex[:6]}"
    shared.put_report(folder("broken", schedule, hour(2)), body)

    def dead():
        for message in shared.dead_letters.bodies():
            if schedule in json.dumps(message):
                return message
        return None

    letter = eventually(dead, f"the event of {schedule} in the dead-letter queue", 60)
    assert reason in letter["responsePayload"]["errorMessage"]
    assert letter["requestContext"]["condition"] == "RetriesExhausted"
    assert letter["requestPayload"]["detail-type"] == "Object Created"
    assert shared.ledger(schedule) is None
    now = datetime.now(timezone.utc)
    # The metric is of now, not of the hour: any datapoint of the last hour will do.
    points = shared.stack.client("cloudwatch").get_metric_statistics(
        Namespace=shared.namespace,
        MetricName="UnreadableReports",
        Dimensions=[{"Name": "Endpoint", "Value": "broken"}, {"Name": "MonitoringSchedule", "Value": schedule}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in points) == 3, "counted at each of three attempts"


def test_a_job_whose_report_cannot_be_read_is_not_clean_either(shared):
    schedule = f"broken-job-{uuid.uuid4().hex[:6]}"
    where = folder("broken", schedule, hour(2))
    shared.put_report(where, b"{")
    ok, answer = shared.invoke("ingest", as_event(shared.job_event(where, schedule)))
    assert not ok
    assert answer["errorType"] == "ReportUnreadable"
    assert shared.ledger(schedule) is None


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


def test_unrelated_objects_are_ignored(shared):
    before = len(shared.dead_letters.drain())
    shared.put_report("baselines/churn", drift())
    shared.put_report("elsewhere/churn/churn-dq/2026/11/23/03", drift())
    ok, answer = shared.invoke(
        "ingest",
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": shared.reports}, "object": {"key": "baselines/churn/constraint_violations.json"}},
        },
    )
    assert ok and answer["outcome"] == "ignored"
    assert len(shared.dead_letters.drain()) == before


def test_the_same_event_fifty_times_at_once(make_world):
    world = make_world()
    where = folder("churn", "churn-dq", hour(2))
    world.put_report(where, drift())
    event = world.job_event(where, "churn-dq", exit_message="CompletedWithViolations: Job completed successfully with 1 violations.")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: world.put_events(event), range(50)))
    eventually(lambda: world.executions(), "a pipeline execution")
    eventually(lambda: len(world.messages()) >= 2, "alert and decision")
    settle(world)
    monitor = {"Endpoint": "churn", "MonitoringSchedule": "churn-dq"}
    assert len(world.ledger("churn-dq")["datapoints"]) == 1
    assert world.metric("Breaching", hour(2), "SampleCount", **monitor) == 1
    assert Counter(e["detail-type"] for e in world.events()) == {"Model Monitor Alert State Change": 1, "Remediation Decided": 1}
    assert len(world.executions()) == 1
    assert len(world.messages()) == 2
    assert world.dead_letters.drain() == []


def settle(world, seconds: float = 60):
    """Until no function is at work any more: nothing is owed, and nothing has arrived for two seconds."""
    s3 = world.stack.client("s3")

    def state():
        listed = s3.list_objects_v2(Bucket=world.state).get("Contents", [])
        return sorted((item["Key"], item["ETag"]) for item in listed), len(world.bus.drain()), len(world.topic.drain())

    deadline = time.monotonic() + seconds
    last = state()
    while time.monotonic() < deadline:
        time.sleep(2)
        now = state()
        if now == last:
            return
        last = now


def test_any_order_ends_in_the_same_state(make_world):
    world = make_world(AUTO + "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n")
    # A day of executions: violations at 20, 12, 11 and 2 hours ago.
    wanted = {n: n in (20, 12, 11, 2) for n in range(24, 1, -1)}
    entries = []
    for n, violating in wanted.items():
        for schedule in ("in-order", "shuffled"):
            where = folder("churn", schedule, hour(n))
            message = "CompletedWithViolations: Job completed successfully with 1 violations."
            entry = world.job_event(where, schedule, exit_message=message) if violating else world.job_event(where, schedule)
            entries.append((schedule, n, entry))
    for schedule, _, entry in entries:
        if schedule == "in-order":
            world.invoke("ingest", as_event(entry))
    late = [as_event(entry) for schedule, _, entry in entries if schedule == "shuffled"]
    random.Random(7).shuffle(late)
    for event in late:
        world.invoke("ingest", event)
    in_order, shuffled = world.ledger("in-order"), world.ledger("shuffled")
    state = lambda ledger: [(p["scheduled_time"], p["evidence"]["job"]["violations"]) for p in ledger["datapoints"]]  # noqa: E731
    assert state(in_order) == state(shuffled)
    assert len(state(in_order)) == len(wanted)
    assert in_order["alert"]["status"] == shuffled["alert"]["status"] == "OK"


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ({"status": 400, "code": "ThrottlingException", "count": 3}, 4),
        ({"status": 500, "code": "InternalFailure", "count": 6}, 7),
        ({"status": 500, "code": "InternalFailure", "after": True, "count": 1}, 2),
    ],
    ids=["throttled", "down-for-a-while", "done-but-the-answer-lost"],
)
def test_a_pipeline_is_started_once_whatever_sagemaker_answers(make_world, fault, attempts):
    world = make_world()
    world.stack.stand_in("fault", {"operation": "StartPipelineExecution"} | fault)
    world.put_report(folder("churn", "churn-dq", hour(2)), drift())
    eventually(lambda: world.executions(), "a pipeline execution", 90)
    settle(world)
    calls = [
        call["body"]
        for call in world.stack.stand_in("calls")
        if call["operation"] == "StartPipelineExecution" and call["body"]["PipelineName"] == world.pipeline
    ]
    assert len(calls) >= attempts
    assert len({call["ClientRequestToken"] for call in calls}) == 1
    assert len(world.executions()) == 1
    assert world.model("churn")["outbox"] == []
    assert len(world.messages()) == 2


@pytest.mark.parametrize("operation", ["ListPipelineExecutions", "DescribeModelCard"])
@pytest.mark.parametrize("kind", ["throttled", "down-for-a-while"])
def test_what_a_decision_asks_may_fail_and_is_asked_again(make_world, operation, kind):
    # Without a level in the policy the model card is asked, too.
    world = make_world("[remediation]\ncooldown = '0h'\n")
    world.card("churn", "Low")
    fault = {key: value for key, value in FAULTS[kind].items() if key in ("status", "code", "count")}
    world.stack.stand_in("fault", {"operation": operation} | fault)
    world.put_report(folder("churn", "churn-dq", hour(2)), drift())
    eventually(lambda: world.executions(), "a pipeline execution", 90)
    settle(world)
    assert len(world.executions()) == 1
    assert world.model("churn")["incident"]["stage"] == "Retraining"
    assert len(world.messages()) == 2


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
def test_a_sweep_that_fails_at_any_call_is_mended_by_the_next(make_world, stack, kind):
    world = make_world(AUTO + "[alert]\nfollow_monitoring_alert = true\n")
    schedule = f"swept-{world.name}"
    world.silence()
    world.schedule(schedule, "churn", CreationTime=hour(3).timestamp() - 60)
    world.execution(schedule, "churn", hour(3), "Completed")
    world.execution(schedule, "churn", hour(2), "CompletedWithViolations")
    world.put_report(folder("churn", schedule, hour(2)), drift())
    throttled = {"status": 400, "code": "ThrottlingException"}
    fault = (throttled if kind == "throttled" else {"status": 500, "after": True}) | {"count": FAULTS[kind]["count"]}
    for operation in SWEPT:
        stack.stand_in("fault", {"operation": operation} | fault)
    with proxy(stack.url) as (url, faults):
        world.through(url)
        for operation in ("GetObject", "PutObject", "PutMetricData", "PutEvents"):
            faults.add(Fault(operation, **FAULTS[kind]))

        def swept():
            world.invoke("sweep", {})
            return world.executions()

        run = eventually(swept, "a pipeline execution in spite of everything", 300)[0]
        world.finish(run["arn"])

        def verifying():
            world.invoke("sweep", {})
            incident = world.model("churn").get("incident") or {}
            return incident.get("stage") == "Verifying"

        eventually(verifying, "the run's end, asked for in spite of everything", 300)
    for operation in SWEPT:
        # What was not struck by then must not strike another test.
        stack.stand_in("calm", {"operation": operation})
    assert len(world.executions()) == 1
    assert len({point["scheduled_time"] for point in world.ledger(schedule)["datapoints"]}) == len(world.ledger(schedule)["datapoints"])


@pytest.mark.parametrize("kind", FAULTS)
def test_whatever_s3_cloudwatch_eventbridge_and_sns_answer_nothing_is_lost_or_doubled(make_world, stack, kind):
    world = make_world()
    with proxy(stack.url) as (url, faults):
        world.through(url)
        for operation in ("GetObject", "PutObject", "PutMetricData", "PutEvents", "Publish"):
            faults.add(Fault(operation, **FAULTS[kind]))
        world.put_report(folder("churn", "churn-dq", hour(2)), drift())
        eventually(lambda: world.executions(), "a pipeline execution", 120)
        eventually(lambda: len(world.messages()) >= 2, "alert and decision as messages", 120)
        # What an invocation that ran out of retries still owed is completed by its next one.
        eventually(
            lambda: world.ledger("churn-dq")["outbox"] == [] and world.model("churn")["outbox"] == [], "nothing owed", 120
        )
        settle(world)
    assert {"GetObject", "PutObject", "PutMetricData", "PutEvents", "Publish"} <= set(faults.struck), faults.struck
    assert len(world.ledger("churn-dq")["datapoints"]) == 1
    assert len(world.executions()) == 1
    ids = Counter(event["detail"]["id"] for event in world.events())
    decision = next(id for id in ids if id.startswith("decision-churn-1-1-"))
    assert set(ids) == {"alert-churn-dq-1", decision}
    # Only an answer that was lost after the deed can repeat it: an event under its id, a message, a metric.
    lost = kind in ("done-but-the-answer-lost",)
    assert max(ids.values()) <= 1 + lost
    assert 2 <= len(world.messages()) <= 2 + lost
    published = world.metric("Breaching", hour(2), "SampleCount", Endpoint="churn", MonitoringSchedule="churn-dq")
    assert 1 <= published <= 1 + lost
    assert world.metric("Breaching", hour(2), "Maximum", Endpoint="churn", MonitoringSchedule="churn-dq") == 1


def test_a_report_bucket_that_cannot_be_read_is_not_clean(make_world):
    """LocalStack enforces no IAM: a report bucket that is gone refuses in its stead."""
    world = make_world()
    event = as_event(world.job_event(folder("churn", "churn-dq", hour(2)), "churn-dq"))
    world.stack.client("s3").delete_bucket(Bucket=world.reports)
    ok, answer = world.invoke("ingest", event)
    assert not ok and answer["errorType"] == "AwsNotFound" and "NoSuchBucket" in answer["errorMessage"]
    assert world.ledger("churn-dq") is None


def test_a_wrong_configuration_stops_the_function_at_its_start(make_world):
    world = make_world()
    client = world.stack.client("lambda")
    client.update_function_configuration(
        FunctionName=f"{world.name}-remediate", Environment={"Variables": {"STATE_BUCKET": "Not A Bucket"}}
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=f"{world.name}-remediate", WaiterConfig={"Delay": 1})
    ok, answer = world.invoke("remediate", {})
    assert not ok
    assert "EVENT_BUS_NAME" in json.dumps(answer) or "RETRAINING_PIPELINE" in json.dumps(answer)


def test_functions_killed_in_the_midst_of_their_work(make_world):
    """kill -9 of whatever function runs, again and again, while twenty executions of ten monitors come in."""
    world = make_world()
    stop = threading.Event()
    killed = []

    def kill():
        import os
        import signal
        import subprocess

        random_ = random.Random(11)
        while not stop.wait(random_.uniform(0.15, 0.4)):
            found = subprocess.run(["pgrep", "-f", f"{world.stack.folder}.*bootstrap"], capture_output=True, text=True, check=False)
            pids = [int(pid) for pid in found.stdout.split()]
            if pids:
                pid = random_.choice(pids)
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                except ProcessLookupError:
                    pass

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for n in (3, 2):
            for monitor in range(10):
                world.put_report(folder(f"model-{monitor}", f"monitor-{monitor}", hour(n)), drift())
                time.sleep(0.05)
        time.sleep(4)
    finally:
        stop.set()
        killer.join()
    assert killed

    def done():
        for monitor in range(10):
            ledger, model = world.ledger(f"monitor-{monitor}"), world.model(f"model-{monitor}")
            if not ledger or len(ledger["datapoints"]) < 2 or ledger["outbox"] or not model or model["outbox"]:
                return False
        return True

    # What was killed is retried; what ran out of retries is in the dead-letter queue and is put back, as redriving does.
    def done_or_redriven():
        for letter in world.dead_letters.bodies()[redriven[0] :]:
            redriven[0] += 1
            function = letter["requestContext"]["functionArn"].split(":function:")[1].split(":")[0].rsplit("-", 1)[1]
            world.stack.client("lambda").invoke(
                FunctionName=f"{world.name}-{function}", InvocationType="Event", Payload=json.dumps(letter["requestPayload"]).encode()
            )
        return done()

    redriven = [0]
    eventually(done_or_redriven, "every execution recorded and nothing owed", 240)
    runs = Counter(run["parameters"]["DriftwardenModel"] for run in world.executions())
    assert runs == {f"model-{monitor}": 1 for monitor in range(10)}
