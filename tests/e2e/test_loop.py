"""The main path end to end: from a report in S3 to one pipeline execution and its notifications."""

import json
import uuid
from datetime import datetime, timedelta, timezone

import jsonschema
import pytest
from harness.stack import ROOT
from harness.world import AUTO, World, eventually, folder

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def hour(n: int) -> datetime:
    return NOW - timedelta(hours=n)


def schedule_name() -> str:
    return f"Monitor-{uuid.uuid4().hex[:8]}"


def recorded(world: World, schedule: str, count: int = 1):
    """The ledger, when it has that many datapoints and no pending effects."""

    def look():
        ledger = world.ledger(schedule)
        return ledger and len(ledger["datapoints"]) == count and not ledger["outbox"] and ledger

    return eventually(look, f"{count} datapoint(s) of {schedule}")


@pytest.mark.parametrize(
    ("name", "kind", "check_type", "dimensions", "observed"),
    [
        ("data-quality-drift", "DataQuality", "baseline_drift_check", {"Feature": "total_day_minutes"}, 0.2318),
        ("model-quality", "ModelQuality", "GreaterThanThreshold", {"MetricName": "falsePositiveRate"}, 0.1875),
        ("model-bias", "ModelBias", "bias_drift_check", {"Facet": "region", "FacetValue": "north", "MetricName": "DPPL"}, -0.2875),
        ("model-explainability", "ModelExplainability", "feature_attribution_drift_check", {"Label": "label0", "MetricName": "shap"}, 0.7225),
    ],
)
def test_every_report_kind_becomes_metrics_and_alert(world, reports, name, kind, check_type, dimensions, observed):
    schedule, endpoint = schedule_name(), f"endpoint-{uuid.uuid4().hex[:8]}"
    body = reports(name)
    count = len(json.loads(body)["violations"])
    world.put_report(folder(endpoint, schedule, hour(2)), body)
    ledger = recorded(world, schedule)
    assert ledger["monitor"]["monitor_type"] == kind
    assert ledger["alert"]["status"] == "InAlert"
    monitor = {"Endpoint": endpoint, "MonitoringSchedule": schedule}
    assert world.metric("ConstraintViolations", hour(2), **monitor) == count
    assert world.metric("Breaching", hour(2), **monitor) == 1
    assert world.metric("ExecutionFailed", hour(2), **monitor) == 0
    typed = monitor | {"ConstraintCheckType": check_type}
    assert world.metric("ConstraintViolations", hour(2), **typed) >= 1
    assert world.metric("ObservedValue", hour(2), **typed, **dimensions) == pytest.approx(observed)
    run = eventually(lambda: next((r for r in world.executions() if r["parameters"]["DriftwardenModel"] == endpoint), None), "a run")
    assert run["parameters"]["MonitoringSchedule"] == schedule
    assert run["displayName"] == f"driftwarden-{endpoint}-1"


def test_events_match_their_schemas(world, reports):
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution")[0]
    world.finish(run["arn"])
    events = eventually(lambda: (seen := world.events()) and len(seen) == 3 and seen, "three events")
    for event in events:
        file = event["detail-type"].lower().replace(" ", "-") + ".v1.json"
        schema = json.loads((ROOT / "events/schemas" / file).read_text())
        jsonschema.validate(event["detail"], schema)
    messages = eventually(lambda: (seen := world.messages()) and len(seen) == 3 and seen, "three messages")
    assert sorted(m["Subject"] for m in messages) == [
        "[Driftwarden] churn: monitor churn-dq is in alert (1 of 1 breaching)",
        "[Driftwarden] churn: retraining decided (churn-1)",
        "[Driftwarden] churn: retraining succeeded (churn-1)",
    ]
    alert = next(m["Message"] for m in messages if "is in alert" in m["Subject"])
    assert "total_day_minutes" in alert and "0.2318  threshold 0.1  2.3×" in alert
    assert world.dead_letters.drain() == []


def test_clean_execution_without_report_has_zero_violations(world):
    schedule = schedule_name()
    world.put_events(world.job_event(folder("clean", schedule, hour(2)), schedule))
    ledger = recorded(world, schedule)
    assert ledger["alert"]["status"] == "OK"
    monitor = {"Endpoint": "clean", "MonitoringSchedule": schedule}
    assert world.metric("ConstraintViolations", hour(2), **monitor) == 0
    assert world.metric("Breaching", hour(2), **monitor) == 0


