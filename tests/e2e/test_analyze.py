"""The loop without Model Monitor: captured data, native analyses, and the effects of their reports."""

import gzip
import json
import random
import subprocess
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from harness.stack import ROOT
from harness.world import AUTO, World, eventually

DRIFTWARDEN = ROOT / "target/debug/driftwarden"
NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def hour(n: int) -> datetime:
    return NOW - timedelta(hours=n)


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def people(seed: int, count: int, older: int = 0) -> list[tuple[str, int, float, str]]:
    """Pairs of response and request: score, age, income, plan."""
    rng = random.Random(seed)
    return [
        (f"{rng.random():.6f}", rng.randint(18, 80) + older, round(rng.lognormvariate(10, 0.5), 2), rng.choice(["basic", "plus", "family"]))
        for _ in range(count)
    ]


def captured(rows, per_request: int = 3) -> bytes:
    """Captured data in SageMaker's format. Some requests have several records."""
    lines = []
    for at in range(0, len(rows), per_request):
        some = rows[at : at + per_request]
        lines.append(json.dumps({
            "captureData": {
                "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "encoding": "CSV",
                                  "data": "\n".join(f"{age},{income},{plan}" for _, age, income, plan in some)},
                "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "encoding": "CSV",
                                   "data": "\n".join(score for score, *_ in some)},
            },
            "eventMetadata": {"eventId": str(uuid.uuid4()), "inferenceTime": stamp(NOW)},
            "eventVersion": "0",
        }))
    return "\n".join(lines).encode()


class AnalyzedModel:
    """A deployment with a baseline and one [[analysis]] schedule."""

    def __init__(self, world: World, tmp_path, **settings: str):
        self.world = world
        self.s3 = world.stack.client("s3")
        self.schedule = f"own-{uuid.uuid4().hex[:8]}"
        self.endpoint = f"endpoint-{uuid.uuid4().hex[:8]}"
        rows = "\n".join(",".join(map(str, row)) for row in people(1, 3000))
        dataset = tmp_path / "baseline.csv"
        dataset.write_text("score,age,income,plan\n" + rows + "\n")
        subprocess.run([DRIFTWARDEN, "baseline", dataset, "--output", tmp_path / "baseline"], check=True, capture_output=True)
        for file in (tmp_path / "baseline").iterdir():
            self.s3.put_object(Bucket=world.reports, Key=f"baselines/{self.schedule}/{file.name}", Body=file.read_bytes())
        table = {
            "schedule": self.schedule,
            "endpoint": self.endpoint,
            "data": f"s3://{world.reports}/capture/{self.endpoint}/AllTraffic",
            "baseline": f"s3://{world.reports}/baselines/{self.schedule}",
            "output": f"s3://{world.reports}/reports",
            "delay": "0m",
        } | settings
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        world.put_policy(f"{AUTO}\n[[analysis]]\n{lines}")

    def capture(self, at: datetime, body: bytes, name: str = "20-45-950-c13afd5c.jsonl") -> None:
        key = f"capture/{self.endpoint}/AllTraffic/{at:%Y/%m/%d/%H}/{name}"
        self.s3.put_object(Bucket=self.world.reports, Key=key, Body=body)

    def execute(self, scheduled: datetime) -> dict:
        (executed,) = self.world.analyze(schedule=self.schedule, scheduledTime=stamp(scheduled))["executions"]
        return executed

    def report(self, scheduled: datetime, name: str):
        key = f"reports/{self.endpoint}/{self.schedule}/{scheduled:%Y/%m/%d/%H}/{name}"
        try:
            return json.load(self.s3.get_object(Bucket=self.world.reports, Key=key)["Body"])
        except self.s3.exceptions.NoSuchKey:
            return None

    def states(self, count: int) -> list[str]:
        """States of the executions, oldest first."""

        def look():
            ledger = self.world.ledger(self.schedule)
            return ledger and len(ledger["datapoints"]) == count and not ledger["outbox"] and ledger

        ledger = eventually(look, f"{count} datapoint(s)")
        evidence = [point["evidence"] for point in ledger["datapoints"]]
        return [
            "Violations" if of.get("report") else
            "NoData" if "no data" in (of["execution"].get("reason") or "").lower() else of["execution"]["status"]
            for of in evidence
        ]


@pytest.fixture
def analyzed(world, tmp_path):
    return AnalyzedModel(world, tmp_path)


