"""Experiments end to end: conclusions with and without faults, checked at the endpoint."""

import functools
import hashlib
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import harness
import jsonschema
import pytest
from harness.demo import Screen
from harness.demo_ab import Containers, Story, check, show
from harness.experiments import Callers, Hosted, answering, synthetic, ticked
from harness.faults import Fault, killing
from harness.world import AUTO, CALLER, World, eventually, folder
from test_cli import driftwarden

GOOD, POOR = 0.95, 0.7


class Laboratory:
    """A deployment whose policy gets another model for each experiment."""

    def __init__(self, world: World, url: Callable[..., str], policy: str = ""):
        self.world, self.url = world, url
        self.tables = [policy]
        self.models = 0

    def hosted(self, champion: float | dict[str, tuple[float, str]], made: dict[str, Any] | None = None, name: str = "", **settings: Any) -> Hosted:
        self.models += 1
        # CloudWatch keeps metrics, so the endpoint name is unique.
        name = name or f"{uuid.uuid4().hex[:8]}-m{self.models}"
        variants = champion if isinstance(champion, dict) else {"champion": (1.0, self.url(champion))}
        hosted = Hosted(self.world, name, variants, **made or {})
        self.tables.append(hosted.policy(**settings))
        self.world.put_policy("\n".join(self.tables))
        return hosted

    @contextmanager
    def asked(self, *some: Hosted, target: Callable[[list[str]], str | None] | None = None) -> Iterator[None]:
        callers = Callers(requests_a_second=40, labels_after=1)
        for at, hosted in enumerate(some):
            chance = random.Random(at)
            callers.add(hosted, lambda chance=chance: synthetic(chance), target)
        with callers:
            yield

    def reached(self, hosted: Hosted, stage: str) -> Any:
        return ticked(self.world, lambda: (found := hosted.open()) and found["stage"] == stage and found, f"{hosted.name} in the stage {stage}")

    def ended(self, hosted: Hosted) -> Any:
        return ticked(self.world, hosted.ended, f"the end of the experiment of {hosted.name}")


@pytest.fixture(scope="module")
def models() -> Iterator[Callable[..., str]]:
    with answering() as url:
        yield url


@pytest.fixture
def lab(world: World, models: Callable[..., str]) -> Laboratory:
    return Laboratory(world, models, AUTO)


def serves(hosted: Hosted) -> list[str]:
    """Model packages in service."""
    sagemaker = hosted.sagemaker
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=hosted.describe()["config"])["ProductionVariants"]
    return [sagemaker.describe_model(ModelName=one["ModelName"])["PrimaryContainer"]["ModelPackageName"] for one in variants]


def promoted(hosted: Hosted, package: str, ended: Any) -> None:
    assert ended["conclusion"] == "Promoted", ended
    assert serves(hosted) == [package] and hosted.describe()["status"] == "InService"
    assert len(hosted.leftovers()) == 2, hosted.leftovers()
    assert hosted.world.experiments(hosted.name)["experiments"] == 1


def undone(hosted: Hosted, conclusion: str, ended: Any) -> None:
    assert ended["conclusion"] == conclusion, ended
    assert hosted.is_restored(), (hosted.describe(), hosted.leftovers())


@pytest.mark.slow
def test_five_real_candidates_conclude(world, tmp_path, capsys):
    screen = Screen()
    with Containers(tmp_path) as containers:
        story = Story(screen, world, containers, equal_lasts="40s")
        story.play()
        show(screen, story)
        check(screen, story)
    assert not screen.failed, capsys.readouterr().out


OF_THE_ENDPOINT = (
    "DescribeEndpoint",
    "DescribeEndpointConfig",
    "DescribeModel",
    "CreateModel",
    "CreateEndpointConfig",
    "UpdateEndpoint",
    "DeleteEndpointConfig",
    "DescribeModelPackage",
)
FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"status": 400, "code": "ThrottlingException", "count": 3},
    "down": {"status": 500, "count": 3},
    "done-but-the-answer-lost": {"status": 500, "after": True, "count": 1},
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize(("champion", "candidate", "conclusion"), [(POOR, GOOD, "Promoted"), (GOOD, POOR, "RolledBack")])
def test_experiment_concludes_with_sagemaker_faults(lab, stack, kind, champion, candidate, conclusion):
    hosted = lab.hosted(champion, traffic=[25.0, 50.0])
    last = "UpdateEndpointWeightsAndCapacities", *(() if conclusion == "Promoted" else ("DeleteModel",))
    operations = OF_THE_ENDPOINT + last
    for operation in operations:
        stack.stand_in("fault", {"operation": operation} | FAULTS[kind])
    with lab.asked(hosted):
        package = hosted.package(lab.url(candidate))
        ended = lab.ended(hosted)
    left = {operation: stack.stand_in("calm", {"operation": operation})["left"] for operation in operations}
    assert not any(left.values()), left
    if conclusion == "Promoted":
        promoted(hosted, package, ended)
    else:
        undone(hosted, conclusion, ended)