def test_failed_execution_is_neither_clean_nor_breaching(world):
    schedule = schedule_name()
    event = world.job_event(
        folder("failing", schedule, hour(2)), schedule, "Failed", None, failure_reason="AlgorithmError: see the logs"
    )
    world.stack.stand_in("job", {"ProcessingJobName": json.loads(event["Detail"])["ProcessingJobName"], "MonitoringScheduleArn": "arn:aws:sagemaker:us-east-1:000000000000:monitoring-schedule/" + schedule.lower()})
    world.put_events(event)
    ledger = recorded(world, schedule)
    assert ledger["datapoints"][0]["evidence"]["job"]["reason"] == "AlgorithmError: see the logs"
    monitor = {"Endpoint": "failing", "MonitoringSchedule": schedule}
    assert world.metric("ExecutionFailed", hour(2), **monitor) == 1
    assert world.metric("ConstraintViolations", hour(2), **monitor) is None


def test_incomplete_event_is_completed_by_description(world):
    schedule = schedule_name()
    event = world.job_event(folder("asked", schedule, hour(2)), schedule, exit_message=None, has_schedule=False)
    name = json.loads(event["Detail"])["ProcessingJobName"]
    world.stack.stand_in(
        "job",
        {
            "ProcessingJobName": name,
            "ProcessingJobStatus": "Completed",
            "MonitoringScheduleArn": f"arn:aws:sagemaker:us-east-1:000000000000:monitoring-schedule/{schedule.lower()}",
            "ExitMessage": "CompletedWithViolations: Job completed successfully with 7 violations.",
        },
    )
    world.put_events(event)
    ledger = recorded(world, schedule)
    assert ledger["alert"]["status"] == "InAlert", "the exit message reports violations although there is no report file"
    assert world.metric("ConstraintViolations", hour(2), Endpoint="asked", MonitoringSchedule=schedule) == 7


def test_ground_truth_merge_job_is_ignored(world):
    schedule = schedule_name()
    merge = world.job_event("merge", schedule, exit_message=None, name=f"groundtruth-merge-202611230300-{uuid.uuid4().hex[:24]}")
    world.put_events(merge, world.job_event(folder("merged", schedule, hour(2)), schedule))
    recorded(world, schedule)


def test_batch_transform_has_no_endpoint(world, reports):
    schedule = schedule_name()
    world.put_report(folder(None, schedule, hour(2)), reports("data-quality-drift"))
    ledger = recorded(world, schedule)
    assert "endpoint" not in ledger["monitor"]
    assert ledger["monitor"]["model"] == schedule
    assert world.metric("Breaching", hour(2), MonitoringSchedule=schedule) == 1


def test_report_of_custom_container_is_read(world):
    schedule = schedule_name()
    body = json.dumps({"violations": [{"feature_name": "toxicity", "constraint_check_type": "sentence_check", "sentence": "…"}]})
    world.put_report(folder("custom", schedule, hour(2)), body.encode(), "constraints_violations.json")
    ledger = recorded(world, schedule)
    assert ledger["monitor"]["monitor_type"] == "Custom"
    typed = {"Endpoint": "custom", "MonitoringSchedule": schedule, "ConstraintCheckType": "sentence_check"}
    assert world.metric("ConstraintViolations", hour(2), **typed) == 1


def test_two_monitors_of_model_share_incident(make_world, reports):
    world = make_world(AUTO + '[[monitor]]\nschedule = "dq"\nmodel = "churn"\n[[monitor]]\nschedule = "mq"\nmodel = "churn"\n')
    world.put_report(folder("churn", "dq", hour(2)), reports("data-quality-drift"))
    world.put_report(folder("churn", "mq", hour(2)), reports("model-quality"))
    model = eventually(
        lambda: (m := world.model("churn")) and m["incident"] and len(m["incident"]["monitors"]) == 2 and not m["outbox"] and m,
        "both monitors in one incident",
    )
    assert model["incidents"] == 1
    assert len(world.executions()) == 1


def test_failed_pipeline_keeps_incident_open(world, reports):
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution")[0]
    world.finish(run["arn"], "Failed")
    eventually(lambda: any("retraining failed" in m["Subject"] for m in world.messages()), "the message")
    assert world.model("churn")["incident"]["stage"] == "Escalated"


def test_rule_starts_pipeline_and_incident_follows(make_world, reports):
    world = make_world(PipelineStart="rule")
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution that the rule started")[0]
    assert run["parameters"]["DriftwardenIncident"] == "churn-1"
    world.finish(run["arn"])
    eventually(lambda: (world.model("churn")["incident"] or {}).get("stage") == "Verifying", "the incident verifying")
    assert len(world.executions()) == 1
