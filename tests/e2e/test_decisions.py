"""Decisions end to end: holds, approvals, pauses, and the recovery of missed events by the sweep."""

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness.stack import ACCOUNT, ROOT
from harness.world import ASKING, AUTO, CALLER, World, eventually, folder

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
TWO_MONITORS = '[[monitor]]\nschedule = "dq"\nmodel = "churn"\n[[monitor]]\nschedule = "mq"\nmodel = "churn"\n'


def hour(n: int) -> datetime:
    return NOW - timedelta(hours=n)


def stage(world: World, model: str = "churn") -> str | None:
    document = world.model(model)
    return document and document.get("incident", {"stage": "Healthy"})["stage"]


def reached(world: World, wanted: str, seconds: float = 30) -> Any:
    """The model's state document, when its incident is in a stage and no effects are pending."""

    def look():
        return stage(world) == wanted and not world.model("churn")["outbox"] and world.model("churn")

    return eventually(look, f"the model in the stage {wanted}", seconds)


def reasons(document: Any) -> set[str]:
    return {reason["code"] for reason in document["incident"]["decision"]["reasons"]}


def clean(world: World, schedule: str, at: datetime) -> None:
    world.put_events(world.job_event(folder("churn", schedule, at), schedule))


def test_alert_during_retraining_joins_incident(make_world, reports):
    world = make_world(AUTO + TWO_MONITORS)
    world.put_report(folder("churn", "dq", hour(2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution")[0]
    world.put_report(folder("churn", "mq", hour(2)), reports("model-quality"))
    eventually(lambda: len(world.model("churn")["incident"]["monitors"]) == 2, "the other monitor in the incident")
    assert stage(world) == "Retraining"
    world.finish(run["arn"])
    reached(world, "Verifying")
    # On the retrained model, one monitor is clean and the other is not.
    clean(world, "dq", hour(-1))
    world.put_report(folder("churn", "mq", hour(-1)), reports("model-quality"))
    eventually(lambda: len(world.ledger("mq")["datapoints"]) == 2 and len(world.ledger("dq")["datapoints"]) == 2, "both executions")
    world.sweep()
    document = reached(world, "Escalated")
    assert "DriftPersists" in reasons(document)
    assert len(world.executions()) == 1, "no second retraining for the incident"
    eventually(lambda: any("investigation needed" in m["Subject"] for m in world.messages()), "an escalation")


def test_two_simultaneous_alerts_start_one_retraining(make_world, reports):
    world = make_world(AUTO + TWO_MONITORS)
    events = [
        world.job_event(folder("churn", schedule, hour(2)), schedule, exit_message="CompletedWithViolations: 3 violations.")
        for schedule in ("dq", "mq")
    ]
    world.put_events(*events * 5)
    eventually(lambda: (m := world.model("churn")) and len(m["incident"]["monitors"]) == 2 and not m["outbox"], "one incident of both")
    assert [run["displayName"] for run in world.executions()] == ["driftwarden-churn-1"]


def test_medium_risk_waits_for_approval(make_world, reports):
    world = make_world(ASKING)
    world.card("churn", "Medium")
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    document = reached(world, "AwaitingApproval")
    assert reasons(document) == {"MonitorInAlert", "ApprovalMissing"}
    eventually(lambda: any("approval needed" in m["Subject"] for m in world.messages()), "an approval request")
    assert world.executions() == []
    approval = {"url": "ApproveUrl", "incidentId": "churn-1", "decision": 1, "by": "ada"}
    assert world.command("approve", **approval, signed=False)[0] == 403
    assert world.command("approve", **(approval | {"decision": 2}))[1]["error"] == "StaleDecision"
    assert world.command("pause", "ApproveUrl", model="churn", reason="x")[1]["error"] == "CommandNotAccepted"
    assert world.executions() == []
    statuses = [world.command("approve", **approval)[0] for _ in range(3)]
    assert statuses == [200, 409, 409], statuses
    document = reached(world, "Retraining")
    approved = next(r for r in document["incident"]["decision"]["reasons"] if r["code"] == "Approved")
    assert approved["by"] == CALLER
    assert len(world.executions()) == 1
    world.settle()
    records = [world.document(key) for key in world.keys("audit/churn/churn-1/")]
    assert {record["caller"] for record in records if "commandId" in record} == {CALLER}
    assert [record["decision"] for record in records if "verdict" in record] == [1, 2]


def test_operator_events_have_no_effect(make_world, reports):
    world = make_world(ASKING)
    world.card("churn", "Medium")
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    reached(world, "AwaitingApproval")
    for source in ("driftwarden.operator", "driftwarden.pipeline"):
        world.put_operator_event("Remediation Approval", source, incidentId="churn-1", granted=True, by="ada")
        world.put_operator_event("Remediation Resolution", source, incidentId="churn-1", by="ada")
        world.put_operator_event("Remediation Pause", source, model="chrun", paused=True, by="ada")
    world.settle()
    assert stage(world) == "AwaitingApproval" and world.model("chrun") is None
    assert world.executions() == []


def test_denied_retraining_closes_with_alert(make_world, reports):
    world = make_world(ASKING)
    world.card("churn", "medium")
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    reached(world, "AwaitingApproval")
    status, answer = world.command("deny", "ApproveUrl", incidentId="churn-1", decision=1, reason="known")
    assert (status, answer["stage"]) == (200, "Holding"), answer
    assert "Denied" in reasons(reached(world, "Holding"))
    clean(world, "churn-dq", hour(1))
    assert reached(world, "Healthy")["closed"][0]["outcome"] == "Recovered"
    assert world.executions() == []


def test_policy_change_ends_kill_switch(make_world, reports):
    world = make_world("paused = true\n" + AUTO)
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    paused = reached(world, "Holding")
    assert "Paused" in reasons(paused)
    world.put_policy("paused = tru\n")
    world.sweep()
    world.put_report(folder("churn", "churn-dq", hour(1)), reports("data-quality-drift"))
    eventually(lambda: len(world.ledger("churn-dq")["datapoints"]) == 2, "an execution evaluated by the last valid policy")
    assert stage(world) == "Holding", "a bad policy replaces nothing"
    world.put_policy(AUTO)
    world.sweep()
    going = reached(world, "Retraining")
    assert going["incident"]["decision"]["policyVersion"] != paused["incident"]["decision"]["policyVersion"]
    assert len(world.executions()) == 1
    # Paused again: the started retraining continues, and its end is recorded.
    world.put_policy("paused = true\n" + AUTO)
    world.finish(world.executions()[0]["arn"])
    reached(world, "Verifying")


def test_waits_for_manually_started_execution(world, reports):
    by_hand = world.start_by_hand()
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    assert "InFlight" in reasons(reached(world, "Holding"))
    world.finish(by_hand)
    world.sweep()
    reached(world, "Retraining")
    assert {run["displayName"] for run in world.executions()} == {"by-hand", "driftwarden-churn-1"}


def test_broken_data_lead_to_fix_data(world):
    violation = {
        "feature_name": "age",
        "constraint_check_type": "data_type_check",
        "description": "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. "
        "Observed: Only 99.5% of data is Integral.",
    }
    world.put_report(folder("churn", "churn-dq", hour(2)), json.dumps({"violations": [violation]}).encode())
    assert "DataBroke" in reasons(reached(world, "AwaitingData"))
    assert world.executions() == []


def test_ignored_violations_and_maintenance_raise_no_alert(make_world, reports):
    start, end = hour(4).isoformat().replace("+00:00", "Z"), hour(3).isoformat().replace("+00:00", "Z")
    rules = "[[violation]]\nfeature = 'total_*'\ncounts = false\n[[violation]]\ncheck_type = '*'\nseverity = 'critical'\n"
    world = make_world(AUTO + rules + f"[[maintenance]]\nschedule = 'churn-*'\nstart = '{start}'\nend = '{end}'\n")
    world.put_report(folder("churn", "churn-dq", hour(4)), reports("data-quality-drift"))
    eventually(lambda: (ledger := world.ledger("churn-dq")) and not ledger["outbox"], "the ignored datapoint")
    assert world.ledger("churn-dq")["alert"]["status"] == "OK"
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    event = eventually(lambda: world.events("Model Monitor Alert State Change"), "an alert")[0]
    assert event["detail"]["severity"] == "critical"
    assert all(not v["subject"].startswith("total_") for v in event["detail"]["violations"])


@pytest.mark.slow
def test_sweep_recovers_lost_events(make_world, reports):
    schedule = "silent"
    world = make_world(AUTO, SweepRate="rate(1 minute)")
    world.silence(but="SweepRule")
    world.schedule(schedule, "churn", CreationTime=hour(4).timestamp() - 60)
    for n, status in ((4, "Completed"), (3, "Completed"), (2, "CompletedWithViolations")):
        world.execution(schedule, "churn", hour(n), status)
    world.put_report(folder("churn", schedule, hour(2)), reports("data-quality-drift"))
    run = eventually(lambda: world.executions(), "a pipeline execution without an event", 200, every=1)[0]
    ledger = world.ledger(schedule)
    assert [point["evidence"].get("report", {}).get("violations", 0) for point in ledger["datapoints"]][:3] == [0, 0, 2]
    # No event reports its end, either.
    world.finish(run["arn"])
    world.sweep()
    assert stage(world) == "Verifying"
    world.execution(schedule, "churn", hour(-1), "Completed")
    world.sweep()
    world.sweep()
    assert stage(world) == "Healthy"
    assert world.model("churn")["closed"][0]["outcome"] == "Repaired"
    assert len(world.executions()) == 1
    assert world.dead_letters.drain() == []


def test_sweep_finds_stopped_monitor(world):
    schedule = "stopped"
    world.schedule(schedule, "churn", CreationTime=hour(5).timestamp() - 60)
    clean(world, schedule, hour(5))
    eventually(lambda: world.ledger(schedule), "the first datapoint")
    world.execution(schedule, "churn", hour(4), "Failed", "Job inputs had no data", with_job=False)
    swept = world.sweep()
    assert swept["repaired"] == 1 and swept["missing"] >= 1
    kinds = ["execution" if "execution" in p["evidence"] else "job" if p["evidence"] else "missing" for p in world.ledger(schedule)["datapoints"]]
    assert kinds[:3] == ["job", "execution", "missing"]
    message = eventually(lambda: next((m for m in world.messages() if "has stopped producing results" in m["Subject"]), None), "a notification")
    assert "NoData" in message["Message"] and "Missing" in message["Message"]


def test_policy_can_follow_schedule_alert(make_world, reports):
    schedule = f"followed-{uuid.uuid4().hex[:8]}"
    world = make_world(AUTO + "[alert]\nfollow_monitoring_alert = true\n")
    world.schedule(schedule, "churn", DatapointsToAlert=2, EvaluationPeriod=3)
    for n, alerts in ((4, False), (3, True)):
        body = reports("data-quality-drift")
        world.execution(schedule, "churn", hour(n), "CompletedWithViolations")
        world.put_report(folder("churn", schedule, hour(n)), body)
        eventually(lambda: (ledger := world.ledger(schedule)) and len(ledger["datapoints"]) == 5 - n and not ledger["outbox"], "the datapoint")
        assert (world.ledger(schedule)["alert"]["status"] == "InAlert") == alerts
    asked = [c for c in world.stack.stand_in("calls") if c["operation"] == "ListMonitoringAlerts" and c["body"]["MonitoringScheduleName"] == schedule]
    assert len(asked) == 1, "once in ten minutes"
    sagemaker = world.stack.client("sagemaker")
    history = sagemaker.list_monitoring_alert_history(MonitoringScheduleName=schedule)["MonitoringAlertHistory"]
    ours = world.ledger(schedule)["history"]
    assert [item["status"] for item in ours] == [item["AlertStatus"] for item in history] == ["InAlert"]


def test_cloudwatch_alarm_triggers_remediation(world):
    alarm = f"{world.name}-alarm-latency"
    world.put_policy(AUTO + f"[[alarm]]\nname = '{alarm}'\nmodel = 'churn'\n")
    # `ignore`: LocalStack's own evaluation must not replace the state that the test sets.
    limit = {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum", "TreatMissingData": "ignore"}
    cloudwatch = world.stack.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName=alarm, Namespace="n", MetricName="m", Period=60, EvaluationPeriods=1, **limit)
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    detail = json.loads((ROOT / "events/remediate/alarm.json").read_text())["detail"] | {"alarmName": alarm}
    entry = {"Source": "aws.cloudwatch", "DetailType": "CloudWatch Alarm State Change", "Detail": json.dumps(detail)}
    world.put_events(entry, entry, {**entry, "Detail": json.dumps(detail | {"alarmName": f"{world.name}-alarm-other"})})
    document = reached(world, "Retraining")
    assert document["incident"]["monitors"] == [f"alarm:{alarm}"]
    assert len(world.executions()) == 1


def test_state_machine_is_started_with_custom_parameters(world, reports):
    arn = world.state_machine
    own = f"[retraining]\nstart = 'state-machine'\nstate_machine = '{arn}'\nparameters = {{ Model = '{{model}}', Epochs = '20' }}\n"
    world.put_policy(AUTO + own)
    states = world.stack.client("stepfunctions")
    definition = {"StartAt": "Retrain", "States": {"Retrain": {"Type": "Wait", "Seconds": 1, "End": True}}}
    role = f"arn:aws:iam::{ACCOUNT}:role/states"
    states.create_state_machine(name=arn.rsplit(":", 1)[1], definition=json.dumps(definition), roleArn=role)
    world.put_report(folder("churn", "churn-dq", hour(2)), reports("data-quality-drift"))
    execution = eventually(lambda: states.list_executions(stateMachineArn=arn)["executions"], "an execution of the state machine")[0]
    given = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])
    assert (given["Model"], given["Epochs"], given["driftwarden"]["incidentId"]) == ("churn", "20", "churn-1")
    eventually(lambda: states.describe_execution(executionArn=execution["executionArn"])["status"] == "SUCCEEDED", "its end")
    world.sweep()
    reached(world, "Verifying")
    assert len(states.list_executions(stateMachineArn=arn)["executions"]) == 1


def test_monitor_as_native_alarm(stack):
    """infra/alarms.yaml creates the alarm that its parameters describe."""
    client, name = stack.client("cloudformation"), f"alarm-{uuid.uuid4().hex[:8]}"
    given = {"Endpoint": "churn", "MonitoringSchedule": name, "EvaluationPeriods": "5", "DatapointsToAlarm": "3", "TreatMissingData": "ignore"}
    client.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "infra/alarms.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    [alarm] = stack.client("cloudwatch").describe_alarms(AlarmNames=[f"driftwarden-monitor-{name}"])["MetricAlarms"]
    assert (alarm["MetricName"], alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == ("Breaching", 3600, 5, 3)
    assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {"Endpoint": "churn", "MonitoringSchedule": name}
    client.delete_stack(StackName=name)