OF_THE_OTHERS: dict[str, dict[str, Any]] = {
    "throttled": {"status": 400, "code": "ThrottlingException", "count": 3},
    "reset": {"reset": True, "count": 2},
    "done-but-the-answer-lost": {"after": True, "reset": True, "count": 1},
}
STRUCK = ("GetObject", "PutObject", "PutEvents", "GetMetricData")


@pytest.mark.slow
@pytest.mark.parametrize("kind", OF_THE_OTHERS)
def test_experiment_concludes_with_aws_faults(lab, kind):
    with lab.world.faulty() as faulty:
        # The first step lasts longer than a CloudWatch period.
        steps = {"traffic": [25.0, 50.0], "step_lasts": "12s"}
        hosted = lab.hosted(POOR, guardrails=[{"metric": "errors_5xx", "margin": 0.5}], **steps)
        with lab.asked(hosted):
            package = hosted.package(lab.url(GOOD))
            lab.reached(hosted, "Testing")
            for operation in STRUCK:
                faulty.add(Fault(operation, **OF_THE_OTHERS[kind]))
            ended = lab.ended(hosted)
    assert set(STRUCK) <= set(faulty.struck), faulty.struck
    promoted(hosted, package, ended)
    assert [change["stage"] for change in hosted.changes()][-1] == "Ended"


@pytest.mark.slow
def test_experiment_survives_killed_functions(lab):
    better, worse = lab.hosted(POOR, traffic=[25.0, 50.0]), lab.hosted(GOOD)
    with lab.asked(better, worse):
        with killing(lab.world.stack.functions, (0.3, 0.9), seed=5) as killed:
            package = better.package(lab.url(GOOD))
            worse.package(lab.url(POOR))
            for _ in range(25):
                lab.world.promote()
                time.sleep(0.5)
        ends = lab.ended(better), lab.ended(worse)
    assert len(killed) > 5
    promoted(better, package, ends[0])
    undone(worse, "RolledBack", ends[1])


def test_candidate_without_event_is_found(lab, stack):
    """promote lists the model packages of each model in one minute of ten. The name of this model selects this minute or the next."""
    lab.world.silence()
    turn = int(datetime.now(timezone.utc).timestamp() + 20) // 60
    hash_of = lambda name: functools.reduce(lambda sum, byte: (sum * 31 + byte) % 2**64, name.encode(), 0)
    prefix = uuid.uuid4().hex[:8]
    suffix = next(one for one in "abcdefghijklmnopqrstuvwxyz" if (turn + hash_of(f"{prefix}-{one}")) % 10 == 0)
    hosted = lab.hosted(POOR, name=f"{prefix}-{suffix}")
    stack.stand_in("fault", {"operation": "ListModelPackages", "count": 2, "status": 400, "code": "ThrottlingException"})
    with lab.asked(hosted):
        package = hosted.package(lab.url(GOOD))
        promoted(hosted, package, lab.ended(hosted))
    assert stack.stand_in("calm", {"operation": "ListModelPackages"})["left"] == 0


def test_broken_candidate_leaves_champion_in_service(lab, stack):
    hosted = lab.hosted(GOOD)
    stack.stand_in("endpoint", {"EndpointName": hosted.name, "failing": 100, "why": "the container did not pass the ping"})
    hosted.package(lab.url(GOOD))
    undone(hosted, "Failed", lab.ended(hosted))
    assert "did not pass the ping" in hosted.changes()[-1]["sentence"]
    updates = [call for call in stack.stand_in("calls") if call["operation"] == "UpdateEndpoint" and call["body"]["EndpointName"] == hosted.name]
    assert len(updates) <= 4, updates