def test_captured_data_lead_to_retraining(analyzed):
    analyzed.capture(hour(4), captured(people(2, 900)))
    analyzed.capture(hour(3), captured(people(3, 450)), "a.jsonl")
    analyzed.capture(hour(3), gzip.compress(captured(people(4, 450, older=25))), "b.jsonl.gz")
    clean = analyzed.execute(hour(3))
    assert clean["monitoringExecutionStatus"] == "Completed" and clean["itemCount"] == 900, clean
    assert analyzed.report(hour(3), "constraint_violations.json") is None
    assert analyzed.states(1) == ["Completed"]
    assert not analyzed.world.executions()

    drifted = analyzed.execute(hour(2))
    assert drifted["monitoringExecutionStatus"] == "CompletedWithViolations" and drifted["itemCount"] == 900, drifted
    (violation,) = analyzed.report(hour(2), "constraint_violations.json")["violations"]
    assert (violation["feature_name"], violation["constraint_check_type"]) == ("age", "baseline_drift_check")
    assert analyzed.states(2) == ["Completed", "Violations"]
    run = eventually(analyzed.world.executions, "a pipeline execution")[0]
    assert run["parameters"]["MonitoringSchedule"] == analyzed.schedule

    # Nothing was captured in the last two hours: NoData, not clean.
    assert analyzed.execute(hour(1))["failureReason"] == "Job inputs had no data"
    assert analyzed.states(3)[-1] == "NoData"

    # Repeating the execution changes nothing.
    assert analyzed.execute(hour(2)) == drifted
    assert analyzed.states(3) == ["Completed", "Violations", "NoData"]
    assert len(analyzed.world.executions()) == 1

    # Metrics have Model Monitor's names.
    cloudwatch = analyzed.world.stack.client("cloudwatch")
    dimensions = [{"Name": "Endpoint", "Value": analyzed.endpoint}, {"Name": "MonitoringSchedule", "Value": analyzed.schedule}]
    listed = cloudwatch.list_metrics(Namespace="aws/sagemaker/Endpoints/data-metrics", Dimensions=dimensions)["Metrics"]
    names = {metric["MetricName"] for metric in listed}
    assert {"feature_data_age", "feature_non_null_plan", "feature_baseline_drift_age", "feature_psi_age"} <= names, names


def test_tick_runs_due_executions_once(analyzed):
    analyzed.capture(hour(1), captured(people(5, 300)))
    own = lambda answer: [execution for execution in answer["requested"] if execution["monitoringSchedule"] == analyzed.schedule]
    first = own(analyzed.world.analyze())
    assert [execution["scheduledTime"] for execution in first] == [stamp(NOW)], first
    # The rule delivers the request to the function.
    assert analyzed.states(1) == ["Completed"]
    document = analyzed.world.document(f"analyses/{analyzed.schedule}.json")
    assert [execution["itemCount"] for execution in document["executions"]] == [300], document
    assert own(analyzed.world.analyze()) == []
    assert analyzed.states(1) == ["Completed"]


def test_broken_baseline_fails_execution_with_reason(analyzed):
    analyzed.capture(hour(2), captured(people(6, 30)))
    key = f"baselines/{analyzed.schedule}/constraints.json"
    analyzed.s3.put_object(Bucket=analyzed.world.reports, Key=key, Body=b'{"features": [')
    executed = analyzed.execute(hour(1))
    assert executed["monitoringExecutionStatus"] == "Failed"
    assert "constraints.json" in executed["failureReason"], executed
    assert analyzed.states(1) == ["Failed"]


def test_distributed_map_matches_one_invocation(analyzed):
    """Profiles 24 objects in branches of the state machine, then the same data in one invocation."""
    at = hour(5)
    for part in range(24):
        analyzed.capture(at, captured(people(100 + part, 200, older=part % 2 * 20)), f"part-{part:02}.jsonl")
    states = analyzed.world.stack.client("stepfunctions")
    started = states.start_execution(
        stateMachineArn=analyzed.world.outputs["AnalyzeStateMachineArn"],
        input=json.dumps({
            "schedule": analyzed.schedule,
            "scheduledTime": stamp(hour(4)),
            "bucket": analyzed.world.reports,
            "prefix": f"capture/{analyzed.endpoint}/AllTraffic/{at:%Y/%m/%d/%H}/",
        }),
    )

    def ended():
        execution = states.describe_execution(executionArn=started["executionArn"])
        return execution["status"] != "RUNNING" and execution

    execution = eventually(ended, "the end of the state machine", 180)
    assert execution["status"] == "SUCCEEDED", execution
    (of_map,) = json.loads(execution["output"])["executions"]
    assert of_map["itemCount"] == 24 * 200
    by_map = {name: analyzed.report(hour(4), name) for name in ("statistics.json", "constraint_violations.json", "constraints.json")}
    at_once = analyzed.execute(hour(4))
    assert at_once == of_map
    by_one = {name: analyzed.report(hour(4), name) for name in by_map}
    assert by_map["constraints.json"] == by_one["constraints.json"]
    assert [v["feature_name"] for v in by_map["constraint_violations.json"]["violations"]] == ["age"]
    for parts, whole in zip(by_map["statistics.json"]["features"], by_one["statistics.json"]["features"], strict=True):
        exact = lambda feature: {
            key: value for key, value in (feature.get("numerical_statistics") or feature["string_statistics"]).items() if key != "distribution"
        }
        assert exact(parts) == exact(whole), parts["name"]