def test_failed_update_is_retried(lab, stack):
    hosted = lab.hosted(POOR)
    stack.stand_in("endpoint", {"EndpointName": hosted.name, "failing": 1})
    with lab.asked(hosted):
        package = hosted.package(lab.url(GOOD))
        promoted(hosted, package, lab.ended(hosted))


def test_external_update_stops_experiment(lab):
    hosted = lab.hosted(GOOD)
    theirs = f"{hosted.name}-theirs"
    known = hosted.sagemaker.describe_endpoint_config(EndpointConfigName=hosted.config)
    hosted.sagemaker.create_endpoint_config(EndpointConfigName=theirs, ProductionVariants=known["ProductionVariants"])
    hosted.package(lab.url(GOOD))
    lab.reached(hosted, "Testing")
    eventually(hosted.in_service, "the endpoint in service")
    hosted.sagemaker.update_endpoint(EndpointName=hosted.name, EndpointConfigName=theirs)
    assert lab.ended(hosted)["conclusion"] == "Abandoned"
    for _ in range(3):
        lab.world.promote()
    assert hosted.describe()["config"] == theirs


def test_external_weights_pause_experiment_until_resumed(lab):
    hosted = lab.hosted(POOR)
    package = hosted.package(lab.url(GOOD))
    with lab.asked(hosted):
        found = ticked(lab.world, lambda: (open := hosted.open()) and open.get("step_since") and open, "the first step")
        candidate = f"candidate-{found['token']}"
        weights = [{"VariantName": candidate, "DesiredWeight": 0.01}]
        eventually(hosted.in_service, "the endpoint in service")
        hosted.sagemaker.update_endpoint_weights_and_capacities(EndpointName=hosted.name, DesiredWeightsAndCapacities=weights)
        eventually(hosted.in_service, "the endpoint in service")
        if not hosted.ended():
            lab.reached(hosted, "Paused")
            resumed = driftwarden(lab.world, "experiment", "resume", found["id"], *where(lab.world))
            assert resumed.returncode == 0, resumed
        promoted(hosted, package, lab.ended(hosted))


def test_five_uneven_variants_keep_proportions(lab):
    shares = {"a": 45.0, "b": 10.0, "c": 20.0, "d": 15.0, "e": 10.0}
    hosted = lab.hosted({name: (share, lab.url(GOOD)) for name, share in shares.items()}, traffic=[20.0])
    with lab.asked(hosted):
        hosted.package(lab.url(POOR))
        found = ticked(lab.world, lambda: (open := hosted.open()) and open.get("step_since") and open, "the candidate beside the five")
        weights = hosted.describe()["weights"]
        candidate = f"candidate-{found['token']}"
        seen = {name: round(weight / sum(weights.values()) * 100, 3) for name, weight in weights.items()}
        assert seen == {name: share * 0.8 for name, share in shares.items()} | {candidate: 20.0}
        undone(hosted, "RolledBack", lab.ended(hosted))


def test_callers_can_choose_variant(lab):
    hosted = lab.hosted(POOR, traffic=[5.0], assignment="target-variant")
    chance = random.Random(2)
    with lab.asked(hosted, target=lambda variants: chance.choice(variants)):
        package = hosted.package(lab.url(GOOD))
        promoted(hosted, package, lab.ended(hosted))
    assert "SampleRatioMismatch" not in hosted.reasons()


def test_equal_candidate_is_promoted_within_margin(lab):
    hosted = lab.hosted(GOOD, margin=0.08)
    with lab.asked(hosted):
        package = hosted.package(lab.url(GOOD))
        promoted(hosted, package, lab.ended(hosted))
    assert hosted.reasons() & {"NonInferior", "Superior"}


def test_better_shadow_is_promoted(lab):
    hosted = lab.hosted(POOR, mode="shadow")
    with lab.asked(hosted):
        package = hosted.package(lab.url(GOOD))
        lab.reached(hosted, "Testing")
        hosted.shares.clear()
        seen = hosted.sagemaker.describe_endpoint(EndpointName=hosted.name)
        assert len(seen["ShadowProductionVariants"]) == 1 and list(hosted.describe()["weights"]) == ["champion"]
        promoted(hosted, package, lab.ended(hosted))


@pytest.mark.parametrize("rings", [False, True])
def test_sagemaker_rolls_back_blue_green(lab, stack, rings):
    cloudwatch, alarm = stack.client("cloudwatch"), f"{lab.world.name}-canary-{rings}"
    # `ignore`: LocalStack's own evaluation must not replace the state that the test sets.
    limit = {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum", "TreatMissingData": "ignore"}
    cloudwatch.put_metric_alarm(AlarmName=alarm, Namespace="n", MetricName="m", Period=60, EvaluationPeriods=1, **limit)
    hosted = lab.hosted(GOOD, mode="blue-green", alarms=[alarm])
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM" if rings else "OK", StateReason="test")
    package = hosted.package(lab.url(GOOD))
    ended = lab.ended(hosted)
    (update,) = [call for call in stack.stand_in("calls") if call["operation"] == "UpdateEndpoint" and call["body"]["EndpointName"] == hosted.name]
    assert update["body"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"] == [{"AlarmName": alarm}]
    if rings:
        undone(hosted, "RolledBack", ended)
    else:
        assert ended["conclusion"] == "Promoted" and serves(hosted) == [package]


def test_package_waits_for_approval_and_rejection_ends_it(lab):
    hosted = lab.hosted(POOR)
    package = hosted.package(lab.url(GOOD), approval="PendingManualApproval")
    lab.reached(hosted, "AwaitingApproval")
    assert hosted.is_restored()
    with lab.asked(hosted):
        hosted.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
        promoted(hosted, package, lab.ended(hosted))
    rejected = lab.hosted(POOR)
    package = rejected.package(lab.url(GOOD), approval="PendingManualApproval")
    lab.reached(rejected, "AwaitingApproval")
    rejected.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    undone(rejected, "Rejected", lab.ended(rejected))


def test_custom_metric_decides(lab):
    hosted = lab.hosted(GOOD, made={"capture": False}, metric="conversion", effect=0.1)
    # The owner reports outcomes, and no data are captured.
    lab.tables[-1] = "\n".join(line for line in lab.tables[-1].splitlines() if not line.startswith("capture"))
    lab.world.put_policy("\n".join(lab.tables))
    package = hosted.package(lab.url(GOOD))
    found = ticked(lab.world, lambda: (open := hosted.open()) and open.get("step_since") and open, "the first step")
    begun = datetime.now(timezone.utc)
    for variant, converted in (("champion", 200), (f"candidate-{found['token']}", 400)):
        lab.world.put_operator_event(
            "Experiment Outcomes Reported",
            "driftwarden.pipeline",
            model=hosted.name,
            variantName=variant,
            metric="conversion",
            periodStart=begun.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            outcomes={"count": 1000, "sum": converted, "sumOfSquares": converted},
        )
    promoted(hosted, package, lab.ended(hosted))


def where(world: World) -> list[str]:
    return ["--url", world.outputs["OperatorUrl"], "--state-bucket", world.state]


@pytest.mark.parametrize(("order", "conclusion"), [("stop", "Stopped"), ("rollback", "RolledBack"), ("promote", "Promoted")])
def test_operator_ends_experiment(lab, tmp_path, order, conclusion):
    hosted = lab.hosted(GOOD)
    package = hosted.package(lab.url(GOOD))
    found = lab.reached(hosted, "Testing")
    rehearsed = driftwarden(lab.world, "experiment", order, found["id"], *where(lab.world), "--dry-run")
    assert rehearsed.returncode == 0, rehearsed
    lab.world.promote()
    assert hosted.open()["stage"] == "Testing"
    done = driftwarden(lab.world, "experiment", order, found["id"], *where(lab.world), "--reason", "the season has begun")
    assert done.returncode == 0, done
    ended = lab.ended(hosted)
    if order == "promote":
        promoted(hosted, package, ended)
    else:
        undone(hosted, conclusion, ended)
    assert any("the season has begun" in change["sentence"] and CALLER in change["sentence"] for change in hosted.changes())
    shown = driftwarden(lab.world, "experiment", "status", hosted.name, "--state-bucket", lab.world.state, "--plot", tmp_path / "plot.svg")
    assert shown.returncode == 0 and conclusion in shown.stdout, shown
    assert "<svg" in (tmp_path / "plot.svg").read_text()
    unknown = driftwarden(lab.world, "experiment", order, f"{hosted.name}-ab-7", *where(lab.world))
    assert unknown.returncode == 1 and f"{hosted.name}-ab-7" in unknown.stderr, unknown


def test_incident_waits_for_candidate_and_verifies_it(lab, reports):
    world, hosted = lab.world, lab.hosted(POOR)
    schedule = f"{hosted.name}-dq"
    lab.tables.append(f'[[monitor]]\nschedule = "{schedule}"\nmodel = "{hosted.name}"\n')
    world.put_policy("\n".join(lab.tables))
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    at = now - timedelta(hours=2)
    world.put_report(folder(hosted.name, schedule, at), reports("data-quality-drift"))
    runs = lambda: [run for run in world.executions() if run["parameters"]["DriftwardenModel"] == hosted.name]
    run = eventually(runs, "a pipeline execution")[0]
    stage = lambda: ((world.model(hosted.name) or {}).get("incident") or {}).get("stage")
    with lab.asked(hosted):
        package = hosted.package(lab.url(GOOD), run=run["arn"])
        world.finish(run["arn"])
        eventually(lambda: stage() == "Candidate", "the incident at its candidate")
        promoted(hosted, package, lab.ended(hosted))
    eventually(lambda: stage() == "Verifying", "the incident verifying the candidate")
    world.put_events(world.job_event(folder(hosted.name, schedule, now + timedelta(hours=2)), schedule))
    eventually(lambda: (world.ledger(schedule) or {}).get("alert", {}).get("status") == "OK", "the end of the alert")
    # A sweep closes it when enough executions on the promoted model are clean.
    eventually(lambda: world.sweep() and world.model(hosted.name)["closed"], "the incident closed", 60)
    eventually(lambda: not world.model(hosted.name)["outbox"], "no pending effects")
    (closed,) = [event["detail"] for event in world.events("Remediation Incident Closed") if event["detail"]["model"] == hosted.name]
    assert closed["outcome"] == "Repaired"
    (ended,) = [change for change in hosted.changes() if change["stage"] == "Ended"]
    assert ended["pipelineExecutionArn"] == run["arn"] and json.dumps(ended)
    one_id_leads_from_the_report_to_the_promotion(world, hosted.name, schedule, at)


EMF = json.loads((Path(harness.__file__).parent / "emf.schema.json").read_text())


def one_id_leads_from_the_report_to_the_promotion(world: World, model: str, schedule: str, at: datetime) -> None:
    """Asserts that the correlation ID, computed as in events/README.md, is in all events that follow and in the functions' logs."""
    identity = f"driftwarden/execution/{schedule.lower()}/{at:%Y-%m-%dT%H}"
    wanted = hashlib.sha256(identity.encode()).hexdigest()[:32]
    followed = {
        kind: [event["detail"].get("correlationId") for event in world.events(kind) if event["detail"]["model"] == model]
        for kind in (
            "Remediation Decided",
            "Retraining Pipeline Execution Status Change",
            "Experiment State Change",
            "Remediation Incident Closed",
        )
    }
    assert all(ids and set(ids) == {wanted} for ids in followed.values()), (wanted, followed)
    alerts = [event["detail"] for event in world.events("Model Monitor Alert State Change") if event["detail"]["monitoringSchedule"] == schedule]
    assert [alert["correlationId"] == wanted for alert in alerts if alert["alertStatus"] == "InAlert"] == [True], alerts
    assert (world.model(model) or {})["closed"][-1]["incident"]["correlation_id"] == wanted
    for function in ("ingest", "remediate", "promote", "notify"):
        lines = [line for line in read_lines(world, function) if line.get("correlation_id") == wanted and "_aws" not in line]
        assert lines, f"{function} logged nothing with {wanted}"
        assert all(line["request_id"] for line in lines), lines
        metrics = [line for line in read_lines(world, function) if "_aws" in line]
        assert metrics, f"{function} wrote no record of metrics"
        for record in metrics:
            jsonschema.validate(record, EMF)
            for directive in record["_aws"]["CloudWatchMetrics"]:
                named = [metric["Name"] for metric in directive["Metrics"]]
                assert all(isinstance(record[name], int) for name in named), record
                assert all(isinstance(record[name], str) for names in directive["Dimensions"] for name in names), record


def read_lines(world: World, function: str) -> list[dict[str, Any]]:
    """Log lines of a function that are JSON objects. Those of Lambda are not."""
    return [json.loads(line) for text in world.logs(function) for line in text.splitlines() if line.startswith("{")]
